"""Tables for a script: a row a cell, numbers as they are."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from bench.plain_text import spell_out_field, spell_out_json
from bench.reporting.formats.base import Table, TableCell, TableFormat
from bench.reporting.formats.values import format_value


class CSV(TableFormat):
    """Comma-separated values; a field is empty where there is no value.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """

    refuses_mixed = False

    def render(self, table: Table) -> str:
        """Return `table` as comma-separated values, the names first."""
        rows = list_rows(table)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(map(_to_csv, rows[0]))
        writer.writerows(map(_to_csv, row.values()) for row in rows)
        return text.getvalue().rstrip("\n")


class JSON(TableFormat):
    """A JSON list of objects; a number that is not finite is a string."""

    refuses_mixed = False

    def render(self, table: Table) -> str:
        """Return `table` as JSON."""
        rows = [{name: _to_json(value) for name, value in row.items()} for row in list_rows(table)]
        return spell_out_json(json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False))


def list_rows(table: Table) -> list[dict[str, Any]]:
    """Return a row for each cell, all with the same names."""
    return [_row_of(cell) for cell in table.cells()]


def _row_of(cell: TableCell) -> dict[str, Any]:
    return {
        **cell.axes,
        "metric": cell.metric,
        "mean": cell.mean,
        "std": cell.std,
        "n": cell.n,
        "low": cell.low,
        "high": cell.high,
        "interval": cell.interval,
        "higher_is_better": cell.higher_is_better,
        "best": cell.best,
        "status": cell.status,
        "reason": "; ".join(cell.troubles) or None,
        **cell.protocol,
    }


def _to_csv(value: Any) -> Any:
    """Return a value as a field of CSV."""
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return spell_out_field(format_value(value))


def _to_json(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
