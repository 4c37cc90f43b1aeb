"""What plugins add to others: recipes, views and protocols, as `bench show` has them."""

from __future__ import annotations

import dataclasses
from typing import Any

from tabulate import tabulate

from bench.augmentation.view import View
from bench.config import format_value, key_fields
from bench.contracts.presets import NamedProtocol, NamedRecipe, NamedViews, Preset
from bench.plain_text import indent
from bench.registry.presets import PLURALS, SLOTS
from bench.registry.registry import Entry, Registry

WIDTHS = (None, 52, 24, 32)  # of a name, what it sets, whose it is and its source


def format_presets(registry: Registry, entry: Entry) -> str:
    """Return the presets that others add to a plugin, a table a slot; empty where there are none."""
    own = [one for one in registry.presets() if (one.kind, one.owner) == (entry.kind, entry.name)]
    blocks = []
    for slot in SLOTS.get(entry.kind, ()):
        rows = [
            (
                one.preset.name,
                _describe(one.preset),
                f"{one.plugin.dist} {one.plugin.version}",
                one.preset.source,
            )
            for one in own
            if one.slot == slot
        ]
        if rows:
            headers = ("name", "sets", "from", "source")
            table = tabulate(
                rows, headers, tablefmt="plain", disable_numparse=True, maxcolwidths=list(WIDTHS)
            )
            title = f"{PLURALS[slot]} of other plugins (--set {entry.name}.{slot}=NAME)"
            blocks.append(f"{title}\n{indent(table)}")
    return "\n\n".join(blocks)


def _describe(preset: Preset) -> str:
    """Return what a preset sets, in a line."""
    if isinstance(preset, NamedRecipe):
        values = {name: value for name, value in key_fields(preset.recipe).items() if name != "source"}
        return _list_values(values)
    if isinstance(preset, NamedProtocol):
        return _list_values(preset.settings)
    assert isinstance(preset, NamedViews)  # noqa: S101
    return "; ".join(_list_changes(view) for view in preset.views)


def _list_changes(view: View) -> str:
    """Return the fields of a view that differ from their defaults."""
    changed = {
        field.name: getattr(view, field.name)
        for field in dataclasses.fields(view)
        if getattr(view, field.name) != field.default
    }
    return _list_values(changed) or "the default view"


def _list_values(values: Any) -> str:
    return ", ".join(f"{name} {format_value(value)}" for name, value in values.items())
