"""Tables as a page, and as a part of one."""

from __future__ import annotations

import html
from collections.abc import Iterator

from bench.plain_text import join_lines
from bench.reporting.formats.base import NO_CELL, Table, TableCell, TableFormat, TableRow
from bench.reporting.formats.groups import Heading, head_columns

CLASS = "bench-table"
STYLE = f"""<style>
.{CLASS} {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
.{CLASS} caption {{ caption-side: top; text-align: left }}
.{CLASS} th, .{CLASS} td {{ padding: 0.2em 0.6em }}
.{CLASS} .label {{ text-align: left; font-weight: normal }}
.{CLASS} .group {{ text-align: center; border-bottom: thin solid }}
.{CLASS} .column, .{CLASS} .number {{ text-align: right }}
.{CLASS} thead {{ border-top: medium solid; border-bottom: thin solid }}
.{CLASS} tbody {{ border-bottom: medium solid }}
.{CLASS} .best {{ font-weight: bold }}
</style>"""


class HTML(TableFormat):
    """A page with one table."""

    def render(self, table: Table) -> str:
        """Return `table` as a page."""
        head = ['<html lang="en">', "<head>", '<meta charset="utf-8">', "<title>bench table</title>", STYLE]
        lines = ["<!doctype html>", *head, "</head>", "<body>", *_render_table(table), "</body>", "</html>"]
        return "\n".join(lines)


class Fragment(TableFormat):
    """One table to put into a page, with rules for its own classes and nothing else."""

    def render(self, table: Table) -> str:
        """Return `table` as elements of a page."""
        return "\n".join([STYLE, *_render_table(table)])


def _render_table(table: Table) -> Iterator[str]:
    anchor = f' id="{_escape(table.label).replace(" ", "-")}"' if table.label else ""
    yield f'<table class="{CLASS}"{anchor}>'
    yield f"<caption>{_escape(table.caption_with('Bold'))}</caption>"
    headings = head_columns(table.columns)
    if table.row_axes:
        yield f'<colgroup span="{len(table.row_axes)}"></colgroup>'
    for group in headings[0] if len(headings) > 1 else ():
        yield f'<colgroup span="{group.span}"></colgroup>'
    yield "<thead>"
    yield from _render_head(table, headings)
    yield "</thead>"
    yield "<tbody>"
    yield from map(_render_row, table.rows)
    yield "</tbody>"
    yield "</table>"
    yield from (f'<p class="{CLASS}-note">{_escape(note)}</p>' for note in table.numbered_notes())


def _render_head(table: Table, headings: list[list[Heading]]) -> Iterator[str]:
    """Yield the lines of headings; what stands above the labels goes through all of them."""
    down = f' rowspan="{len(headings)}"' if len(headings) > 1 else ""
    labels = "".join(
        f'<th class="label" scope="col"{down}>{_escape(name)}</th>' for name in table.row_headers
    )
    for number, line in enumerate(headings):
        is_last = number == len(headings) - 1
        cells = (
            _render_heading(heading, outermost=number == 0 and not is_last, last=is_last) for heading in line
        )
        yield f"<tr>{labels if number == 0 else ''}{''.join(cells)}</tr>"


def _render_heading(heading: Heading, *, outermost: bool, last: bool) -> str:
    if not heading.text:
        across = f' colspan="{heading.span}"' if heading.span > 1 else ""
        return f"<td{across}></td>"
    if last:
        return f'<th class="column" scope="col">{_escape(heading.text)}</th>'
    scope = "colgroup" if outermost else "col"
    return f'<th class="group" scope="{scope}" colspan="{heading.span}">{_escape(heading.text)}</th>'


def _render_row(row: TableRow) -> str:
    labels = "".join(f'<th class="label" scope="row">{_escape(label)}</th>' for label in row.labels)
    return f"<tr>{labels}{''.join(map(_render_cell, row.cells))}</tr>"


def _render_cell(cell: TableCell | None) -> str:
    if cell is None:
        return f'<td class="number">{NO_CELL}</td>'
    classes = "number best" if cell.best else "number" if cell.mean is not None else f"number {cell.status}"
    text = f"<strong>{_escape(cell.text)}</strong>" if cell.best else _escape(cell.text)
    return f'<td class="{classes}">{text}</td>'


def _escape(text: str) -> str:
    return html.escape(join_lines(text))
