"""Read a record's settings and its resolved config, each value under the name that `--set` knows it by."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

# in a protocol's `selected_on`, where nothing of a readout was chosen
SEEN = "nothing: the backbone was trained with these labels"
# by the name that a person knows it by: in `cost.passes.run`
PASSES = {"views_seen": "views", "forward_passes": "forward", "backward_passes": "backward"}
DIGITS = re.compile(r"([0-9]{1,300})")  # of more, Python makes no number


def settings_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was set explicitly, by its `--set` name, as hashable values."""
    return {name: _to_hashable(value) for name, value in (record.get("settings") or {}).items()}


def flatten(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole resolved config of `record`, by `--set` names, as hashable values."""
    config = record.get("config") or {}
    views = config.get("views") or ()
    sections = {
        **{role: config.get(role) for role in ("method", "backbone", "dataset", "eval_dataset")},
        record["cell"]["evaluator"]: config.get("evaluator"),
        "train": config.get("training"),
        "views": _merge_views(views) if views else None,
    }
    values: dict[str, Any] = {}
    for name, section in sections.items():
        if section is not None:
            _collect(name, section, values)
    return values


def natural_sort_key(text: str) -> list[str | int]:
    """Return a sort key that puts `resnet50` before `resnet101`."""
    parts: list[str | int] = list(DIGITS.split(text))
    parts[1::2] = map(int, parts[1::2])
    return parts


def _collect(name: str, value: Any, values: dict[str, Any]) -> None:
    """Add `value` to `values` under `name`; of a dict, each item under `name.item`."""
    if isinstance(value, dict):
        for field, item in value.items():
            _collect(f"{name}.{field}", item, values)
    else:
        values[name] = _to_hashable(value)


def _to_hashable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_to_hashable(item) for item in value)
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


def _merge_views(views: Iterable[Any]) -> Any:
    """Return the views' fields: one value where all views agree, else a list with one of each view."""
    views = list(views)
    if not all(isinstance(view, dict) for view in views):
        return views
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for view in views for name in view):
        values = [view.get(name) for view in views]
        agree = values.count(values[0]) == len(values)
        merged[name] = values[0] if agree else values
    return {**merged, "count": len(views)}
