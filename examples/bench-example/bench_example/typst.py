"""Typst: a figure with a table."""

from __future__ import annotations

import re

from bench.api import Table, TableCell, TableFormat


class Typst(TableFormat):
    """A figure with a table, for Typst."""

    def render(self, table: Table) -> str:
        """Return `#figure(table(...), caption: ...)`, and the notes below it."""
        rows = [[*map(write_text, row.labels), *map(write_cell, row.cells)] for row in table.rows]
        align = ["left"] * len(table.row_axes) + ["right"] * len(table.columns)
        lines = [
            "#figure(",
            "  table(",
            f"    columns: {len(align)},",
            f"    align: ({', '.join(align)},),",
            f"    table.header({', '.join(map(write_text, table.header))}),",
            *(f"    {', '.join(row)}," for row in rows),
            "  ),",
            f"  caption: {write_text(table.caption_with('Bold'))},",
            ")",
        ]
        return "\n".join([*lines, *map(escape, table.numbered_notes())])


def write_cell(cell: TableCell | None) -> str:
    """Return the content of a cell, bold where it is marked; empty where there is no record."""
    if cell is None:
        return "[]"
    return f"[*{escape(cell.text)}*]" if cell.best else write_text(cell.text)


def write_text(text: str) -> str:
    """Return a text as content."""
    return f"[{escape(text)}]"


def escape(text: str) -> str:
    """Return a text on one line, in which nothing is markup."""
    return re.sub(r"([\\#*_`$<>@\[\]~/=+-])", r"\\\1", " ".join(text.split()))
