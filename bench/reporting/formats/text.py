"""Tables as text, for GitHub and for a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable

from tabulate import tabulate

from bench.reporting.formats.base import Sheet, _line


def github(sheet: Sheet) -> str:
    """Return `sheet` as GitHub-flavoured Markdown."""
    grid = _grid(sheet, "github", _markdown, "**{}**".format)
    caption = _markdown(sheet.captioned("Bold is best."))
    notes = "  \n".join(_markdown(note) for note in sheet.marked_notes())  # two spaces break a line
    return "\n\n".join(filter(None, (caption, grid, notes)))


def plain(sheet: Sheet) -> str:
    """Return `sheet` as aligned text."""
    grid = _grid(sheet, "simple", _line, "{}*".format)
    caption = _line(sheet.captioned("* is best."))
    notes = "\n".join(_line(note) for note in sheet.marked_notes())
    return "\n\n".join(filter(None, (caption, grid, notes)))


def _grid(sheet: Sheet, style: str, escape: Callable[[str], str], best: Callable[[str], str]) -> str:
    rows = [
        [best(escape(entry.text)) if entry.best else escape(entry.text) for entry in row]
        for row in sheet.body
    ]
    align = ["left"] * sheet.labels + ["right"] * (len(sheet.header) - sheet.labels)
    # without disable_numparse a name such as 0012 or 1e5 is read as a number and rewritten
    header = [escape(name) for name in sheet.header]
    return tabulate(rows, header, style, colalign=align, disable_numparse=True)


def _markdown(text: str) -> str:
    return re.sub(r"([\\|*<`])", r"\\\1", _line(text))
