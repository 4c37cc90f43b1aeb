"""What takes one of a set of names or a bounded number refuses any other, however it is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from bench.api import DataLocation, Evaluator, FeatureSpec, View
from bench.errors import BadValue
from bench.pretraining.optimizer_step import clip_gradients
from bench.registry.registry import Registry

REGISTRY = Registry.load()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: View(flip=1.5), "^views.flip: 1.5 is out of range"),
        (lambda: View(crop_min=0.5, crop_max=0.2), "^views.crop_min: 0.5 is more than crop_max"),
        (lambda: FeatureSpec(pool="clss"), "^features.pool: 'clss' is unknown."),  # type: ignore[arg-type]
        (lambda: FeatureSpec(blocks=-1), "^features.blocks: -1 is less than 0"),
        (lambda: clip_gradients([], 1.0, "al"), "^clip_scope: 'al' is unknown. Did you mean 'all'"),
    ],
)
def test_a_part_of_a_recipe_or_an_evaluation_that_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        make()


def test_an_evaluator_that_needs_what_there_is_not_is_refused_when_its_class_is_made() -> None:
    with pytest.raises(BadValue, match=r"^Odd.needs: 'backbones' is unknown. Did you mean 'backbone'"):

        class Odd(Evaluator):
            needs = "backbones"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("kind", "name", "settings"),
    [
        ("methods", "simclr", {"temperature": -1.0}),
        ("backbones", "resnet18", {"stem": "smal"}),
        ("datasets", "image_folder", {"on_error": "ignore"}),
        ("evaluators", "knn", {"k": 0}),
    ],
)
def test_a_plugin_refuses_a_config_that_was_made_by_hand(
    kind: str, name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    """As by a plugin that fits another, past the command line and its checks."""
    cls: Any = REGISTRY.load_class(kind, name)
    config = cls.Config(**settings)
    arguments: dict[str, tuple[Any, ...]] = {
        "methods": (nn.Identity(), 8, config, None),
        "backbones": (name, config, 3, 32),
        "datasets": (name, config, DataLocation(root=tmp_path)),
        "evaluators": (config,),
    }

    with pytest.raises(BadValue, match=r"is out of range|is not one of its values"):
        cls(*arguments[kind])


def test_a_config_without_limits_is_left_alone() -> None:
    @dataclass(frozen=True)
    class Free:
        anything: float = -1e9

    class Measure(Evaluator):
        Config = Free

        def evaluate(self, task: Any) -> Any:
            return task

    assert Measure(Free()).config.anything == -1e9
