"""Draw lines and points as SVG that a page, a file and a screen reader can use.

A drawing is 1,200 units wide and all coordinates are whole: at the usual size that is half a pixel, and short.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.report.markup import escape
from bench.report.scales import Scale, fit_scale, shorten
from bench.report.styles import INK, Style

WIDTH, TOP, RIGHT, LEFT = 1200, 52, 28, 104
PLOT_BOTTOM, AXIS = 520, 76  # where the plot ends, and the room below for ticks and the axis's title
LEGEND_ROW, LETTER, SWATCH = 40, 12.5, 76  # heights and widths, in units
LONGEST = 42  # letters of a name in a legend
MOST_MARKERS = 8  # on a line
GRID = "var(--grid,#ccc)"

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line of a chart: the mean over seeds, its band and each seed.

    Args:
        name: in the legend.
        style: its looks.
        points: x and y, by ascending x; finite.
        band: x, lowest and highest y; empty where there is one seed.
        singles: the points of each seed; empty where there is one.
    """

    name: str
    style: Style
    points: Sequence[Point]
    band: Sequence[tuple[float, float, float]] = ()
    singles: Sequence[Sequence[Point]] = ()


@dataclass(frozen=True)
class Spot:
    """A point of a chart, with how far it reaches up and down.

    Args:
        name: in the legend.
        style: its looks.
        x: finite.
        y: finite.
        spread: of y, on either side.
        is_filled: draw it full.
    """

    name: str
    style: Style
    x: float
    y: float
    spread: float
    is_filled: bool


@dataclass(frozen=True)
class Axis:
    """What an axis shows.

    Args:
        title: of the axis, with its unit.
        is_log: it is logarithmic.
        ticks: what is written beside it, by value; empty for round values.
    """

    title: str
    is_log: bool = False
    ticks: Mapping[float, str] | None = None


