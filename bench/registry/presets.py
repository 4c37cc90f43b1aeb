"""Collect the recipes, views and protocols that plugins add to those of others, and look one up."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bench.errors import UnknownName, suggest
from bench.hookspecs import PRESETS
from bench.registry.discovery import (
    NAME_OF_PLUGIN,
    Discovery,
    Failure,
    Plugin,
    contain_failure,
    loading,
    same_dist,
)

if TYPE_CHECKING:
    from bench.contracts.presets import Preset

SLOTS: Mapping[str, tuple[str, ...]] = {
    "methods": ("recipe", "views"),
    "evaluators": ("protocol",),
    "datasets": ("protocol",),
}  # by kind, what a preset takes the place of: `--set PLUGIN.SLOT=NAME`
PLURALS = {"recipe": "recipes", "views": "views", "protocol": "protocols"}


@dataclasses.dataclass(frozen=True)
class PresetEntry:
    """A preset, and whose it is.

    Args:
        kind: of what it is for: a key of `SLOTS`.
        owner: the name of what it is for.
        slot: what it takes the place of.
        preset: itself.
        plugin: that brought it.
    """

    kind: str
    owner: str
    slot: str
    preset: Preset
    plugin: Plugin

    @property
    def full_name(self) -> str:
        """The name that no other preset of its owner has."""
        return f"{self.plugin.dist}:{self.preset.name}"


def collect_presets(discovery: Discovery, known: Mapping[str, Iterable[str]]) -> tuple[PresetEntry, ...]:
    """Return all presets; what is wrong with one is a failure of its plugin.

    Args:
        discovery: of the plugins.
        known: the names of all that presets may be for, by kind.
    """
    entries: list[PresetEntry] = []
    for plugin in discovery.registered:
        with contain_failure(discovery, plugin, PRESETS), loading(plugin, PRESETS):
            for items in discovery.hook_of(plugin, PRESETS)():
                for item in items:
                    found = _read_item(plugin, item, known, entries)
                    if isinstance(found, str):
                        discovery.failures.append(Failure(plugin, PRESETS, found))
                    else:
                        entries.append(found)
    return tuple(entries)


def _read_item(
    plugin: Plugin, item: Any, known: Mapping[str, Iterable[str]], before: Iterable[PresetEntry]
) -> PresetEntry | str:
    """Return the entry of what a plugin yielded, or what is wrong with it."""
    from bench.contracts.presets import DEFAULT, NamedProtocol, NamedRecipe, NamedViews

    if not isinstance(item, (NamedRecipe, NamedViews, NamedProtocol)):
        return f"{item!r} is no NamedRecipe, NamedViews or NamedProtocol. Yield one of these."
    if isinstance(item, NamedProtocol) and bool(item.evaluator) == bool(item.dataset):
        named = "both an evaluator and a data set" if item.dataset else "neither an evaluator nor a data set"
        return f"{item.name!r}: it names {named}. Name one of the two."
    kind, owner, slot = _place(item)
    entry = PresetEntry(kind, owner, slot, item, plugin)
    if not isinstance(item.name, str) or not NAME_OF_PLUGIN.fullmatch(item.name) or item.name == DEFAULT:
        return f"{item.name!r} cannot be a name. Use letters, digits, - and _, and not {DEFAULT!r}."
    if owner not in (names := tuple(known[kind])):
        return f"{item.name!r}: no {kind.removesuffix('s')} is named {owner!r}.{suggest(str(owner), names)}"
    if problem := _find_problem(item):
        return f"{item.name!r} of {owner}: {problem}"
    if any(
        (one.kind, one.owner, one.slot, one.preset.name) == (kind, owner, slot, item.name)
        and same_dist(one.plugin.dist, plugin.dist)
        for one in before
    ):
        return f"{item.name!r}: {slot} of {owner} is offered twice by this distribution. The first is used."
    return entry


def _place(item: Preset) -> tuple[str, str, str]:
    """Return the kind and the name of what a preset is for, and what it takes the place of."""
    from bench.contracts.presets import NamedProtocol, NamedRecipe

    if isinstance(item, NamedProtocol):
        kind = "evaluators" if item.evaluator else "datasets"
        return kind, item.evaluator or item.dataset, "protocol"
    return "methods", item.method, "recipe" if isinstance(item, NamedRecipe) else "views"


def _find_problem(item: Any) -> str:
    """Return what is wrong with the values of a preset, or nothing."""
    from bench.augmentation.view import View
    from bench.contracts.presets import NamedProtocol, NamedRecipe
    from bench.contracts.recipe import Recipe

    if isinstance(item, NamedRecipe):
        recipe: Any = item.recipe
        if not isinstance(recipe, Recipe):
            return f"{recipe!r} is no Recipe. Give it one."
    elif isinstance(item, NamedProtocol):
        if not isinstance(item.settings, Mapping) or not all(
            isinstance(n, str) for n in item.settings or (0,)
        ):
            return f"{item.settings!r} has no settings by name. Give it some."
    elif not isinstance(item.views, tuple) or not all(isinstance(v, View) for v in item.views or (0,)):
        return f"{item.views!r} is no tuple of Views. Give it one."
    if not isinstance(item.source, str) or not item.source.strip():
        return "it has no source. Say where it is from."
    return ""


def find_preset(
    entries: Iterable[PresetEntry], kind: str, owner: str, slot: str, name: object, where: str
) -> PresetEntry:
    """Return the preset that a name means.

    Args:
        entries: all that there are.
        kind: of the plugin that it is for.
        owner: its name.
        slot: what the preset takes the place of.
        name: `name` or `distribution:name`.
        where: what an error starts with.

    Raises:
        UnknownName: there is none of that name, or more than one.
    """
    own = [entry for entry in entries if (entry.kind, entry.owner, entry.slot) == (kind, owner, slot)]
    dist, _, short = str(name).rpartition(":")
    found = [e for e in own if e.preset.name == short and (not dist or same_dist(e.plugin.dist, dist))]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(sorted(entry.full_name for entry in found))
        raise UnknownName(
            f"{where}: {len(found)} {PLURALS[slot]} of {owner} are named {short!r}: {names}. "
            "Ask for one of them by its full name."
        )
    known = list(_list_names(own))
    raise UnknownName(f"{where}: {owner} has no {slot} named {str(name)!r}.{suggest(short, known)}")


def slots_of(kind: str, config: type) -> tuple[str, ...]:
    """Return what a preset may take the place of in a plugin whose `Config` has no setting of that name."""
    own = {field.name for field in dataclasses.fields(config)}
    return tuple(slot for slot in SLOTS.get(kind, ()) if slot not in own)


def _list_names(entries: Iterable[PresetEntry]) -> Iterator[str]:
    from bench.contracts.presets import DEFAULT

    yield DEFAULT
    yield from dict.fromkeys(entry.preset.name for entry in entries)
