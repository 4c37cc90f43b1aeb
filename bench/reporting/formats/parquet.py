"""Tables as Parquet, for data frames: what CSV has, with types."""

from __future__ import annotations

import io
from typing import Any

from bench.plain_text import escape_halves
from bench.reporting.formats.base import BinaryFormat, Table
from bench.reporting.formats.extras import import_extra
from bench.reporting.formats.tidy import list_rows
from bench.reporting.formats.values import format_value


class Parquet(BinaryFormat):
    """A Parquet file, a row a cell; numbers are not rounded."""

    refuses_mixed = False

    def encode(self, table: Table) -> bytes:
        """Return the content of the file."""
        arrow = import_extra("pyarrow", "parquet")
        parquet = import_extra("pyarrow.parquet", "parquet")
        rows = list_rows(table)
        columns = {name: make_column([row[name] for row in rows]) for name in rows[0]}
        file = io.BytesIO()
        parquet.write_table(arrow.table({name: _to_arrow(arrow, own) for name, own in columns.items()}), file)
        return file.getvalue()


def make_column(values: list[Any]) -> list[Any]:
    """Return the values of a column, of one type: numbers where all are, else texts."""
    types = {type(value) for value in values if value is not None}
    if types == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(types) <= 1 and types <= {int, float, bool, str}:
        return values
    return [None if value is None else format_value(value) for value in values]


def _to_arrow(arrow: Any, values: list[Any]) -> Any:
    """Return a column of Arrow; one without values is of texts."""
    if all(value is None for value in values):
        return arrow.array(values, arrow.string())
    safe = [escape_halves(value) if isinstance(value, str) else value for value in values]
    return arrow.array(safe)