def draw_lines(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """Return a chart of lines, at least one of which has a point."""
    points = [point for line in lines for point in (*line.points, *(p for s in line.singles for p in s))]
    heights = [height for _, height in points]
    heights += [end for line in lines for _, low, high in line.band for end in (low, high)]
    across, up = _fit(x, [place for place, _ in points], y, heights)
    marks = [part for line in lines for part in _draw_line(line, across, up)]
    return _frame(title, x, y, across, up, marks, [(line.name, line.style) for line in lines])


def draw_spots(title: str, spots: Sequence[Spot], front: Sequence[Point], x: Axis, y: Axis) -> str:
    """Return a chart of points, at least one, with a line of steps through the best of them.

    Args:
        title: of the chart.
        spots: the points.
        front: those that no other beats in both, by ascending x; the line rises at each.
        x: its axis.
        y: its axis.
    """
    heights = [end for spot in spots for end in (spot.y - spot.spread, spot.y + spot.spread)]
    across, up = _fit(x, [spot.x for spot in spots], y, heights)
    marks = []
    if len(front) > 1:
        steps = "".join(f"H{across.place(a)}V{up.place(b)}" for a, b in front[1:])
        start = f"M{across.place(front[0][0])} {up.place(front[0][1])}"
        marks.append(f'<path class="front" d="{start}{steps}" fill="none" stroke="{INK}" stroke-width="2"/>')
    marks += [_draw_spot(spot, across, up) for spot in spots]
    return _frame(title, x, y, across, up, marks, list({s.name: (s.name, s.style) for s in spots}.values()))


def _fit(x: Axis, places: Sequence[float], y: Axis, heights: Sequence[float]) -> tuple[Scale, Scale]:
    return (
        fit_scale(places, LEFT, WIDTH - RIGHT, is_log=x.is_log),
        fit_scale(heights, PLOT_BOTTOM, TOP, is_log=y.is_log),
    )


def _draw_line(line: Line, across: Scale, up: Scale) -> Iterator[str]:
    colour, dash = line.style.colour, line.style.dash
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    if line.band:
        top = [(across.place(x), up.place(high)) for x, _, high in line.band]
        bottom = [(across.place(x), up.place(low)) for x, low, _ in reversed(line.band)]
        yield f'<path d="{_path([*top, *bottom])}z" fill="{colour}" fill-opacity=".16"/>'
    places = [(across.place(x), up.place(y)) for x, y in line.points]
    singles = "".join(_path([(across.place(x), up.place(y)) for x, y in single]) for single in line.singles)
    if singles:
        yield (
            f'<path class="single" d="{singles}" fill="none" stroke="{colour}" stroke-opacity=".5" '
            'stroke-width="2"/>'
        )
    yield f'<path d="{_path(places)}" fill="none" stroke="{colour}" stroke-width="4"{dashes}/>'
    step = max(1, len(places) // MOST_MARKERS)
    marked = places if len(places) <= MOST_MARKERS else places[step // 2 :: step]
    yield _draw_markers(marked, line.style, colour)


def _draw_markers(places: Sequence[tuple[int, int]], style: Style, fill: str) -> str:
    path = "".join(f"M{x} {y}{style.marker}" for x, y in places)
    return f'<path d="{path}" fill="{fill}" stroke="{style.colour}" stroke-width="3"/>'


def _draw_spot(spot: Spot, across: Scale, up: Scale) -> str:
    x, y = across.place(spot.x), up.place(spot.y)
    bar = ""
    if spot.spread:
        ends = (up.place(spot.y + spot.spread), up.place(spot.y - spot.spread))
        bar = f'<path d="M{x} {ends[0]}V{ends[1]}" stroke="{spot.style.colour}" stroke-width="2"/>'
    fill = spot.style.colour if spot.is_filled else "var(--paper,#fff)"
    return bar + _draw_markers([(x, y)], spot.style, fill)


def _path(places: Sequence[tuple[int, int]]) -> str:
    """Return a path through whole coordinates, each relative to the one before: that is shortest."""
    if not places:
        return ""
    (x, y), *others = places
    parts = [f"M{x} {y}"]
    for number, (next_x, next_y) in enumerate(others):
        down = next_y - y
        parts.append(f"{'l' if not number else ' '}{next_x - x}{'' if down < 0 else ' '}{down}")
        x, y = next_x, next_y
    return "".join(parts).replace(" -", "-")


def _frame(
    title: str,
    x: Axis,
    y: Axis,
    across: Scale,
    up: Scale,
    marks: Sequence[str],
    names: Sequence[tuple[str, Style]],
) -> str:
    """Return the whole drawing: axes and grid, what is drawn on them, the legend below."""
    legend, rows = _draw_legend(names)
    height = PLOT_BOTTOM + AXIS + rows * LEGEND_ROW + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="system-ui,sans-serif" font-size="24" fill="{INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="var(--paper,#fff)"/>',
        *_draw_axes(x, y, across, up),
        *marks,
        *legend,
        "</svg>",
    ]
    return "".join(parts)


def _draw_axes(x: Axis, y: Axis, across: Scale, up: Scale) -> Iterator[str]:
    rises, runs = up.ticks(), list(x.ticks or across.ticks())
    lines = "".join(f"M{LEFT} {up.place(tick)}H{WIDTH - RIGHT}" for tick in rises)
    lines += "".join(f"M{across.place(tick)} {PLOT_BOTTOM}v8" for tick in runs)
    yield f'<path d="{lines}M{LEFT} {PLOT_BOTTOM}H{WIDTH - RIGHT}" stroke="{GRID}" stroke-width="2"/>'
    texts = [
        f'<text x="{LEFT - 12}" y="{up.place(t) + 8}" text-anchor="end">{shorten(t, rises)}</text>'
        for t in rises
    ]
    texts += [
        f'<text x="{across.place(tick)}" y="{PLOT_BOTTOM + 34}" text-anchor="middle">'
        f"{escape((x.ticks or {}).get(tick) or shorten(tick, [] if x.is_log else runs))}</text>"
        for tick in runs
    ]
    yield from texts
    middle = (LEFT + WIDTH - RIGHT) // 2
    yield f'<text x="{middle}" y="{PLOT_BOTTOM + 66}" text-anchor="middle">{escape(x.title)}</text>'
    yield f'<text x="12" y="28">{escape(y.title)}</text>'


def _draw_legend(names: Sequence[tuple[str, Style]]) -> tuple[list[str], int]:
    """Return the entries of a legend, set in rows, and the number of rows."""
    parts, left, row = [], 0.0, 0
    for name, style in names:
        text = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
        width = SWATCH + LETTER * len(text) + 28
        if left and left + width > WIDTH - 12:
            left, row = 0.0, row + 1
        x, y = round(left) + 12, PLOT_BOTTOM + AXIS + row * LEGEND_ROW + 24
        dashes = f' stroke-dasharray="{style.dash}"' if style.dash else ""
        parts.append(
            f'<path d="M{x} {y - 8}h56" stroke="{style.colour}" stroke-width="4"{dashes}/>'
            f"{_draw_markers([(x + 28, y - 8)], style, style.colour)}"
            f'<text x="{x + 68}" y="{y}">{escape(text)}</text>'
        )
        left += width
    return parts, row + 1 if names else 0
