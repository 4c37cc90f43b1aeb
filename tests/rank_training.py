"""Train in one process and in several that share each batch; keep gradients and states. Run as a script.

    rank_training.py FOLDER SIZES CASE...      a case is `method/variant`

One process loads torch, and forks the ranks of each size. Each case leaves `FOLDER/SIZE/CASE.pt`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Method
from bench.contracts.recipe import Training
from bench.errors import CellError
from bench.evaluation import features
from bench.pretraining.loop import TrainingLoop, pretrain
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry
from bench.system.ranks import ALONE, Ranks, join_ranks, leave_ranks
from bench.testing.networks import DIM, SIDE, Convolution, Patches

REGISTRY = Registry.load()
COUNT, BATCH = 27, 9  # images; neither 2 nor 4 divides a batch
IMAGES = Images(
    torch.randint(
        0, 256, (COUNT, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    ),
    torch.arange(COUNT) % 4,
)
INFO = DatasetInfo(classes=("cat", "dog", "owl", "yak"), channels=3, size=SIDE, images=COUNT)
SMALL = {  # of every method that has a setting of the name
    "hidden_dim": 16, "embedding_dim": 8, "predictor_dim": 12, "bottleneck_dim": 6, "prototypes": 7,
    "queue_size": 24, "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2, "share_size": 4,
    "queue_epoch": 0, "freeze_epochs": 0, "directions": 16, "heads": 2, "kmeans_iterations": 3,
}  # fmt: skip
OWN = {"wmse": {"embedding_dim": 4, "window": 9}, "swav": {"queue_size": 24}}
VARIANTS: dict[str, dict[str, Any]] = {
    "whole": {},
    "chunks": {"chunk_size": 5},
    "accumulate": {"accumulate": 2, "epochs": 5},
    "both": {"chunk_size": 5, "accumulate": 2, "epochs": 5},
    "crops": {"local_views": 2},
    "crops-chunks": {"local_views": 2, "chunk_size": 5},
    "random": {"network": "random"},
    "random-chunks": {"network": "random", "chunk_size": 5},
    "resnet": {"network": "test_resnet"},
    "lars": {"optimizer": "lars", "trust": 0.02, "clip_norm": 1.0},
}


class Exact(nn.Module):
    """Computes in float64: two sums in another order then agree."""

    def forward(self, x: Tensor) -> Tensor:
        return x.double()


class Convolutional(Convolution):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.double())


class Patched(Patches):
    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Any:
        return super().tokens(images.double(), keep)


class Random(Convolution):
    """Drops units, whole maps and whole branches, each image by itself."""

    def forward(self, images: Tensor) -> Tensor:
        x = nn.functional.dropout2d(self.layers[:3](images.double()), 0.2, self.training)
        kept = x.new_empty(len(x), 1, 1, 1).bernoulli_(0.7) if self.training else 1
        noise = 0.1 * torch.randn(len(x), DIM, dtype=x.dtype) if self.training else 0
        h: Tensor = self.layers[3:](x + kept * x.relu())
        return nn.functional.dropout(h + noise, 0.3, self.training)


def build(name: str, network: str = "", **changes: Any) -> Method:
    """Return a method of the registry in float64, small, on a small backbone that it works with."""
    cls: Any = REGISTRY.load_class("methods", name)
    config = config_of(name, changes)
    torch.manual_seed(0)
    if network == "test_resnet":
        backbone_class: Any = REGISTRY.load_class("backbones", network)
        backbone: Any = nn.Sequential(Exact(), backbone_class(network, backbone_class.Config(), 3, SIDE))
        dim = backbone[1].dim
    else:
        backbone, dim = (Random() if network else Patched() if name == "mae" else Convolutional()), DIM
    method: Method = cls(backbone, dim, config, INFO)
    return method.double()


def run_in(folder: Path, views: tuple[View, ...], ranks: Ranks = ALONE, **changes: Any) -> TrainingRun:
    """Return a run of some epochs; what is given is of `Training`, but for `run`."""
    settings = {
        "epochs": 2, "batch_size": BATCH, "image_size": SIDE, "precision": "float32", "optimizer": "sgd",
        "lr": 0.05, "weight_decay": 1e-4, "momentum": 0.9, "warmup_epochs": 0.0,
    }  # fmt: skip
    run: dict[str, Any] = changes.pop("run", {})
    folder.mkdir(exist_ok=True, parents=True)
    return TrainingRun(
        what="the run", key="key", training=Training(**{**settings, **changes}), views=views,
        mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), seed=0, device=torch.device("cpu"), folder=folder,
        live=False, ranks=ranks, **run,
    )  # fmt: skip


def train(case: str, folder: Path, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Return the gradients after each step of a case, and the state at its end."""
    name, _, variant = case.partition("/")
    changes = dict(VARIANTS[variant])
    method = build(name, changes.pop("network", ""), **changes)
    drawn = type(method).views(config_of(name, changes), INFO, SIDE)
    plain = {"jitter": 0.0, "grey": 0.0, "blur": 0.0, "solarise": 0.0}  # crops alone: they are quick
    views = tuple(dataclasses.replace(view, **plain) for view in drawn)
    changes.pop("local_views", None)
    gradients: list[dict[str, Tensor]] = []

    def keep(_step: int, _terms: Mapping[str, float]) -> None:
        held = {key: p.grad.clone() for key, p in method.named_parameters() if p.grad is not None}
        gradients.append(held)

    cost = pretrain(method, IMAGES, run_in(folder, views, ranks, run={"on_step": keep}, **changes))
    return {"gradients": gradients, "state": method.state_dict(), "passes": cost and cost.passes}


