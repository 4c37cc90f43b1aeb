"""What a record says of its settings, each under the name that `--set` knows it by."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_DIGITS = re.compile(r"([0-9]+)")


def settings_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was set explicitly, by its `--set` name, as hashable values."""
    return {name: _hashable(value) for name, value in (record.get("settings") or {}).items()}


def flatten(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole resolved config of `record`, by `--set` names, as hashable values."""
    config = record.get("config") or {}
    views = config.get("views") or ()
    parts = {
        **{part: config.get(part) for part in ("method", "backbone", "dataset", "eval_dataset")},
        record["cell"]["evaluator"]: config.get("evaluator"),
        "train": config.get("training"),
        "views": _side_by_side(views) if views else None,
    }
    leaves: dict[str, Any] = {}
    for part, value in parts.items():
        if value is not None:
            _gather(part, value, leaves)
    return leaves


def natural_sort_key(text: str) -> list[str | int]:
    """Return a sort key that puts `resnet50` before `resnet101`."""
    return [int(part) if place % 2 else part for place, part in enumerate(_DIGITS.split(text))]


def _gather(name: str, value: Any, leaves: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for part, item in value.items():
            _gather(f"{name}.{part}", item, leaves)
    else:
        leaves[name] = _hashable(value)


def _hashable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(item) for item in value)
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


def _side_by_side(views: Iterable[Any]) -> Any:
    """Return the views' fields: one value where all views agree, else a list of one a view."""
    views = list(views)
    if not all(isinstance(view, dict) for view in views):
        return views
    names = dict.fromkeys(name for view in views for name in view)
    fields = {name: [view.get(name) for view in views] for name in names}
    merged = {name: all_[0] if all_ == all_[:1] * len(all_) else all_ for name, all_ in fields.items()}
    return {**merged, "count": len(views)}
