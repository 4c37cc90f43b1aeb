"""How a backbone is trained: a method's recipe, what the user sets over it, and both resolved."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from bench.config import build, check_fields, key_fields, setting
from bench.errors import BadValue

MOST_EPOCHS = 1_000_000
OPTIMIZERS = ("lars", "sgd", "adamw")
LR_SCALINGS = ("linear", "sqrt", "none")
CLIP_SCOPES = ("all", "parameter")
BETAS = (0.9, 0.999)  # Loshchilov 2019, and torch's
TRUST = 0.001  # of lars: eta of You 2017, and of the SimCLR and VICReg code
ONLY_OF = {
    "betas": "adamw",
    "nesterov": "sgd",
    "trust": "lars",
    "clip_trust": "lars",
}  # by one optimiser alone


@dataclass(frozen=True, kw_only=True)
class ParamGroup:
    """Parameters of a method that are trained in another way than the rest.

    The first group of a recipe that matches a parameter has it.

    Args:
        match: pattern of the parameters' names in the method, as in a shell, e.g. `predictor.*`.
        max_ndim: only parameters of at most so many dimensions; 1 is biases and norms.
        lr_factor: what the learning rate is multiplied by.
        constant_lr: the learning rate has no warm-up and does not decay.
        weight_decay: of those that are decayed, in place of the recipe's, and constant; 0 is none.
        decay: whether weight decay is applied; none is by dimension, as elsewhere.
        adapt: whether lars adapts the step; none is by dimension, as elsewhere.
        freeze_epochs: epochs at the start in which they do not change: no step, no decay, no momentum.
    """

    match: str
    max_ndim: int | None = setting(None, "of at most so many dimensions", later=True, least=0)
    lr_factor: float = setting(1.0, "of the learning rate", later=True, least=0)
    constant_lr: bool = setting(default=False, doc="no warm-up and no decay", later=True)
    weight_decay: float | None = setting(None, "in place of the recipe's", later=True, least=0)
    decay: bool | None = setting(None, "apply weight decay", later=True)
    adapt: bool | None = setting(None, "by lars", later=True)
    freeze_epochs: int = setting(0, "at the start", later=True, least=0)

    def __post_init__(self) -> None:
        check_fields(self, f"group {self.match}")

    def key_fields(self) -> dict[str, Any]:
        """Return what a key and a record say of it: the pattern, and what differs from its default."""
        return key_fields(self)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The optimisation a method's paper prescribes; what cannot be is refused when it is made.

    Args:
        optimizer: `lars`, `sgd` or `adamw`.
        lr: base learning rate, before `lr_scaling`.
        lr_scaling: `linear` is lr * batch / 256, `sqrt` is lr * sqrt(batch), `none` is lr.
        weight_decay: not applied to biases and norms (parameters of one dimension), unless a group says so.
        momentum: of lars and sgd.
        warmup_epochs: linear warm-up, capped at a tenth of a short run.
        source: paper and section.
        betas: of adamw.
        nesterov: of sgd.
        trust: of lars: the share of its own length that a layer moves at a rate of 1. solo-learn has 0.02.
        clip_trust: of lars: no layer moves further than by sgd at that rate (LARC), as in solo-learn.
        min_lr: base learning rate at the end of the cosine, scaled as `lr` is.
        weight_decay_end: where a cosine takes `weight_decay` over the run; none leaves it constant.
        clip_norm: largest norm of the gradient; none or 0 is no clipping.
        clip_scope: `all` clips the norm over all parameters, `parameter` that of each by itself.
        layer_decay: factor of the learning rate from a layer of the backbone to the one below; none or
            1 is alike in all.
        groups: parameters that are trained in another way.
    """

    optimizer: str
    lr: float
    lr_scaling: str
    weight_decay: float
    momentum: float = 0.9
    warmup_epochs: float = 10
    source: str
    betas: tuple[float, float] = setting(BETAS, "of adamw", later=True)
    nesterov: bool = setting(default=False, doc="of sgd", later=True)
    trust: float = setting(TRUST, "of lars", later=True)
    clip_trust: bool = setting(default=False, doc="of lars", later=True)
    min_lr: float = setting(0.0, "at the end of the cosine", later=True)
    weight_decay_end: float | None = setting(None, "at the end of a cosine", later=True)
    clip_norm: float | None = setting(None, "of the gradient", later=True)
    clip_scope: str = setting("all", "what is clipped together", later=True)
    layer_decay: float | None = setting(None, "of the learning rate, a layer", later=True)
    groups: tuple[ParamGroup, ...] = setting((), "trained in another way", later=True)

    def __post_init__(self) -> None:
        check_fields(self, "recipe", limits=TrainConfig)
        for name, owner in ONLY_OF.items():
            default = next(f.default for f in fields(self) if f.name == name)
            if self.optimizer != owner and getattr(self, name) != default:
                raise BadValue(f"recipe.{name}: {self.optimizer} has none, {owner} has. Leave it out.")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What can be set of pretraining; a value left out is the method's recipe's."""

    epochs: int = setting(100, "passes over the training images", least=1, most=MOST_EPOCHS)
    budget: float | None = setting(
        None,
        "images seen in all views, in place of epochs: a view of half the side is a quarter of one",
        above=0,
    )
    batch_size: int = setting(256, "images the loss sees at once, each in all its views", least=2)
    chunk_size: int | None = setting(
        None, "images embedded at a time: the loss sees the batch, batch norm the chunk; none: all", least=2
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
        "auto",
        "of the backbone's arithmetic; auto is bfloat16 where the device computes in it, else float32",
        choices=("auto", "float32", "tf32", "bfloat16", "float16"),
    )
    optimizer: str | None = setting(None, "optimiser", choices=OPTIMIZERS)
    lr: float | None = setting(None, "base learning rate, before lr_scaling", above=0)
    lr_scaling: str | None = setting(
        None, "linear: lr * a step's images / 256; sqrt: lr * their root", choices=LR_SCALINGS
    )
    weight_decay: float | None = setting(None, "of parameters with two dimensions or more", least=0)
    momentum: float | None = setting(None, "of lars and sgd", least=0, most=0.9999)
    warmup_epochs: float | None = setting(None, "linear warm-up, at most a tenth of the run", least=0)
    betas: tuple[float, float] | None = setting(
        None, "of adamw, e.g. [0.9, 0.95]", source="Loshchilov 2019; MAE: 0.9, 0.95", least=0, most=0.99999
    )
    nesterov: bool | None = setting(None, "sgd looks ahead", source="Sutskever 2013")
    trust: float | None = setting(
        None,
        "of lars: the share of its length that a layer moves at a rate of 1",
        source="You 2017: 0.001; solo-learn, CIFAR: 0.02",
        above=0,
    )
    clip_trust: bool | None = setting(
        None, "of lars: no layer moves further than by sgd", source="LARC; solo-learn, CIFAR"
    )
    min_lr: float | None = setting(
        None, "base learning rate at the end of the cosine, scaled as lr is", source="DINO: 1e-6", least=0
    )
    weight_decay_end: float | None = setting(
        None,
        "where a cosine takes weight_decay over the run; the value of weight_decay keeps it constant",
        source="DINO: 0.04 to 0.4",
        least=0,
    )
    clip_norm: float | None = setting(
        None, "largest norm of the gradient; 0: no clipping", source="DINO: 3.0", least=0
    )
    clip_scope: str | None = setting(
        None,
        "all: the norm over all parameters; parameter: of each by itself",
        source="parameter: facebookresearch/dino utils.py clip_gradients",
        choices=CLIP_SCOPES,
    )
    layer_decay: float | None = setting(
        None,
        "factor of the learning rate from a layer of the backbone to the one below; 1: alike in all",
        source="BEiT; MAE: 0.65 to 0.75",
        above=0,
        most=1,
    )


@dataclass(frozen=True, kw_only=True)
class Training:
    """A resolved training: every number that shapes the weights, all of it in the backbone key.

    Args:
        epochs: passes over the training images.
        batch_size: images the loss sees at once.
        image_size: side of what the backbone sees, in pixels.
        precision: `float32`, `tf32`, `bfloat16` or `float16`.
        optimizer: `lars`, `sgd` or `adamw`.
        lr: at its highest.
        weight_decay: of parameters with two dimensions or more.
        momentum: of lars and sgd.
        warmup_epochs: of linear warm-up.
        chunk_size: most images computed at a time, less than a batch; none is the batch.
        accumulate: batches an optimiser step.
        compile: the backbone is compiled.
        betas: of adamw.
        nesterov: of sgd.
        trust: of lars.
        clip_trust: of lars.
        min_lr: learning rate at the end of the cosine.
        weight_decay_end: where a cosine takes `weight_decay`; none leaves it constant.
        clip_norm: largest norm of the gradient; none is no clipping.
        clip_scope: `all` or `parameter`.
        layer_decay: factor of the learning rate from a layer of the backbone to the one below.
        groups: parameters that are trained in another way.
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
    betas: tuple[float, float] = setting(BETAS, "of adamw", later=True)
    nesterov: bool = setting(default=False, doc="of sgd", later=True)
    trust: float = setting(TRUST, "of lars", later=True)
    clip_trust: bool = setting(default=False, doc="of lars", later=True)
    min_lr: float = setting(0.0, "at the end of the cosine", later=True)
    weight_decay_end: float | None = setting(None, "at the end of a cosine; none is constant", later=True)
    clip_norm: float | None = setting(None, "largest norm of the gradient; none is any", later=True)
    clip_scope: str = setting("all", "what is clipped together", later=True)
    layer_decay: float | None = setting(None, "of the learning rate, a layer; none is alike", later=True)
    groups: tuple[ParamGroup, ...] = setting((), "trained in another way", later=True)

    def __post_init__(self) -> None:
        check_fields(self, "training", limits=TrainConfig)
        if self.precision == "auto":
            raise BadValue("training.precision: auto is not resolved. Name what it stands for.")

    @property
    def step_images(self) -> int:
        """Images an optimiser step."""
        return self.batch_size * self.accumulate

    def key_fields(self) -> dict[str, Any]:
        """Return what a key and a record say of it, as plain data: what came later only where it is set."""
        values = key_fields(self)
        if "betas" in values:
            values["betas"] = list(self.betas)
        if "groups" in values:
            values["groups"] = [group.key_fields() for group in self.groups]
        return values


