"""A section of the report: a title, what must be known, and figures to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.report.figure import Figure

NUMBER_LETTERS = 18  # of a number in a table, with its tags
MOST_NAMED = 6  # figures


@dataclass(frozen=True)
class Section:
    """A part of the page, with an entry in its list of contents.

    Args:
        name: its anchor: lower-case letters, digits and hyphens.
        title: a few words.
        notes: what must be known to read it, and what is missing: a sentence or two each, plain text.
        figures: in the order of the page.
        choices: what the reader chooses figures by, by the figure's name: the label of each list and the
            value that the figure is shown for. A figure that is not named is always shown.
        body: HTML of its own, below the figures; whoever makes it escapes what is in it.
    """

    name: str
    title: str
    notes: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    choices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    body: str = ""


def keep_within(figures: Iterable[Figure], limit: int) -> tuple[list[Figure], list[Figure]]:
    """Return the first figures that fit into a number of letters together, and the others.

    Args:
        figures: the most important first.
        limit: of drawings and numbers, in letters.
    """
    kept: list[Figure] = []
    left_out: list[Figure] = []
    for figure in figures:
        limit -= len(figure.svg) + len(figure.rows) * len(figure.columns) * NUMBER_LETTERS
        (left_out if limit < 0 else kept).append(figure)
    return kept, left_out


def describe_left_out(figures: Sequence[Figure], remedy: str) -> str:
    """Return in words which figures there was no room for; nothing where there was."""
    if not figures:
        return ""
    named = "; ".join(figure.title for figure in figures[:MOST_NAMED])
    more = f" and {len(figures) - MOST_NAMED} more" if len(figures) > MOST_NAMED else ""
    return f"Left out to keep the page small: {named}{more}. {remedy}"
