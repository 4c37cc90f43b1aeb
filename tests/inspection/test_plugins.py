"""What `bench show` says of a plugin's settings and of its recipe."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
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


@pytest.mark.parametrize("kind", ["declared", "whole"])
def test_a_recipe_that_differs_by_size_is_shown_twice_each_with_its_source(kind: str) -> None:
    code = f"import sys\nif {kind == 'whole'}: import torch\n"
    code += "from bench.cli.main import main\nmain(['show', 'method', 'byol'])"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout
    rows = [line.split() for line in text.split("recipe (--set train.NAME=VALUE)\n")[1].splitlines()]

    assert rows[0] == ["at", "32", "px", "at", "224", "px"]
    assert ["lr", "1", "0.2"] in rows
    assert ["weight_decay", "1e-05", "1.5e-06"] in rows
    assert ["source", "solo-learn,", "CIFAR:", "byol.yaml", "Grill", "2020,", "3.3"] in rows


def test_parameters_that_are_trained_in_another_way_at_one_size_only_are_said_to_be(
    probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = ParamGroup(match="head.*", constant_lr=True)

    def choose(cls: Any, config: Any, data: Any, image_size: int) -> Any:
        return cls.recipe if image_size > 64 else dataclasses.replace(cls.recipe, groups=(group,))

    monkeypatch.setattr(probes.Probe, "recipe_for", classmethod(choose))
    text = show(Registry.load(), "methods", "probe")

    assert "parameters trained in another way at 32 px\n  head.*  constant_lr true" in text
    assert "at 224 px\n  head" not in text


def test_a_recipe_that_cannot_be_asked_for_is_that_of_the_class(
    probes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(cls: Any, config: Any, data: Any, image_size: int) -> Any:
        raise ValueError("no")

    monkeypatch.setattr(probes.Probe, "recipe_for", classmethod(choose))

    assert "optimizer" in recipe_lines(show(Registry.load(), "methods", "probe"))


def test_the_formula_of_the_docstring_is_shown_as_it_is_laid_out(registry: Registry) -> None:
    text = show(registry, "methods", "vicreg")

    assert "\nformula\n  invariance   25 * mean (z - z')^2\n  variance     25 * (v(z)" in text
    assert "formula\n  score_c(x) = sum over" in show(registry, "evaluators", "knn")
    assert "formula" not in show(registry, "datasets", "image_folder")