WARMUP_SHARE = 0.1  # of a run: ten epochs of a hundred, as in SimCLR; a run of ten warms up for one


def resolve(
    recipe: Recipe, config: TrainConfig, image_size: int, precision: str, where: str = "recipe"
) -> Training:
    """Return the training that `recipe` prescribes, with what `config` sets in its place.

    What the recipe says of another optimiser than the one that is set is left out.

    Args:
        recipe: the method's.
        config: what is set.
        image_size: side of what the backbone sees, in pixels.
        precision: `float32`, `tf32`, `bfloat16` or `float16`.
        where: what an error about the recipe starts with.

    Raises:
        BadValue: another optimiser is set without a learning rate of its own, or something is set that the
            optimiser does not have or that does nothing.
    """
    optimizer = config.optimizer or recipe.optimizer
    _check_set_values(recipe, config, optimizer)
    chosen = _choose_values(recipe, config, where)
    images = config.batch_size * config.accumulate
    lr = _scale_lr(chosen.lr, chosen.lr_scaling, images)
    min_lr = _scale_lr(chosen.min_lr, chosen.lr_scaling, images)
    if min_lr > lr:
        raise BadValue(
            f"train.min_lr: {chosen.min_lr:g} is more than the learning rate {chosen.lr:g} it is the end of. "
            "Set train.min_lr lower, or train.lr higher."
        )
    decays = chosen.weight_decay_end not in (None, chosen.weight_decay)
    return Training(
        epochs=config.epochs,
        batch_size=config.batch_size,
        image_size=image_size,
        precision=precision,
        optimizer=optimizer,
        lr=lr,
        weight_decay=chosen.weight_decay,
        momentum=chosen.momentum,
        warmup_epochs=min(chosen.warmup_epochs, WARMUP_SHARE * config.epochs),
        chunk_size=even_chunk(config.batch_size, config.chunk_size),
        accumulate=config.accumulate,
        compile=config.compile,
        betas=chosen.betas if optimizer == "adamw" else BETAS,
        nesterov=chosen.nesterov and optimizer == "sgd",
        trust=chosen.trust if optimizer == "lars" else TRUST,
        clip_trust=chosen.clip_trust and optimizer == "lars",
        min_lr=min_lr,
        weight_decay_end=chosen.weight_decay_end if decays else None,
        clip_norm=chosen.clip_norm or None,
        clip_scope=chosen.clip_scope if chosen.clip_norm else "all",
        layer_decay=None if chosen.layer_decay == 1 else chosen.layer_decay,
        groups=tuple(_check_group(group, where) for group in recipe.groups),
    )


