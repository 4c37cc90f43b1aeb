"""The record of a cell before its outcome is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bench.config import key_fields
from bench.planning.cells import Cell, PluginChoice
from bench.storage.records import SCHEMA, Record


def blank_record(cell: Cell, provenance: Mapping[str, Any]) -> Record:
    """Return the record of a cell before its outcome is known."""
    roles = ("method", "backbone", "dataset", "eval_dataset", "evaluator")
    contents = {
        role: choice.content
        for role, choice in (("dataset", cell.dataset), ("eval_dataset", cell.eval_dataset))
        if choice.content and choice.content != choice.identity.get("fingerprint")
    }
    return {
        "schema": SCHEMA,
        "keys": asdict(cell.keys),
        "cell": cell.names,
        "settings": dict(cell.settings),
        "config": {
            **{role: _flatten_choice(getattr(cell, role)) for role in roles},
            "training": cell.training.key_fields() if cell.training else {"image_size": cell.image_size},
            "views": [key_fields(view) for view in cell.views],
        },
        **({"contents": contents} if contents else {}),
        "status": "",
        "reason": None,
        "metrics": {},
        "headline": None,
        "predictions": 0,
        "per_class": {},
        "classes": [],
        "notes": [],
        "protocol": {},
        "cost": {},
        "provenance": dict(provenance),
        "error": None,
    }


def _flatten_choice(choice: PluginChoice) -> dict[str, Any]:
    """Return what a key hashed of a plugin beside its name, flat."""
    others = {name: value for name, value in choice.identity.items() if name not in ("name", "config")}
    return {**choice.identity["config"], **others}
