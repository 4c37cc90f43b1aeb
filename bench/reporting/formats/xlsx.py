"""Tables as a workbook for Excel: a sheet as the table reads, and a sheet with a row a cell."""

from __future__ import annotations

import io
import math
from datetime import datetime, timezone
from typing import Any

from bench.plain_text import join_lines
from bench.reporting.formats.base import NO_CELL, BinaryFormat, Table, TableCell
from bench.reporting.formats.extras import import_extra
from bench.reporting.formats.groups import head_columns
from bench.reporting.formats.tidy import list_rows
from bench.reporting.formats.values import format_value

LONGEST = 32_767  # letters that Excel has room for in a cell
WRITTEN = datetime(1980, 1, 1, tzinfo=timezone.utc)  # the same table is the same bytes, whenever it is made
IN_MEMORY = {"in_memory": True, "nan_inf_to_errors": False}


class XLSX(BinaryFormat):
    """A workbook with the sheets `table` and `cells`."""

    def encode(self, table: Table) -> bytes:
        """Return the content of the file."""
        xlsxwriter = import_extra("xlsxwriter", "xlsx")
        file = io.BytesIO()
        book = xlsxwriter.Workbook(file, IN_MEMORY)
        book.set_properties({"created": WRITTEN.replace(tzinfo=None)})
        looks = {
            "head": book.add_format({"bold": True, "align": "right"}),
            "group": book.add_format({"bold": True, "align": "center", "bottom": 1}),
            "label": book.add_format({"bold": True, "align": "left"}),
            "score": book.add_format({"align": "right"}),
            "best": book.add_format({"align": "right", "bold": True}),
        }
        _write_table(book.add_worksheet("table"), table, looks)
        _write_cells(book.add_worksheet("cells"), table, looks)
        book.close()
        return file.getvalue()


def _write_table(sheet: Any, table: Table, looks: dict[str, Any]) -> None:
    """Write the table as it reads: caption, headings, texts of the cells, notes."""
    first = len(table.row_axes)
    sheet.write_string(0, 0, _text(table.caption_with("Bold")))
    lines = head_columns(table.columns)
    for line, headings in enumerate(lines, 2):
        place = first
        for heading in headings:
            text, end = _text(heading.text), place + heading.span - 1
            if end > place:
                sheet.merge_range(line, place, line, end, text, looks["group"])
            else:
                sheet.write_string(line, place, text, looks["head"])
            place = end + 1
    top = 2 + len(lines)
    for place, name in enumerate(table.row_headers):
        sheet.write_string(top - 1, place, _text(name), looks["label"])
    for line, row in enumerate(table.rows, top):
        for place, label in enumerate(row.labels):
            sheet.write_string(line, place, _text(label))
        for place, cell in enumerate(row.cells, first):
            look = looks["best" if cell is not None and cell.best else "score"]
            sheet.write_string(line, place, NO_CELL if cell is None else _text(cell.text), look)
    for line, note in enumerate(table.numbered_notes(), top + len(table.rows) + 1):
        sheet.write_string(line, 0, _text(note))
    sheet.freeze_panes(top, first)
    widths = [max(map(len, texts)) for texts in zip(*(row.labels for row in table.rows), strict=True)]
    for place, width in enumerate(widths):
        sheet.set_column(place, place, max(width, len(table.row_headers[place])) + 2)
    sheet.set_column(first, first + len(table.columns), max(_widths(table)) + 2)


def _write_cells(sheet: Any, table: Table, looks: dict[str, Any]) -> None:
    """Write a row a cell, numbers as numbers: what csv has."""
    rows = list_rows(table)
    for place, name in enumerate(rows[0]):
        sheet.write_string(0, place, _text(name), looks["label"])
    for line, row in enumerate(rows, 1):
        for place, value in enumerate(row.values()):
            _write_value(sheet, line, place, value)
    sheet.freeze_panes(1, 0)


def _write_value(sheet: Any, line: int, place: int, value: Any) -> None:
    """Write a value; a number that is not finite, which Excel has not, is a text."""
    if isinstance(value, bool):
        sheet.write_boolean(line, place, value)
    elif isinstance(value, (int, float)) and math.isfinite(value):
        sheet.write_number(line, place, value)
    elif value is not None:
        sheet.write_string(line, place, _text(format_value(value)))  # never read as a formula


def _widths(table: Table) -> list[int]:
    cells: list[TableCell | None] = [cell for row in table.rows for cell in row.cells]
    last = head_columns(table.columns)[-1]
    return [len(heading.text) for heading in last] + [len(cell.text) for cell in cells if cell is not None]


def _text(text: str) -> str:
    return join_lines(text)[:LONGEST]
