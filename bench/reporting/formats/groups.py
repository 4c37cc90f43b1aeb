"""Group headings: columns beside each other that share a part of their headings have it once above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.reporting.formats.base import TableColumn


@dataclass(frozen=True)
class Heading:
    """What stands above some columns.

    Args:
        text: it may be empty.
        span: how many columns it stands above.
    """

    text: str
    span: int = 1


def head_columns(columns: Sequence[TableColumn]) -> list[list[Heading]]:
    """Return the lines of headings, from the outermost one in; the last has one for each column.

    There is one line only where columns have no parts, or one that says anything.
    """
    depth = max((len(column.levels) for column in columns), default=0)
    paths = [(*column.levels, *("",) * (depth - len(column.levels))) for column in columns]
    used = [level for level in range(depth) if any(path[level] for path in paths)]
    paths = [tuple(path[level] for level in used) for path in paths]
    if len(used) < 2:
        return [[Heading(column.heading) for column in columns]]
    lines = [_merge(paths, level) for level in range(len(used) - 1)]
    return [*lines, [Heading(path[-1]) for path in paths]]


def _merge(paths: Sequence[tuple[str, ...]], level: int) -> list[Heading]:
    """Return the headings of a level, one for columns beside each other that are alike up to it."""
    merged: list[Heading] = []
    above: tuple[str, ...] | None = None
    for path in paths:
        if path[: level + 1] == above:
            merged[-1] = Heading(path[level], merged[-1].span + 1)
        else:
            merged.append(Heading(path[level]))
        above = path[: level + 1]
    return merged
