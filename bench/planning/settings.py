"""Which of the settings of a grid belong to a plugin, and to a cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from bench.config import WrittenList
from bench.contracts.dataset_info import NAME, ROOT
from bench.planning.cells import PluginChoice
from bench.registry.presets import slots_of

IMAGE_SIZE = "train.image_size"  # the one setting of training that shapes what is not trained, too


def own_settings(config: type | None, role: str, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of one plugin; those of its name go before those of its role.

    Args:
        config: the class whose fields count; none takes every setting of the role or name.
        role: `method`, `backbone`, `dataset`, `eval_dataset`, `train` or `views`.
        name: the plugin's.
        settings: by their `--set` names.
    """
    fields = {f.name for f in dataclasses.fields(config)} if config else None
    values = {}
    for prefix in (role, name):
        for setting, value in settings.items():
            part, _, field_name = setting.partition(".")
            if part == prefix and (fields is None or field_name in fields):
                values[field_name] = value
    return values


def _has_setting(plugin: PluginChoice, name: str, *, trained: bool) -> bool:
    """Tell whether a plugin has a setting, or a preset of others could be named by it."""
    may_be_preset = name in slots_of(plugin.kind, type(plugin.config)) and (
        trained or plugin.kind != "methods"
    )
    return hasattr(plugin.config, name) or may_be_preset


def _list_as_used(value: Sequence[Any], name: str, choices: Mapping[str, PluginChoice]) -> list[Any]:
    """Return the items of a list that was set: as they are written where a plugin takes them as text."""
    if isinstance(value, WrittenList):
        texts = tuple(value.texts)
        if any(getattr(plugin.config, name, None) == texts for plugin in choices.values()):
            return value.texts
    return list(value)


def settings_that_apply(
    settings: Mapping[str, Any], choices: Mapping[str, PluginChoice], *, trained: bool
) -> dict[str, Any]:
    """Return the settings that shape a cell; those of other methods or evaluators do not.

    Args:
        settings: by `part.field`.
        choices: the cell's plugins by role.
        trained: the cell trains a backbone.
    """
    relevant = {}
    for setting, value in settings.items():
        part, _, name = setting.partition(".")
        if part in ("train", "views"):
            applies = trained or setting == IMAGE_SIZE
        else:
            applies = name not in (ROOT, NAME) and any(
                _has_setting(plugin, name, trained=trained)
                and (part == plugin.name or (part == role and f"{plugin.name}.{name}" not in settings))
                for role, plugin in choices.items()
            )
        if applies:
            is_list = isinstance(value, Sequence) and not isinstance(value, str)
            relevant[setting] = _list_as_used(value, name, choices) if is_list else value
    return relevant
