"""A request: the axes of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Request:
    """A grid to be planned; every tuple is an axis.

    Args:
        method: names.
        backbone: names.
        dataset: names of what is trained on.
        evaluator: names.
        label_frac: shares of the labels, in (0, 1].
        shots: labelled images a class.
        keep_one: a share that leaves a class without an image takes one of it.
        eval_dataset: names of what is evaluated on; none is the dataset that was trained on.
        seed: of training and evaluation.
        settings: `part.field` to the values it takes.
        auto_precision: what `precision=auto` is on the device at hand.
    """

    method: tuple[str, ...] = ("simclr",)
    backbone: tuple[str, ...] = ("test_resnet",)
    dataset: tuple[str, ...] = ("digits",)
    evaluator: tuple[str, ...] = ("linear",)
    label_frac: tuple[float, ...] = (1.0,)
    shots: tuple[int, ...] = ()
    keep_one: tuple[bool, ...] = (False,)
    eval_dataset: tuple[str, ...] = ()
    seed: tuple[int, ...] = (0,)
    settings: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    auto_precision: str = "float32"

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The plugins that are named, by kind."""
        return {
            "methods": self.method,
            "backbones": self.backbone,
            "datasets": (*self.dataset, *self.eval_dataset),
            "evaluators": self.evaluator,
        }
