"""A finished table as text: for a terminal, for GitHub, for a paper, for a page, for a script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TableEntry:
    """One cell of a table: what it says, and whether it is the best there is."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table before it has a format.

    Args:
        caption: what all cells have in common, as sentences.
        header: a heading a column.
        labels: how many columns, from the left, are labels; the others are values.
        body: the rows, each as long as `header`.
        notes: what the marks [1], [2], ... in the cells refer to.
    """

    caption: str
    header: tuple[str, ...]
    labels: int
    body: tuple[tuple[TableEntry, ...], ...]
    notes: tuple[str, ...]

    def captioned(self, legend: str) -> str:
        """Return the caption, with how the best are marked if any is."""
        marked = any(entry.best for row in self.body for entry in row)
        return f"{self.caption} {legend}" if marked else self.caption

    def marked_notes(self) -> list[str]:
        """Return the notes, each with its mark."""
        return [f"[{place}] {note}" for place, note in enumerate(self.notes, 1)]


def format_value(value: Any) -> str:
    """Return a setting's value as one would write it on the command line."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(format_value, value)) or "[]"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _line(text: str) -> str:
    return " ".join(text.split())
