"""Tables for a script: a row a score."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.reporting.formats.base import format_value


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return tidy rows, all with the same names, as comma-separated values; empty where none."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _field(value) for name, value in row.items()} for row in rows)
    return out.getvalue().rstrip("\n")


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return tidy rows as a JSON list of objects; a number that is not finite is a string."""
    plain_rows = [{name: _carried(value) for name, value in row.items()} for row in rows]
    return json.dumps(plain_rows, indent=1, ensure_ascii=False, allow_nan=False)


def _field(value: Any) -> Any:
    return "" if value is None else format_value(value) if isinstance(value, (bool, tuple)) else value


def _carried(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
