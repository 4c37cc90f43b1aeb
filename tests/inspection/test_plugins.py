"""What `bench show` says of a plugin's settings and of its recipe."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bench.contracts.recipe import ParamGroup
from bench.inspection.plugins import describe_setting, show
from bench.registry.registry import Registry


def recipe_lines(text: str) -> list[str]:
    """Return the names of a recipe that are shown."""
    block = text.split("recipe (--set train.NAME=VALUE)\n")[1].split("\n\n", maxsplit=1)[0]
    return [line.split()[0] for line in block.splitlines()]


@pytest.mark.parametrize("name", ["simclr", "vicreg", "supervised"])
def test_a_plain_recipe_shows_no_more_than_it_says(registry: Registry, name: str) -> None:
    text = show(registry, "methods", name)

    assert recipe_lines(text) == [
        *("optimizer", "lr", "lr_scaling", "weight_decay", "momentum", "warmup_epochs", "source")
    ]
    assert "in another way" not in text
    assert "may change it" not in text


def test_a_recipe_shows_what_it_says_beyond_the_defaults(
    probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = (
        ParamGroup(match="head.*", constant_lr=True, weight_decay=0.0),
        ParamGroup(match="*", max_ndim=1),
    )
    recipe = dataclasses.replace(probes.Probe.recipe, clip_norm=3.0, min_lr=1e-6, groups=groups)
    monkeypatch.setattr(probes.Probe, "recipe", recipe)
    text = show(Registry.load(), "methods", "probe")

    assert recipe_lines(text)[-2:] == ["min_lr", "clip_norm"]
    assert "parameters trained in another way\n  head.*  constant_lr true, weight_decay 0\n" in text
    assert "  *       max_ndim 1" in text


def test_a_recipe_that_settings_may_change_says_so(probes: Any) -> None:
    registry = Registry.load()

    assert "Settings or the data may change it" in show(registry, "methods", "picky")
    assert "Settings or the data may change it" not in show(registry, "methods", "probe")


@pytest.mark.parametrize("term", ["invariance", "variance", "covariance"])
def test_each_weight_of_vicreg_says_what_it_is_the_weight_of(registry: Registry, term: str) -> None:
    config = registry.load_class("methods", "vicreg").Config
    (field,) = (field for field in dataclasses.fields(config) if field.name == term)

    assert describe_setting(field)[2] == f"weight of the {term} term in the loss"
    assert f"weight of the {term} term in the loss" in show(registry, "methods", "vicreg")
