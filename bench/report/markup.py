"""Write HTML and SVG so that no name, reason or setting breaks out of it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any

from bench.plain_text import UNSEEN_BUT_LAYOUT

REPLACEMENT = "\ufffd"
DASH = "–"
CODE = re.compile(r"`([^`]+)`")
NAME = re.compile(r"[^a-z0-9]+")


def escape(value: Any) -> str:
    """Return a value as text that is safe between tags and in a quoted attribute."""
    return html.escape(UNSEEN_BUT_LAYOUT.sub(REPLACEMENT, str(value)))


def write_prose(text: str) -> str:
    """Return a text as HTML in which what stands between backticks is code."""
    return CODE.sub(r"<code>\1</code>", escape(text))


def escape_json(value: Any) -> str:
    """Return a value as JSON that is safe in a quoted attribute."""
    return escape(json.dumps(value, ensure_ascii=False))


def to_name(*parts: object) -> str:
    """Return parts as a name of letters, digits and hyphens, for an anchor and for files."""
    return NAME.sub("-", " ".join(map(str, parts)).lower()).strip("-") or "unnamed"


def format_number(value: Any) -> str:
    """Return a value as a table shows it: four digits of a number that is not whole."""
    if value is None:
        return DASH
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def write_table(columns: Iterable[str], rows: Iterable[Iterable[Any]], caption: str) -> str:
    """Return a plain table.

    Args:
        columns: the headings.
        rows: values, in the order of the columns; the first heads its row.
        caption: what it shows.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td>{escape(format_number(value))}</td>" for value in others)
        lines.append(f'<tr><th scope="row">{escape(format_number(first))}</th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
