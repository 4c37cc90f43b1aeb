"""A section of the report: a title, what must be known, and figures to choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bench.report.figure import Figure

NUMBER_LETTERS = 18  # of a number in a table, with its tags
MOST_NAMED = 3  # figures


@dataclass(frozen=True)
class Section:
    """A part of the page, with an entry in its list of contents.

    Args:
        name: its anchor: lower-case letters, digits and hyphens.
        title: a few words.
        notes: what must be known to read it, and what is missing: a sentence or two each, plain text; empty
            ones are left out.
        figures: in the order of the page.
        choices: what the reader chooses figures by, by the figure's name: the label of each list and the
            value that the figure is shown for. A figure that is not named is always shown.
        body: HTML of its own, below the figures; whoever makes it escapes what is in it.
        script: a file of this package that its figures need; empty for none.
    """

    name: str
    title: str
    notes: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    choices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    body: str = ""
    script: str = ""


@dataclass(frozen=True)
class Draft:
    """A figure that is drawn if there is room for it.

    Args:
        title: what it would show.
        draw: returns it, or none where there is nothing to draw.
        choices: as of `Section.choices`.
    """

    title: str
    draw: Callable[[], Figure | None]
    choices: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Drawn:
    """What became of drafts.

    Args:
        figures: those there was room for.
        choices: of these figures, as `Section` takes them.
        left_out: the titles of the others.
    """

    figures: list[Figure] = field(default_factory=list)
    choices: dict[str, Mapping[str, str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def describe_left_out(self, remedy: str) -> str:
        """Return in words which figures there was no room for; nothing where there was."""
        if not self.left_out:
            return ""
        named = "; ".join(self.left_out[:MOST_NAMED])
        more = f" and {len(self.left_out) - MOST_NAMED} more" if len(self.left_out) > MOST_NAMED else ""
        return f"Left out to keep the page small: {named}{more}. {remedy}"


def draw_within(drafts: Iterable[Draft], limit: int) -> Drawn:
    """Draw figures until a number of letters is full; the others are left out, and not drawn.

    Args:
        drafts: the most important first.
        limit: of drawings and numbers, in letters.
    """
    drawn = Drawn()
    for draft in drafts:
        if drawn.left_out:
            drawn.left_out.append(draft.title)
            continue
        figure = draft.draw()
        if figure is None:
            continue
        limit -= len(figure.svg) + len(figure.rows) * len(figure.columns) * NUMBER_LETTERS
        if limit < 0:
            drawn.left_out.append(draft.title)
        else:
            drawn.figures.append(figure)
            drawn.choices[figure.name] = draft.choices
    return drawn
