"""A figure of the report: drawn once, and its numbers as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """What the page shows, `--figures` writes and a screen reader reads.

    Args:
        name: of its files and its anchor: lower-case letters, digits and hyphens.
        title: a few words.
        caption: a sentence or two in plain text.
        svg: one whole `<svg>` element with a viewBox, a `<title>` and no script. Colours are CSS variables
            with a fallback: `var(--ink, #222)`, `var(--paper, #fff)`, `var(--grid, #ccc)`, `var(--s1, ...)`
            to `var(--s8, ...)` (Okabe-Ito), so that a page can be dark.
        columns: headings of its numbers.
        rows: its numbers, in the order of `columns`.
    """

    name: str
    title: str
    caption: str
    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
