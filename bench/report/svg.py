"""Draw lines and points as SVG that a page, a file and a screen reader can use.

A drawing is 960 units wide and all coordinates are whole: at the usual size that is half a pixel, and short.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.report.markup import escape
from bench.report.scales import Scale, fit_scale, shorten
from bench.report.styles import GRID, INK, Style

WIDTH, TOP, RIGHT, LEFT = 960, 52, 28, 104
PLOT_BOTTOM, AXIS = 440, 76  # where the plot ends, and the room below for ticks and the axis's title
LEGEND_ROW, LETTER, SWATCH = 40, 12.5, 76  # heights and widths, in units
LONGEST = 42  # letters of a name in a legend; of a longer one its middle is left out
MOST_MARKERS, FEW_MARKERS = 6, 3  # on a line that has a marker at each point, and on one that has not
LOOKS = f'role="img" font-family="system-ui,sans-serif" font-size="24" fill="{INK}"'

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
        reach: the ends of what is drawn around y; twice y where nothing is.
        is_filled: draw it full.
    """

    name: str
    style: Style
    x: float
    y: float
    reach: tuple[float, float]
    is_filled: bool


@dataclass(frozen=True)
class Axis:
    """What an axis shows.

    Args:
        title: of the axis, with its unit.
        is_log: it is logarithmic.
        ticks: what is written beside it, by value; empty for round values.
        is_whole: it counts something, so that its ticks are whole.
    """

    title: str
    is_log: bool = False
    ticks: Mapping[float, str] | None = None
    is_whole: bool = False


def draw_lines(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """Return a chart of lines, at least one of which has a point."""
    points = [point for line in lines for point in (*line.points, *(p for s in line.singles for p in s))]
    heights = [height for _, height in points]
    heights += [end for line in lines for _, low, high in line.band for end in (low, high)]
    across, up = _fit(x, [place for place, _ in points], y, heights)
    marks = [part for line in lines for part in _draw_line(line, across, up)]
    legend = _draw_legend([(line.name, line.style) for line in lines], with_lines=True)
    return _frame(title, x, y, across, up, marks, legend)


def draw_spots(title: str, spots: Sequence[Spot], front: Sequence[Point], x: Axis, y: Axis) -> str:
    """Return a chart of points, at least one, with a line of steps through the best of them.

    Args:
        title: of the chart.
        spots: the points.
        front: those that no other beats in both, by ascending x; the line rises at each.
        x: its axis.
        y: its axis.
    """
    heights = [height for spot in spots for height in (spot.y, *spot.reach)]
    across, up = _fit(x, [spot.x for spot in spots], y, heights)
    marks = []
    if len(front) > 1:
        steps = "".join(f"H{across.place(a)}V{up.place(b)}" for a, b in front[1:])
        start = f"M{across.place(front[0][0])} {up.place(front[0][1])}"
        marks.append(f'<path class="front" d="{start}{steps}" fill="none" stroke="{INK}" stroke-width="2"/>')
    marks += [_draw_spot(spot, across, up) for spot in spots]
    names = {spot.name: spot.style for spot in spots}
    return _frame(title, x, y, across, up, marks, _draw_legend(list(names.items()), with_lines=False))


def _fit(x: Axis, places: Sequence[float], y: Axis, heights: Sequence[float]) -> tuple[Scale, Scale]:
    return (
        fit_scale(places, LEFT, WIDTH - RIGHT, is_log=x.is_log),
        fit_scale(heights, PLOT_BOTTOM, TOP, is_log=y.is_log),
    )


def _draw_line(line: Line, across: Scale, up: Scale) -> Iterator[str]:
    colour, dash = line.style.colour, line.style.dash
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    if len(line.band) == 1:
        x, low, high = line.band[0]
        bar = f"M{across.place(x)} {up.place(low)}V{up.place(high)}"
        yield f'<path d="{bar}" stroke="{colour}" stroke-width="2"/>'
    elif line.band:
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
    step = max(1, len(places) // FEW_MARKERS)
    marked = places if len(places) <= MOST_MARKERS else places[step // 2 :: step]
    yield _draw_markers(marked, line.style, colour)


def _draw_markers(places: Sequence[tuple[int, int]], style: Style, fill: str) -> str:
    path = "".join(f"M{x} {y}{style.marker}" for x, y in places)
    return f'<path d="{path}" fill="{fill}" stroke="{style.colour}" stroke-width="3"/>'


def _draw_spot(spot: Spot, across: Scale, up: Scale) -> str:
    x, y = across.place(spot.x), up.place(spot.y)
    bar = ""
    if spot.reach != (spot.y, spot.y):
        bottom, top = map(up.place, spot.reach)
        bar = f'<path d="M{x} {top}V{bottom}" stroke="{spot.style.colour}" stroke-width="2"/>'
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
    legend: Sequence[str],
) -> str:
    """Return the whole drawing: axes and grid, what is drawn on them, the legend below."""
    height = PLOT_BOTTOM + AXIS + len(legend) * LEGEND_ROW + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {LOOKS}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="var(--paper,#fff)"/>',
        *_draw_axes(x, y, across, up),
        *marks,
        *legend,
        "</svg>",
    ]
    return "".join(parts)


def _draw_axes(x: Axis, y: Axis, across: Scale, up: Scale) -> Iterator[str]:
    rises = up.ticks()
    runs = list(x.ticks or dict.fromkeys(t for t in across.ticks() if not x.is_whole or t.is_integer()))
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


def _draw_legend(names: Sequence[tuple[str, Style]], *, with_lines: bool) -> list[str]:
    """Return the rows of a legend.

    Args:
        names: each with its style.
        with_lines: draw a piece of line through each marker.
    """
    rows: list[str] = []
    swatch, left = (SWATCH if with_lines else SWATCH // 2), float(WIDTH)
    for name, style in names:
        text = _shorten(name)
        width = swatch + LETTER * len(text) + 28
        if left + width > WIDTH - 12:
            rows.append("")
            left = 0.0
        x, y = round(left) + 12, PLOT_BOTTOM + AXIS + len(rows) * LEGEND_ROW - 16
        dashes = f' stroke-dasharray="{style.dash}"' if style.dash else ""
        line = f'<path d="M{x} {y - 8}h{swatch - 20}" stroke="{style.colour}" stroke-width="4"{dashes}/>'
        rows[-1] += (
            (line if with_lines else "")
            + _draw_markers([(x + (swatch - 20) // 2, y - 8)], style, style.colour)
            + f'<text x="{x + swatch - 8}" y="{y}">{escape(text)}</text>'
        )
        left += width
    return rows


def _shorten(name: str) -> str:
    """Return a name without its middle where it is long: names of trainings often differ at their end."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[-half:]}"