def config_of(name: str, changes: Mapping[str, Any]) -> Any:
    """Return the settings that `build` gives a method."""
    cls: Any = REGISTRY.load_class("methods", name)
    settings = {**SMALL, **OWN.get(name, {}), **changes}
    fields = {field.name for field in dataclasses.fields(cls.Config)}
    return cls.Config(**{field: value for field, value in settings.items() if field in fields})


def extract_features(ranks: Ranks) -> Tensor:
    """Return what the leader has of features that ranks extract in chunks of 3 images, the last of one."""
    torch.manual_seed(0)
    network = Convolution()
    images = IMAGES.pixels[:25]
    features.CPU_PIXELS = 3 * SIDE**2
    parts = features.extract(
        network, images, image_size=SIDE, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3),
        device=torch.device("cpu"), ranks=ranks,
    )  # fmt: skip
    return torch.cat([torch.empty(0, DIM), *parts])


def differ(ranks: Ranks) -> str:
    """Return what is said where the last rank keeps something else than the others."""

    class Differing(type(build("simclr"))):  # type: ignore[misc]
        def after_step(self, step: Any) -> None:
            self.odd.add_(float(ranks.rank == ranks.size - 1))

    method = build("simclr")
    method.__class__ = Differing
    method.register_buffer("odd", torch.zeros(3))
    with tempfile.TemporaryDirectory() as folder:
        try:
            pretrain(method, IMAGES, run_in(Path(folder), (View(), View()), ranks))
        except CellError as error:
            return str(error)
    return ""


def go_on(ranks: Ranks) -> dict[str, Any]:
    """Return what a training holds that one process began and these go on with, in the middle of an epoch."""
    with tempfile.TemporaryDirectory() as folder:
        where = ranks.tell(folder)
        views = (View(), View())
        if ranks.rank == 0:

            def stop(step: int, _terms: Mapping[str, float]) -> None:
                if step == 5:
                    raise InterruptedError

            begun = run_in(Path(where), views, run={"on_step": stop, "checkpoint_every_s": -1.0})
            with contextlib.suppress(InterruptedError):
                pretrain(build("mocov2"), IMAGES, begun)
        method = build("mocov2")
        for param in method.parameters():  # what is loaded is not what was built
            param.data.add_(ranks.rank + 1)
        steps: list[int] = []
        run = run_in(Path(where), views, ranks, run={"on_step": lambda step, _terms: steps.append(step)})
        cost = pretrain(method, IMAGES, run)
        ranks.tell()
        return {"state": method.state_dict(), "steps": steps, "devices": cost and cost.devices}


SPECIAL: dict[str, Any] = {"features": extract_features, "differ": differ, "go-on": go_on}


def work(folder: Path, size: int, rank: int, cases: list[str]) -> None:
    """Train all cases as one of the ranks; the first keeps what comes of it."""
    ranks = ALONE
    if size > 1:
        store = dist.FileStore(str(folder / f"store-{size}"), size)
        ranks = join_ranks(store, rank, size, torch.device("cpu"))
    for number, case in enumerate(cases):
        special = SPECIAL.get(case)
        result = special(ranks) if special else train(case, folder / f"{size}-{number}", ranks)
        if rank == 0:
            torch.save(result, folder / str(size) / f"{case.replace('/', '-')}.pt")
    leave_ranks()


def main(folder: Path, sizes: list[int], cases: list[str]) -> int:
    torch.set_num_threads(1)
    loop = TrainingLoop(build("simclr"), IMAGES, run_in(folder / "warm", (View(), View())))
    loop.view_source.close()  # all that is loaded late is loaded now, once
    children = []
    for size in sizes:
        (folder / str(size)).mkdir(parents=True)
        for rank in range(size):
            if child := os.fork():
                children.append(child)
                continue
            try:
                work(folder, size, rank, cases)
            except BaseException:  # noqa: BLE001 - printed, and told by the exit status
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
    return sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [int(size) for size in sys.argv[2].split(",")], sys.argv[3:]))