def _check_set_values(recipe: Recipe, config: TrainConfig, optimizer: str) -> None:
    """Refuse what is set and cannot be, or would do nothing.

    Raises:
        BadValue: see `resolve`.
    """
    if optimizer != recipe.optimizer and config.lr is None:
        raise BadValue(
            f"train.optimizer: {optimizer} needs a learning rate of its own, the recipe's "
            f"{recipe.lr:g} is for {recipe.optimizer}. Set train.lr."
        )
    for name, owner in ONLY_OF.items():
        if getattr(config, name) and optimizer != owner:
            raise BadValue(
                f"train.{name}: {optimizer} has none, {owner} has. Leave it out, or set "
                f"train.optimizer={owner}."
            )
    clip_norm = recipe.clip_norm if config.clip_norm is None else config.clip_norm
    if config.clip_scope and not clip_norm:
        raise BadValue("train.clip_scope: no gradient is clipped. Set train.clip_norm, or leave it out.")
    nesterov = recipe.nesterov if config.nesterov is None else config.nesterov
    momentum = recipe.momentum if config.momentum is None else config.momentum
    if nesterov and optimizer == "sgd" and not momentum:
        raise BadValue("train.nesterov: it needs momentum. Set train.momentum above 0, or leave it out.")


def _choose_values(recipe: Recipe, config: TrainConfig, where: str) -> Any:
    """Return the values of a recipe with those of `config` in their place, checked, by attribute.

    They are built as a `TrainConfig`, which has their types and ranges: a recipe's 0 and 0.0 are one
    number and would be two keys.
    """
    names = [f.name for f in fields(Recipe) if f.name not in ("source", "groups")]
    own = {name: getattr(recipe, name) for name in names}
    values = {name: value for name, value in own.items() if value is not None}
    checked = build(TrainConfig, values, where)
    return replace(checked, **{name: value for name in names if (value := getattr(config, name)) is not None})


def _check_group(group: ParamGroup, where: str) -> ParamGroup:
    """Return a group whose values have the types and ranges of their fields."""
    values = {f.name: getattr(group, f.name) for f in fields(ParamGroup)}
    checked: ParamGroup = build(ParamGroup, values, f"{where}: group {group.match}")
    return checked


def _scale_lr(lr: float, scaling: str, images: int) -> float:
    """Return the learning rate of a step of so many images: SimCLR, section 2.1 and table B.1.

    The rule is about how little noise the mean of a step's gradients has, which accumulated batches
    lower like large ones (Goyal 2017, section 2.1); how many images are contrasted does not enter.
    """
    return lr * {"linear": images / 256, "sqrt": math.sqrt(images), "none": 1.0}[scaling]


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
