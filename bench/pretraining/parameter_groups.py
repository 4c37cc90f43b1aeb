"""Which parameters are trained alike: by dimension, by the patterns of a recipe, by layer."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from bench.contracts.backbone import Backbone
from bench.contracts.recipe import ParamGroup, Training
from bench.errors import BadValue, suggest

USUAL = ParamGroup(match="*")  # of what no pattern of the recipe matches


def build_groups(method: nn.Module, training: Training) -> list[dict[str, Any]]:
    """Return the parameter groups: parameters are together where all their numbers are alike.

    The first two are of what no pattern of the recipe matches at the full learning rate, weights and then
    biases and norms; one may be empty. Checkpoints number parameters in this order.
    """
    patterns = _match_patterns(method, training.groups)
    layer_factors = _layer_factors(method, training.layer_decay)
    groups = {
        (USUAL, 1.0, is_weight): _group_options(USUAL, 1.0, training, is_weight=is_weight)
        for is_weight in (True, False)
    }
    for name, param in method.named_parameters():
        if not param.is_floating_point():
            continue
        pattern, factor, is_weight = patterns.get(name, USUAL), layer_factors.get(name, 1.0), param.ndim > 1
        key = (pattern, factor, is_weight)
        if key not in groups:
            groups[key] = _group_options(pattern, factor, training, is_weight=is_weight)
        groups[key]["params"].append(param)
    return list(groups.values())


def _group_options(
    pattern: ParamGroup, layer_factor: float, training: Training, *, is_weight: bool
) -> dict[str, Any]:
    """Return a group without parameters; what torch's optimisers do not know is for `begin_step`."""
    decay = training.weight_decay if pattern.weight_decay is None else pattern.weight_decay
    decays = is_weight if pattern.decay is None else pattern.decay
    return {
        "params": [],
        "weight_decay": decay if decays else 0.0,
        "adapt": is_weight if pattern.adapt is None else pattern.adapt,
        "lr_factor": pattern.lr_factor * layer_factor,
        "constant_lr": pattern.constant_lr,
        "scheduled_decay": decays and pattern.weight_decay is None,
        "freeze_epochs": pattern.freeze_epochs,
    }


def _match_patterns(method: nn.Module, patterns: Iterable[ParamGroup]) -> dict[str, ParamGroup]:
    """Return the first pattern that matches each parameter, by the parameter's name.

    Raises:
        BadValue: a pattern is the first of none.
    """
    params = dict(method.named_parameters())
    matches: dict[str, ParamGroup] = {}
    for pattern in patterns:
        names = [name for name, p in params.items() if name not in matches and _matches(pattern, name, p)]
        if not names:
            parts = {name.partition(".")[0] for name in params}
            raise BadValue(
                f"groups: {pattern.match!r} matches no parameter, or none that a pattern before it does not."
                f"{suggest(pattern.match.partition('.')[0], parts)}"
            )
        matches |= dict.fromkeys(names, pattern)
    return matches


def _matches(pattern: ParamGroup, name: str, param: Tensor) -> bool:
    fits = pattern.max_ndim is None or param.ndim <= pattern.max_ndim
    return fits and fnmatchcase(name, pattern.match)


def _layer_factors(method: nn.Module, decay: float | None) -> dict[str, float]:
    """Return the factor of the learning rate of each parameter of the backbone; none without a decay.

    It is 1 in the highest layer, and `decay` times that of the layer above in each other.

    Source: facebookresearch/mae util/lr_decay.py, which follows BEiT.

    Raises:
        BadValue: the layers are not known.
    """
    if decay is None:
        return {}
    backbone = getattr(method, "backbone", None)
    layers = backbone.parameter_layers() if isinstance(backbone, Backbone) else None
    if backbone is None or not layers:
        raise BadValue(
            "train.layer_decay: the layers of this backbone are not known. Leave it out, or set it to 1."
        )
    for name, _ in backbone.named_parameters():
        if name not in layers:
            raise BadValue(f"train.layer_decay: the backbone does not say the layer of {name}. Set it to 1.")
    top = max(layers.values())
    return {f"backbone.{name}": decay ** (top - layer) for name, layer in layers.items()}
