"""What may be added to a method, an evaluator or a data set of others under a name: values, and no class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.augmentation.view import View
from bench.contracts.recipe import Recipe

DEFAULT = "default"  # the name of what a plugin has itself


@dataclass(frozen=True, kw_only=True)
class NamedRecipe:
    """Another recipe of a method: `--set METHOD.recipe=NAME`.

    Args:
        method: its name.
        name: of the recipe.
        recipe: takes the place of the method's own; its `source` says where it is from. What the user sets
            goes before it.
    """

    method: str
    name: str
    recipe: Recipe

    @property
    def source(self) -> str:
        """Where it is from."""
        return self.recipe.source


@dataclass(frozen=True, kw_only=True)
class NamedViews:
    """Other views of a method: `--set METHOD.views=NAME`.

    Args:
        method: its name.
        name: of the views.
        views: take the place of the method's own, as many as `embed` looks at. What would change a label is
            left out of them, and what the user sets goes before them.
        source: where they are from: paper and section, or repository and file.
    """

    method: str
    name: str
    views: tuple[View, ...]
    source: str


@dataclass(frozen=True, kw_only=True)
class NamedProtocol:
    """Settings that belong together: `--set EVALUATOR.protocol=NAME`, or `DATASET.protocol=NAME`.

    Args:
        evaluator: its name; or else `dataset`.
        dataset: its name.
        name: of the protocol.
        settings: by the names of the fields of its `Config`, as YAML has them. What the user sets goes before
            them.
        source: where they are from: paper and section, or repository and file.
    """

    evaluator: str = ""
    dataset: str = ""
    name: str
    settings: Mapping[str, Any]
    source: str


Preset = NamedRecipe | NamedViews | NamedProtocol


def value_of(preset: Preset) -> Recipe | tuple[View, ...] | Mapping[str, Any]:
    """Return what a preset puts in place of a plugin's own."""
    if isinstance(preset, NamedRecipe):
        return preset.recipe
    return preset.views if isinstance(preset, NamedViews) else preset.settings
