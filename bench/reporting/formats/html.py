"""Tables as a page."""

from __future__ import annotations

import html

from bench.reporting.formats.base import NO_CELL, Table, TableCell, TableFormat, TableRow
from bench.reporting.formats.values import join_lines


class HTML(TableFormat):
    """A page with one table."""

    def render(self, table: Table) -> str:
        """Return `table` as a page."""
        header = "".join(f'<th scope="col">{_escape(name)}</th>' for name in table.header)
        lines = [
            "<!doctype html>",
            '<meta charset="utf-8">',
            "<title>bench table</title>",
            "<table>",
            f"<caption>{_escape(table.caption_with('Bold'))}</caption>",
            f"<thead><tr>{header}</tr></thead>",
            "<tbody>",
            *map(_render_row, table.rows),
            "</tbody>",
            "</table>",
            *(f"<p>{_escape(note)}</p>" for note in table.numbered_notes()),
        ]
        return "\n".join(lines)


def _render_row(row: TableRow) -> str:
    labels = "".join(f'<th scope="row">{_escape(label)}</th>' for label in row.labels)
    cells = "".join(f"<td>{_render_cell(cell)}</td>" for cell in row.cells)
    return f"<tr>{labels}{cells}</tr>"


def _render_cell(cell: TableCell | None) -> str:
    if cell is None:
        return NO_CELL
    text = _escape(cell.text)
    return f"<strong>{text}</strong>" if cell.best else text


def _escape(text: str) -> str:
    return html.escape(join_lines(text))
