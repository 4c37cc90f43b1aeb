"""How a backbone is trained: a method's recipe, what the user sets over it, and both resolved."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from bench.config import setting
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
    batch_size: int = setting(256, "images a step over all devices, each in all its views", least=2)
    image_size: int | None = setting(
        None, "side of what the backbone sees; none is the data's own, at least 16", least=8, most=1024
    )
    precision: str = setting(
        "auto", "of the backbone's arithmetic", choices=("auto", "float32", "bfloat16", "float16")
    )
    optimizer: str | None = setting(None, "optimiser", choices=("lars", "sgd", "adamw"))
    lr: float | None = setting(None, "base learning rate, before lr_scaling", above=0)
    lr_scaling: str | None = setting(
        None, "linear: lr * batch / 256; sqrt: lr * sqrt(batch)", choices=("linear", "sqrt", "none")
    )
    weight_decay: float | None = setting(None, "of parameters with two dimensions or more", least=0)
    momentum: float | None = setting(None, "of lars and sgd", least=0, most=0.9999)
    warmup_epochs: float | None = setting(None, "linear warm-up, at most a tenth of the run", least=0)


@dataclass(frozen=True, kw_only=True)
class Training:
    """A resolved training: every number that shapes the weights, all of it in the backbone key."""

    epochs: int
    batch_size: int
    image_size: int
    precision: str
    optimizer: str
    lr: float
    weight_decay: float
    momentum: float
    warmup_epochs: float


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
        lr=float(_scaled(chosen["lr"], chosen["lr_scaling"], config.batch_size)),
        weight_decay=float(chosen["weight_decay"]),  # 0 and 0.0 are one number and two keys
        momentum=float(chosen["momentum"]),
        warmup_epochs=min(float(chosen["warmup_epochs"]), WARMUP_SHARE * config.epochs),
    )


def _scaled(lr: float, scaling: str, batch_size: int) -> float:
    """Return the learning rate of a global batch: SimCLR, section 2.1 and table B.1."""
    if scaling == "linear":
        return lr * batch_size / 256
    return lr * math.sqrt(batch_size) if scaling == "sqrt" else lr


def too_few(batch_size: int, images: int, data: str = "the data") -> BadValue:
    """Return the error about a batch that is larger than the data."""
    return BadValue(
        f"train.batch_size: a step takes {batch_size} images, but {data} has {images} to train on. "
        f"Set --batch-size to at most {images}."
    )
