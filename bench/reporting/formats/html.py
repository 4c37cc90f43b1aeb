"""Tables as a page."""

from __future__ import annotations

import html as markup
from collections.abc import Sequence

from bench.reporting.formats.base import Sheet, TableEntry, _line


def html(sheet: Sheet) -> str:
    """Return `sheet` as a page with one table."""
    caption = _web(sheet.captioned("Bold is best."))
    head = "".join(f'<th scope="col">{_web(name)}</th>' for name in sheet.header)
    lines = [
        "<!doctype html>",
        '<meta charset="utf-8">',
        "<title>bench table</title>",
        "<table>",
        f"<caption>{caption}</caption>",
        f"<thead><tr>{head}</tr></thead>",
        "<tbody>",
        *(_web_row(row, sheet.labels) for row in sheet.body),
        "</tbody>",
        "</table>",
        *(f"<p>{_web(note)}</p>" for note in sheet.marked_notes()),
    ]
    return "\n".join(lines)


def _web(text: str) -> str:
    return markup.escape(_line(text))


def _web_row(row: Sequence[TableEntry], labels: int) -> str:
    heads = "".join(f'<th scope="row">{_web(entry.text)}</th>' for entry in row[:labels])
    texts = (f"<strong>{_web(e.text)}</strong>" if e.best else _web(e.text) for e in row[labels:])
    return f"<tr>{heads}{''.join(f'<td>{text}</td>' for text in texts)}</tr>"
