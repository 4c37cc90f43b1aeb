"""How often a cell has failed, and whether runs have given it up, as its record says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PLAN = "plan"  # the stage of cells whose plan failed: each run plans them anew, which costs nothing


def attempts_of(record: Mapping[str, Any]) -> int:
    """Return how often a cell has failed; a record that does not say is of one time."""
    if record["status"] != "failed":
        return 0
    attempts = _error_of(record).get("attempts")
    return attempts if type(attempts) is int and attempts > 0 else 1


def is_given_up(record: Mapping[str, Any]) -> bool:
    """Tell whether a cell failed so often that only `--retry-failed` has it tried again."""
    return record["status"] == "failed" and _error_of(record).get("given_up") is True


def count_attempt(
    record: Mapping[str, Any], before: Mapping[str, Any] | None, retries: int
) -> dict[str, Any]:
    """Return the record of a cell that failed, with how often it has now.

    Args:
        record: of the cell.
        before: its record until now, if there is one.
        retries: times that a cell which failed is tried again.
    """
    error = dict(_error_of(record))
    if error.get("stage") != PLAN:
        error["attempts"] = 1 + (attempts_of(before) if before else 0)
        error["given_up"] = error["attempts"] > retries
    return {**record, "error": error}


def describe_attempts(attempts: int) -> str:
    """Return how often a cell has failed in words."""
    return {1: "once", 2: "twice"}.get(attempts, f"{attempts} times")


def _error_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    error = record.get("error")
    return error if isinstance(error, Mapping) else {}
