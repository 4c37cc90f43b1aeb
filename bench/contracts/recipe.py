"""How a backbone is trained: a method's recipe, what the user sets over it, and both resolved."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from bench.config import key_fields, setting
from bench.errors import BadValue


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The optimisation a method's paper prescribes.

    Args:
        optimizer: `lars`, `sgd` or `adamw`.
        lr: base learning rate, before `lr_scaling`.
        lr_scaling: `linear` is lr * batch / 256, `sqrt` is lr * sqrt(batch), `none` is lr.
        weight_decay: not applied to biases and norms (parameters of one dimension).
        momentum: of lars and sgd; adamw's first beta is 0.9.
        warmup_epochs: linear warm-up, capped at a tenth of a short run.
        source: paper and section.
    """

    optimizer: str
    lr: float
    lr_scaling: str
    weight_decay: float
    momentum: float = 0.9
    warmup_epochs: float = 10
    source: str


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What can be set of pretraining; a value left out is the method's recipe's."""

    epochs: int = setting(100, "passes over the training images", least=1)
    batch_size: int = setting(256, "images the loss sees at once, each in all its views", least=2)
    chunk_size: int | None = setting(
        None, "images computed at a time; the gradient is the whole batch's; none: all at once", least=2
    )
    accumulate: int = setting(
        1, "batches a step: it takes the mean of their gradients, their images are not contrasted", least=1
    )
    compile: bool = setting(
        default=False, doc="compile the backbone with torch.compile; what cannot be compiled runs as ever"
    )
    image_size: int | None = setting(
        None, "side of what the backbone sees; none is the data's own, at least 16", least=8, most=1024
    )
    precision: str = setting(
        "auto", "of the backbone's arithmetic", choices=("auto", "float32", "bfloat16", "float16")
    )
    optimizer: str | None = setting(None, "optimiser", choices=("lars", "sgd", "adamw"))
    lr: float | None = setting(None, "base learning rate, before lr_scaling", above=0)
    lr_scaling: str | None = setting(
        None,
        "linear: lr * a step's images / 256; sqrt: lr * their root",
        choices=("linear", "sqrt", "none"),
    )
    weight_decay: float | None = setting(None, "of parameters with two dimensions or more", least=0)
    momentum: float | None = setting(None, "of lars and sgd", least=0, most=0.9999)
    warmup_epochs: float | None = setting(None, "linear warm-up, at most a tenth of the run", least=0)


@dataclass(frozen=True, kw_only=True)
class Training:
    """A resolved training: every number that shapes the weights, all of it in the backbone key.

    Args:
        epochs: passes over the training images.
        batch_size: images the loss sees at once.
        image_size: side of what the backbone sees, in pixels.
        precision: `float32`, `bfloat16` or `float16`.
        optimizer: `lars`, `sgd` or `adamw`.
        lr: at its highest.
        weight_decay: of parameters with two dimensions or more.
        momentum: of lars and sgd.
        warmup_epochs: of linear warm-up.
        chunk_size: most images computed at a time, less than a batch; none is the batch.
        accumulate: batches an optimiser step.
        compile: the backbone is compiled.
    """

    epochs: int
    batch_size: int
    image_size: int
    precision: str
    optimizer: str
    lr: float
    weight_decay: float
    momentum: float
    warmup_epochs: float
    chunk_size: int | None = setting(None, "images that are embedded at a time; none is all", later=True)
    accumulate: int = setting(1, "batches a step", later=True)
    compile: bool = setting(default=False, doc="the backbone is compiled", later=True)

    @property
    def step_images(self) -> int:
        """Images an optimiser step."""
        return self.batch_size * self.accumulate

    def key_fields(self) -> dict[str, Any]:
        """Return what a key and a record say of it: what came later only where it is set."""
        return key_fields(self)


WARMUP_SHARE = 0.1  # of a run: ten epochs of a hundred, as in SimCLR; a run of ten warms up for one


def resolve(recipe: Recipe, config: TrainConfig, image_size: int, precision: str) -> Training:
    """Return the training that `recipe` prescribes, with what `config` sets in its place.

    Raises:
        BadValue: another optimiser is set without a learning rate of its own.
    """
    chosen = {
        f.name: getattr(recipe, f.name) if getattr(config, f.name, None) is None else getattr(config, f.name)
        for f in fields(Recipe)
    }
    optimizer_differs = config.optimizer not in (None, recipe.optimizer)
    if optimizer_differs and config.lr is None:
        raise BadValue(
            f"train.optimizer: {config.optimizer} needs a learning rate of its own, the recipe's "
            f"{recipe.lr:g} is for {recipe.optimizer}. Set train.lr."
        )
    return Training(
        epochs=config.epochs,
        batch_size=config.batch_size,
        image_size=image_size,
        precision=precision,
        optimizer=chosen["optimizer"],
        lr=float(_scale_lr(chosen["lr"], chosen["lr_scaling"], config.batch_size * config.accumulate)),
        weight_decay=float(chosen["weight_decay"]),  # 0 and 0.0 are one number and two keys
        momentum=float(chosen["momentum"]),
        warmup_epochs=min(float(chosen["warmup_epochs"]), WARMUP_SHARE * config.epochs),
        chunk_size=even_chunk(config.batch_size, config.chunk_size),
        accumulate=config.accumulate,
        compile=config.compile,
    )


def _scale_lr(lr: float, scaling: str, images: int) -> float:
    """Return the learning rate of a step of so many images: SimCLR, section 2.1 and table B.1.

    The rule is about how little noise the mean of a step's gradients has, which accumulated batches
    lower like large ones (Goyal 2017, section 2.1); how many images are contrasted does not enter.
    """
    if scaling == "linear":
        return lr * images / 256
    return lr * math.sqrt(images) if scaling == "sqrt" else lr


def even_chunk(batch_size: int, chunk_size: int | None) -> int | None:
    """Return the largest chunk when a batch is split into even ones of at most `chunk_size` images.

    None is the batch in one. No chunk is of one image, of which there are no batch statistics: chunks
    of two of an odd batch have one of three among them.
    """
    if chunk_size is None or chunk_size >= batch_size:
        return None
    count = min(math.ceil(batch_size / chunk_size), batch_size // 2)
    return math.ceil(batch_size / count) if count > 1 else None


def too_few_images(batch_size: int, images: int, data: str = "the data", accumulate: int = 1) -> BadValue:
    """Return the error about a step that takes more images than the data has."""
    if accumulate > 1:
        return BadValue(
            f"train.accumulate: a step takes {accumulate} batches of {batch_size} images, but {data} has "
            f"{images} to train on. Set train.accumulate or --batch-size lower."
        )
    return BadValue(
        f"train.batch_size: a step takes {batch_size} images, but {data} has {images} to train on. "
        f"Set --batch-size to at most {images}."
    )
