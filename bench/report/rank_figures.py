"""Draw a ranking: a critical-difference diagram, and the profiles of normalised scores.

Source: Demsar 2006, JMLR 7, figure 1; Agarwal et al. 2021, arXiv:2108.13264, figure 7.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.report.drawing import shorten, write_document, write_text
from bench.report.figure import Figure
from bench.report.styles import GRID, INK, OKABE_ITO, series_colour
from bench.reporting.ranking import Ranking
from bench.statistics.aggregates import CONFIDENCE
from bench.statistics.parts import LEVEL

DASHES = ("none", "7 3", "2 3", "9 3 2 3")  # after eight colours come the next dashes

WIDTH, MARGIN, LINE = 760, 210, 20  # of a drawing, beside its axis for names, and of a line of text
ROOM = 150  # for a name that is drawn; the numbers have it whole
BAR = 9  # between two bars of methods that are not told apart
PLOT_LEFT, PLOT_RIGHT, PLOT_TOP, PLOT_HEIGHT = 60, 500, 30, 260


def draw_ranking(rankings: Sequence[Ranking]) -> Iterator[Figure]:
    """Yield the figures of rankings, each under a name of its own."""
    for number, ranking in enumerate(rankings, 1):
        suffix = f"-{number}" if len(rankings) > 1 else ""
        yield draw_ranks(ranking, f"ranks{suffix}")
        if ranking.aggregates:
            yield draw_profiles(ranking, f"profiles{suffix}")


def draw_ranks(ranking: Ranking, name: str = "ranks") -> Figure:
    """Draw average ranks on a line, with a bar across those of which no two are told apart."""
    title = f"Average ranks: {ranking.block.question}"
    count = len(ranking.entrants)
    left = (count + 1) // 2  # names at the left; the others stand at the right
    axis = 58
    names_from = axis + 22 + BAR * len(ranking.alike)
    height = names_from + LINE * left + 8
    parts = [*_draw_rank_axis(ranking, axis)]
    for number, (first, last) in enumerate(ranking.alike):
        y = axis + 12 + BAR * number
        ends = (_x_of(ranking.ranks[first], count) - 4, _x_of(ranking.ranks[last], count) + 4)
        parts.append(_line(ends[0], y, ends[1], y, width=4))
    for place, (entrant, rank) in enumerate(zip(ranking.entrants, ranking.ranks, strict=True)):
        at_left = place < left
        y = names_from + LINE * (place if at_left else count - 1 - place) + 8
        x, edge = _x_of(rank, count), MARGIN - 8 if at_left else WIDTH - MARGIN + 8
        parts.append(f'<path d="M{x:.1f} {axis} V{y} H{edge}" fill="none" stroke="{INK}"/>')
        label = f"{shorten(entrant.label, ROOM)} {rank:.2f}"
        anchor = "end" if at_left else "start"
        parts.append(write_text(edge + (-4 if at_left else 4), y + 4, label, anchor=anchor))
    return Figure(
        name=name,
        title=title,
        caption=(
            f"Ranks over {len(ranking.block.datasets)} data sets, 1 is the best. A bar joins methods of "
            f"which no two are told apart (Wilcoxon, Holm over all pairs, level {LEVEL:g}). "
            "CD is how far Nemenyi's test would ask average ranks to be apart."
        ),
        svg=write_document(name, title, (WIDTH, height), parts),
        columns=("method", "average rank"),
        rows=tuple((one.label, rank) for one, rank in zip(ranking.entrants, ranking.ranks, strict=True)),
    )


def _draw_rank_axis(ranking: Ranking, y: float) -> Iterator[str]:
    """Yield the axis of ranks, and above it the critical difference where there is room for it."""
    count = len(ranking.entrants)
    yield _line(_x_of(1, count), y, _x_of(count, count), y)
    for rank in range(1, count + 1):
        x = _x_of(rank, count)
        yield _line(x, y - 5, x, y)
        if count <= 20 or rank % 5 in (0, 1):
            yield write_text(x, y - 9, str(rank), anchor="middle")
    difference = ranking.critical_difference
    if difference > count - 1:
        yield write_text(_x_of(1, count), 18, f"CD {difference:.2f}: more than the axis is long")
        return
    start, end = _x_of(1, count), _x_of(1 + difference, count)
    yield _line(start, 24, end, 24)
    yield from (_line(x, 20, x, 28) for x in (start, end))
    yield write_text((start + end) / 2, 16, f"CD {difference:.2f}", anchor="middle")


def _x_of(rank: float, count: int) -> float:
    return MARGIN + (rank - 1) / (count - 1) * (WIDTH - 2 * MARGIN)


def draw_profiles(ranking: Ranking, name: str = "profiles") -> Figure:
    """Draw the share of runs above each normalised score, with its band over seeds where there is one."""
    title = f"Performance profiles: {ranking.block.question}"
    low, high = float(ranking.thresholds[0]), float(ranking.thresholds[-1])

    def place(score: float, share: float) -> str:
        x = PLOT_LEFT + (score - low) / (high - low) * (PLOT_RIGHT - PLOT_LEFT)
        return f"{x:.1f},{PLOT_TOP + (1 - share) * PLOT_HEIGHT:.1f}"

    parts = [*_draw_profile_axes(low, high)]
    scores = ranking.thresholds.tolist()
    for number, aggregate in enumerate(ranking.aggregates):
        if aggregate.band:
            ends = [*zip(scores, aggregate.band.low.tolist(), strict=True)]
            ends += [*zip(scores, aggregate.band.high.tolist(), strict=True)][::-1]
            points = " ".join(place(*end) for end in ends)
            parts.append(f'<polygon points="{points}" fill="{series_colour(number)}" fill-opacity="0.15"/>')
    for number, (entrant, aggregate) in enumerate(zip(ranking.entrants, ranking.aggregates, strict=True)):
        points = " ".join(place(*pair) for pair in zip(scores, aggregate.profile.tolist(), strict=True))
        looks = f'stroke="{series_colour(number)}" stroke-width="2" stroke-dasharray="{_dash(number)}"'
        y = PLOT_TOP + 8 + LINE * number
        parts.append(f'<polyline points="{points}" fill="none" {looks}/>')
        parts.append(f'<path d="M{PLOT_RIGHT + 20} {y} h28" {looks}/>')
        parts.append(write_text(PLOT_RIGHT + 54, y + 4, shorten(entrant.label, ROOM)))
    height = max(PLOT_TOP + PLOT_HEIGHT + 50, PLOT_TOP + 20 + LINE * len(ranking.entrants))
    band = (
        f" Bands: {100 * CONFIDENCE:g} % over seeds." if any(one.band for one in ranking.aggregates) else ""
    )
    profiles = [one.profile.tolist() for one in ranking.aggregates]
    return Figure(
        name=name,
        title=title,
        caption=(
            f"The share of runs above each normalised score, over {len(ranking.scaled)} data sets that weigh "
            f"alike; higher is better.{band}"
        ),
        svg=write_document(name, title, (WIDTH, height), parts),
        columns=("normalised score", *(entrant.label for entrant in ranking.entrants)),
        rows=tuple(zip(scores, *profiles, strict=True)),
    )


def _draw_profile_axes(low: float, high: float) -> Iterator[str]:
    bottom = PLOT_TOP + PLOT_HEIGHT
    for step in range(5):
        y, x = bottom - step / 4 * PLOT_HEIGHT, PLOT_LEFT + step / 4 * (PLOT_RIGHT - PLOT_LEFT)
        yield _line(PLOT_LEFT, y, PLOT_RIGHT, y, colour=GRID)
        yield write_text(PLOT_LEFT - 8, y + 4, f"{step / 4:g}", anchor="end")
        yield _line(x, bottom, x, bottom + 5)
        yield write_text(x, bottom + 19, f"{low + step / 4 * (high - low):.2f}", anchor="middle")
    yield write_text((PLOT_LEFT + PLOT_RIGHT) / 2, bottom + 40, "normalised score", anchor="middle")
    yield write_text(PLOT_LEFT - 8, PLOT_TOP - 8, "share of runs above")


def _dash(number: int) -> str:
    return DASHES[number // len(OKABE_ITO) % len(DASHES)]


def _line(x: float, y: float, to_x: float, to_y: float, *, width: int = 1, colour: str = INK) -> str:
    return f'<path d="M{x:.1f} {y:.1f} L{to_x:.1f} {to_y:.1f}" stroke="{colour}" stroke-width="{width}"/>'
