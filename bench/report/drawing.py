"""Write SVG: text that may hold anything, colours that a page can change, marks of several shapes, panels."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import ImageFont

from bench.report import markup
from bench.report.styles import INK, PAPER, series_colour

TEXT, SMALL = 11, 9  # heights of type, in the units of a figure
GAP, TITLE_HEIGHT = 18, 20  # between panels, and above a panel
EDGE = 10  # around a figure
VARIABLE = re.compile(r"var\(--[a-z0-9]+, ?(#[0-9a-fA-F]+)\)")


def escape(value: Any) -> str:
    """Return a value as text that XML can hold, on one line."""
    return markup.escape(" ".join(str(value).split()))


def write_text(
    x: float,
    y: float,
    value: Any,
    *,
    anchor: str = "start",
    size: int = TEXT,
    colour: str = INK,
    more: str = "",
) -> str:
    """Return a `<text>`; `more` are further attributes."""
    style = f'text-anchor="{anchor}" font-size="{size}" fill="{colour}"{more}'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(value)}</text>'


def measure(value: Any, size: int = TEXT) -> float:
    """Return about how wide a text is."""
    return float(_font(size).getlength(" ".join(str(value).split())))


def shorten(value: Any, width: float, size: int = TEXT) -> str:
    """Return a text that is cut, with dots, where it is wider than `width`."""
    text = " ".join(str(value).split())
    if measure(text, size) <= width:
        return text
    while text and measure(f"{text}...", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def write_document(name: str, title: str, size: tuple[float, float], body: Iterable[str]) -> str:
    """Return a whole `<svg>`, of a class that says not to enlarge it or to put it beside others.

    Args:
        name: of the figure; ids begin with it.
        title: that a screen reader reads.
        size: width and height of what is drawn, from (0, 0).
        body: elements.
    """
    width, height = (f"{side + 2 * EDGE:g}" for side in size)
    return (
        f'<svg class="wide" xmlns="http://www.w3.org/2000/svg" viewBox="-{EDGE} -{EDGE} {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-labelledby="{name}-title" '
        f'font-family="sans-serif">'
        f'<title id="{name}-title">{escape(title)}</title>{"".join(body)}</svg>'
    )


def lay_out_panels(
    panels: Sequence[tuple[str, str]], width: float, height: float
) -> tuple[str, tuple[float, float]]:
    """Return panels in rows of three, or of two where there are four, each below its title, and their size.

    Args:
        panels: of each, its title and its elements, drawn from (0, 0).
        width: of each.
        height: of each, without its title.
    """
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    parts = []
    for number, (title, body) in enumerate(panels):
        x = number % columns * (width + GAP)
        y = number // columns * (height + TITLE_HEIGHT + GAP) + TITLE_HEIGHT
        heading = write_text(0, -7, shorten(title, width), more=' font-weight="bold"')
        parts.append(f'<g transform="translate({x:g} {y:g})">{heading}{body}</g>')
    size = (columns * (width + GAP) - GAP, rows * (height + TITLE_HEIGHT + GAP) - GAP + 1)
    return "".join(parts), size


def write_mark(x: float, y: float, index: int, radius: float = 4) -> str:
    """Return the mark of the series at `index`: those that are near each other differ in shape, too."""
    shape = index % 4
    if shape == 0:
        drawn = f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}"'
    elif shape == 1:
        side = 1.8 * radius
        drawn = f'<rect x="{x - side / 2:g}" y="{y - side / 2:g}" width="{side:g}" height="{side:g}"'
    else:
        r = 1.25 * radius
        corners = ((0, -r), (r, 0), (0, r), (-r, 0)) if shape == 2 else ((0, -r), (r, 0.8 * r), (-r, 0.8 * r))
        drawn = f'<polygon points="{" ".join(f"{x + dx:g},{y + dy:g}" for dx, dy in corners)}"'
    return f'{drawn} fill="{series_colour(index)}" stroke="{PAPER}" stroke-width="0.7"/>'


def write_legend(names: Sequence[str], width: float) -> tuple[str, float]:
    """Return marks with their names, in as many lines as `width` needs, and the height they take."""
    parts, x, y = [], 0.0, 8.0
    for index, name in enumerate(names):
        label = shorten(name, width - 20)
        step = 16 + measure(label) + 14
        if x and x + step - 14 > width:
            x, y = 0.0, y + 17
        parts += [write_mark(x + 5, y, index), write_text(x + 14, y + 4, label)]
        x += step
    return "".join(parts), y + 10


def resolve_colours(svg: str) -> str:
    """Return a figure with each colour's fallback in place of its variable, for programs without CSS."""
    return VARIABLE.sub(r"\1", svg)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
