"""Make records by hand, and read what a table of them says."""

from __future__ import annotations

import json
import re
from typing import Any

from bench.keys import digest
from bench.reporting.formats import bench_formats
from bench.reporting.formats.base import BinaryFormat
from bench.reporting.formats.by_name import load_built_in
from bench.reporting.table import table
from bench.storage.records import SCHEMA

TEST_IMAGES = 100_000
INTERVAL = re.compile(r" \[[\d.]+, [\d.]+\]")
TEXT_FORMATS = [
    offer.name for offer in bench_formats() if not isinstance(load_built_in(offer.name), BinaryFormat)
]


def make(method: str = "simclr", value: float = 70.0, **changes: Any) -> dict[str, Any]:
    """Return a record; a change names a field of the cell, a part of the record or of its config.

    There are so many test images that a difference of one point is significant, and of 0.003 is not.
    """
    names = ("backbone", "dataset", "eval_dataset", "evaluator", "label_frac", "seed")
    usual = ("resnet18", "digits", None, "knn", 1.0, 0)
    cell = {"method": method, **dict(zip(names, usual, strict=True))}
    cell |= {name: changes.pop(name) for name in names if name in changes}
    config = {"method": {}, "evaluator": {}, "training": {"epochs": 100}, **changes.pop("config", {})}
    directions = {"top1": True, "nll": False}
    metrics = {
        name: {"value": value, "higher_is_better": higher, "n": TEST_IMAGES}
        for name, higher in directions.items()
    }
    return {
        "schema": SCHEMA, "cell": cell, "config": config, "settings": {}, "status": "ok", "reason": None,
        "metrics": metrics if changes.get("status", "ok") == "ok" else {},
        "keys": {"score": digest([repr(cell), repr(config)])},
        **changes,
    }  # fmt: skip


def cells(text: str) -> list[list[str]]:
    """Return the cells of a GitHub table without the intervals in brackets, its header first."""
    text = INTERVAL.sub("", text)
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in lines]


def caption(text: str) -> str:
    """Return the caption of a GitHub table."""
    return text.splitlines()[0]


def tidy(records: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    """Return the rows of a table as JSON has them."""
    rows: list[dict[str, Any]] = json.loads(table(records, format="json", **options))
    return rows


def sweep(name: str, *values: Any, **changes: Any) -> list[dict[str, Any]]:
    """Return a record for each value of the setting `name`."""
    role, field = name.split(".")
    section = {"train": "training", "method": "method"}.get(role, "evaluator")
    return [
        make(settings={name: value}, config={section: {field: value}}, value=70.0 + index, **changes)
        for index, value in enumerate(values)
    ]


def full_record(score: str = "s0", **changes: Any) -> dict[str, Any]:
    """Return an ok record; a change replaces a part, or one name of its cell."""
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "keys": {"backbone": "b0", "features": "f0", "score": score},
        "cell": {
            "method": "simclr", "backbone": "resnet18", "dataset": "digits", "eval_dataset": "digits",
            "evaluator": "knn", "label_frac": 1.0, "seed": 0,
        },
        "settings": {},
        "config": {"method": {"temperature": 0.5}, "evaluator": {"k": 20}, "training": {"epochs": 100}},
        "status": "ok",
        "reason": None,
        "metrics": {"top1": {"value": 71.25, "higher_is_better": True, "n": 360}},
        "per_class": {"recall": [70.0, 72.5]},
        "classes": ["0", "nan"],
        "notes": [],
        "protocol": {"chosen": {"k": 20}},
        "cost": {"seconds": {"pretrain": 1.5, "features": 0.5}, "images_per_s": 900.0, "params": 11},
        "provenance": {"torch": "2.5"},
        "error": None,
    }  # fmt: skip
    cell = {name: changes.pop(name) for name in list(changes) if name in record["cell"]}
    return {**record, **changes, "cell": {**record["cell"], **cell}}
