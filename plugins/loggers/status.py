"""How trackers say what became of a cell."""

from __future__ import annotations

from bench.api import Record


def describe_status(record: Record) -> str:
    """Return the status of a cell, with the reason where there is no score: a later `ok` goes over it."""
    return "ok" if record["status"] == "ok" else f"{record['status']}: {record['reason']}"
