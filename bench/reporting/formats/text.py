"""Tables as text, for GitHub and for a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable

from tabulate import tabulate

from bench.plain_text import join_lines
from bench.reporting.formats.base import NO_CELL, Table, TableCell, TableFormat

# What has a meaning in a cell, and where links, pictures, their targets and named signs start.
MARKDOWN = re.compile(r"[\\|*<`]|(?<=\])[(\[:]|&(?=[#A-Za-z])|!(?=\[)")


class GitHub(TableFormat):
    """GitHub-flavoured Markdown."""

    def render(self, table: Table) -> str:
        """Return `table` as Markdown."""
        caption = _escape(table.caption_with("Bold"))
        grid = _render_grid(table, "github", _escape, "**{}**")
        notes = "  \n".join(map(_escape, table.numbered_notes()))  # two blanks break a line
        return "\n\n".join(filter(None, (caption, grid, notes)))


class Plain(TableFormat):
    """Aligned text."""

    def render(self, table: Table) -> str:
        """Return `table` as aligned text, the best with a star."""
        caption = join_lines(table.caption_with("*"))
        grid = _render_grid(table, "simple", join_lines, "{}*")
        notes = "\n".join(map(join_lines, table.numbered_notes()))
        return "\n\n".join(filter(None, (caption, grid, notes)))


def _render_grid(table: Table, style: str, escape: Callable[[str], str], best: str) -> str:
    """Return the table without caption and notes.

    Args:
        table: what to render.
        style: tabulate's name for it.
        escape: makes a text safe in this style.
        best: a pattern with `{}` for the text of a cell that is the best.
    """

    def render_cell(cell: TableCell | None) -> str:
        if cell is None:
            return NO_CELL
        text = escape(cell.text)
        return best.format(text) if cell.best else text

    rows = [[*map(escape, row.labels), *map(render_cell, row.cells)] for row in table.rows]
    header = [escape(name) for name in table.header]
    align = ["left"] * len(table.row_axes) + ["right"] * len(table.columns)
    # without disable_numparse a name such as 0012 or 1e5 is read as a number and rewritten
    return tabulate(rows, header, style, colalign=align, disable_numparse=True)


def _escape(text: str) -> str:
    return MARKDOWN.sub(r"\\\g<0>", join_lines(text))
