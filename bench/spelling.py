"""Find which known name a word means: written in another way, or what the field calls it elsewhere.

Nothing is taken for another name without being asked: these are the suggestions at the end of an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

MOST = 3  # suggestions
LONGEST = 200  # letters of a word that anything is suggested for
SHORTEST_START = 3  # letters of a word that may be the beginning of a name
ALIKE = 0.6  # of difflib: below, two words are two words
BEHIND = 0.1  # of difflib: a word that is so much less alike than another is not meant

# What settings, metrics, axes, commands and options are called elsewhere: in PyTorch, timm, lightly,
# solo-learn, VISSL and papers. Plugins say it themselves (`bench.hookspecs.Offer.also`).
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    # training
    "learning_rate": ("lr",), "base_lr": ("lr",), "blr": ("lr",), "eta": ("lr",), "max_lr": ("lr",),
    "wd": ("weight_decay",), "l2": ("weight_decay", "l2_min"), "final_lr": ("min_lr",),
    "end_lr": ("min_lr",), "bs": ("batch_size",), "batch": ("batch_size",), "num_epochs": ("epochs",),
    "n_epochs": ("epochs",), "max_epochs": ("epochs",), "max_steps": ("budget",), "iterations": ("budget",),
    "steps": ("budget",), "resolution": ("image_size",), "img_size": ("image_size",),
    "input_size": ("image_size",), "crop_size": ("image_size", "size"), "warmup": ("warmup_epochs",),
    "opt": ("optimizer",), "optim": ("optimizer",), "accumulate_grad_batches": ("accumulate",),
    "accum_iter": ("accumulate",), "gradient_accumulation": ("accumulate",), "grad_accum": ("accumulate",),
    "micro_batch": ("chunk_size",), "grad_clip": ("clip_norm",), "clip_grad": ("clip_norm",),
    "max_norm": ("clip_norm",), "amp": ("precision",), "gradient_clip_val": ("clip_norm",),
    "mixed_precision": ("precision",), "dtype": ("precision",), "beta1": ("betas",), "beta2": ("betas",),
    "torch_compile": ("compile",), "trust_coefficient": ("trust",), "llrd": ("layer_decay",),
    "layer_wise_decay": ("layer_decay",), "scheduler": ("lr_scaling",),
    # methods, heads and evaluators
    "tau": ("temperature",), "temp": ("temperature",), "t": ("temperature",), "ema": ("momentum",),
    "projection_dim": ("embedding_dim",), "proj_dim": ("embedding_dim",), "n_neighbors": ("k",),
    "neighbors": ("k",), "num_neighbors": ("k",), "nn": ("k",), "memory_bank": ("queue_size",),
    "queue_length": ("queue_size",), "num_prototypes": ("prototypes",), "masking_ratio": ("mask_ratio",),
    "output_dim": ("embedding_dim",), "proj_hidden_dim": ("hidden_dim",),
    "num_heads": ("heads", "decoder_heads"),
    # data and weights
    "path": ("root",), "folder": ("root",), "dir": ("root",), "data_path": ("root",), "data_root": ("root",),
    "location": ("root",), "checkpoint": ("weights",), "ckpt": ("weights",), "init_from": ("weights",),
    "weights_path": ("weights",), "imagenet": ("pretrained",), "class_names": ("classes",),
    "max_samples": ("max_train",), "limit": ("max_train",), "subset": ("max_train",),
    # augmentation
    "augmentation": ("views", "ops"), "augmentations": ("views", "ops"), "transform": ("views", "ops"),
    "transforms": ("views", "ops"), "aug": ("views", "ops"), "horizontal_flip": ("flip",),
    "hflip": ("flip",), "mirror": ("flip",), "color_jitter": ("jitter",), "colour_jitter": ("jitter",),
    "grayscale": ("grey",), "greyscale": ("grey",), "gray": ("grey",), "gaussian_blur": ("blur",),
    "solarize": ("solarise",), "solarization": ("solarise",), "random_resized_crop": ("crop", "crop_min"),
    "rotation": ("rotate",), "min_scale": ("crop_min",), "max_scale": ("crop_max",), "scale": ("crop_min",),
    "rrc": ("crop", "crop_min"),
    # values
    "fp32": ("float32",), "full": ("float32",), "32": ("float32",), "fp16": ("float16",),
    "half": ("float16",), "16": ("float16",), "bf16": ("bfloat16",), "adam": ("adamw",), "gpu": ("cuda",),
    "cifar_stem": ("small",),
    # metrics and axes
    "accuracy": ("top1",), "acc": ("top1",), "acc1": ("top1",), "prec1": ("top1",), "test_acc": ("top1",),
    "test_accuracy": ("top1",), "top1_accuracy": ("top1",), "acc5": ("top5",), "top5_accuracy": ("top5",),
    "bal_acc": ("balanced_accuracy",), "mean_class_accuracy": ("balanced_accuracy",),
    "calibration": ("ece",), "log_loss": ("nll",), "cross_entropy": ("nll",), "parameters": ("params",),
    "num_params": ("params",), "macs": ("flops",), "gflops": ("flops",), "time": ("seconds_pretrain",),
    "throughput": ("images_per_s",), "speed": ("images_per_s",), "model": ("backbone", "method"),
    "arch": ("backbone",), "architecture": ("backbone",), "network": ("backbone",), "net": ("backbone",),
    "encoder": ("backbone",), "algorithm": ("method",), "algo": ("method",), "ssl": ("method",),
    "data": ("dataset",), "datasets": ("dataset",), "train_dataset": ("dataset",),
    "target": ("eval_dataset",), "test_dataset": ("eval_dataset",), "probe": ("evaluator", "eval"),
    "evaluation": ("evaluator", "eval"), "eval": ("evaluator",), "evaluator": ("eval",),
    "fraction": ("label_frac",), "label_fraction": ("label_frac",), "labels": ("label_frac",),
    "label_share": ("label_frac",), "percent": ("label_frac",), "seeds": ("seed",),
    "random_state": ("seed",), "columns": ("cols",), "index": ("rows",), "metrics": ("metric",),
    # commands and options
    "train": ("run",), "pretrain": ("run",), "fit": ("run",), "evaluate": ("run",), "ls": ("list",),
    "results": ("table", "results"), "summary": ("table",), "describe": ("show",), "info": ("show",),
    "help": ("show",), "diff": ("compare",), "rank": ("ranking",), "monitor": ("watch",), "save": ("export",),
    "output_dir": ("results",), "out": ("results", "output"), "outdir": ("results", "output"),
    "workers": ("jobs",), "num_workers": ("jobs",), "n_jobs": ("jobs",), "cache_dir": ("data_dir",),
    "num_threads": ("threads",), "config": ("set",), "dry": ("dry_run",), "plan": ("dry_run",),
}  # fmt: skip

SIZES = {
    "tiny": "t",
    "small": "s",
    "base": "b",
    "large": "l",
    "huge": "h",
    "giant": "g",
    "patch": "",
}  # ViT-B/16


def find_nearest(name: str, known: Iterable[str], also: Mapping[str, str] | None = None) -> list[str]:
    """Return the known names that a word is most likely to mean, the likeliest first, at most three.

    The first of these rules that finds any decides: the same letters, whatever is between them
    (`resnet-50`, `SimCLR`); another word for it; the last part of a name (`lr` of `train.lr`); its beginning,
    with a size as a letter (`ViT-B/16`); a word like it.

    Args:
        name: what was written.
        known: the names that there are.
        also: other words for known names.
    """
    names = sorted(set(known), key=_natural)
    others = {squash(word): meant for word, meant in (also or {}).items()}
    wanted = squash(name)
    if not wanted or len(name) > LONGEST:
        return []
    rules: Sequence[Callable[[], Iterable[str]]] = (
        lambda: (known_name for known_name in names if squash(known_name) == wanted),
        lambda: (meant for word, meant in others.items() if word == wanted and meant in names),
        lambda: _translate(wanted, names),
        lambda: (known_name for known_name in names if squash(known_name.rpartition(".")[2]) == wanted),
        lambda: _complete(name, names),
        lambda: _resemble(wanted, names, others),
    )
    for rule in rules:
        if found := list(dict.fromkeys(rule())):
            return found[:MOST]
    return []


def is_another_word(name: str, known: str) -> bool:
    """Tell whether a known name, or its last part, is `name` under another name, and not merely like it."""
    last = known.rpartition(".")[2]
    return squash(last) == squash(name) or last in _BY_SQUASHED.get(squash(name), ())


def squash(name: str) -> str:
    """Return a name's letters and digits in small letters: `ResNet-50` and `resnet_50` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _translate(wanted: str, names: Iterable[str]) -> Iterator[str]:
    """Yield the names, or last parts of names, that the field also calls `wanted`."""
    meant = _BY_SQUASHED.get(wanted, ())
    for word in meant:
        yield from (
            name for name in names if word in (name.lstrip("-").replace("-", "_"), name.rpartition(".")[2])
        )


def _complete(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that begin as `name` does, the shortest first."""
    start = _abbreviate(name)
    if len(start) < SHORTEST_START:
        return []
    return sorted((known for known in names if _abbreviate(known).startswith(start)), key=len)


def _abbreviate(name: str) -> str:
    """Return a network's name with its size as a letter: `vit_base_patch16_224` is vitb16224."""
    parts = re.split(r"[^a-z0-9]+|(?<=patch)(?=\d)", name.lower())
    return "".join(SIZES.get(part, part) for part in parts)


def _resemble(wanted: str, names: Iterable[str], others: Mapping[str, str]) -> Iterator[str]:
    """Yield the names that look like `wanted`, or of which another word does."""
    spellings = {**others, **{squash(name): name for name in names}}
    found = difflib.get_close_matches(wanted, sorted(spellings), n=MOST, cutoff=ALIKE)
    alike = [difflib.SequenceMatcher(None, near, wanted).ratio() for near in found]
    yield from (
        spellings[near] for near, ratio in zip(found, alike, strict=True) if ratio > alike[0] - BEHIND
    )


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return a key that puts resnet50 before resnet101."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts], name


_BY_SQUASHED = {squash(word): meant for word, meant in SYNONYMS.items()}
