"""Give each line of the report its colour, its dashes and its marker, the same in every figure.

The colours are those of Okabe and Ito (2008), which people with any kind of colour blindness tell apart; by
dashes and markers lines are told apart without colour. Their yellow is darkened, for it cannot be seen on
white; their black is the text's, and grey stands in for it, as in R.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#ad9f00", "#999999")
INK, PAPER, GRID = "var(--ink,#222)", "var(--paper,#fff)", "var(--grid,#ccc)"
DASHES = ("", "16 8", "4 8", "16 6 4 6")
MARKERS = (  # paths around a point
    "m-8 0a8 8 0 1 0 16 0a8 8 0 1 0-16 0",
    "m-7-7h14v14h-14z",
    "m0-10l9 16h-18z",
    "m0-10l10 10-10 10-10-10z",
    "m0 10l-9-16h18z",
    "m-8-8l16 16m0-16l-16 16",
    "m-9 0h18m-9-9v18",
    "m-8-8h16l-16 16h16z",
)
LABELLED, UNTRAINED = "trained with labels", "untrained"  # what others are measured by


def series_colour(index: int) -> str:
    """Return the colour of the series at `index`; after eight they begin again."""
    place = index % len(OKABE_ITO)
    return f"var(--s{place + 1},{OKABE_ITO[place]})"


@dataclass(frozen=True)
class Style:
    """How a line is drawn.

    Args:
        colour: as SVG knows it.
        dash: lengths of its dashes and gaps; empty for a line without any.
        marker: a path around a point.
    """

    colour: str
    dash: str
    marker: str


@dataclass
class Palette:
    """The styles that were given so far, by the names of lines."""

    styles: dict[str, Style] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def style_of(self, name: str, role: str = "") -> Style:
        """Return the style of a line; what others are measured by has the colour of the text.

        Args:
            name: of the line.
            role: `LABELLED`, `UNTRAINED` or nothing.
        """
        if name not in self.styles:
            number = self.counts.get(role, 0)
            self.counts[role] = number + 1
            self.styles[name] = _make_style(number, role)
        return self.styles[name]


def _make_style(number: int, role: str) -> Style:
    if role:  # the two kinds start at markers of their own
        first, dash = (1, DASHES[1]) if role == LABELLED else (3, DASHES[2])
        return Style(INK, dash, MARKERS[(number + first) % len(MARKERS)])
    round_, place = divmod(number, len(OKABE_ITO))
    marker = MARKERS[(place + round_) % len(MARKERS)]
    return Style(series_colour(number), DASHES[round_ % len(DASHES)], marker)
