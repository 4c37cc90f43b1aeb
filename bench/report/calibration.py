"""Reliability diagrams: whether a classifier is as often right as it is sure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bench.metrics.calibration import Reliability, bin_confidence
from bench.report.answers import Answers
from bench.report.drawing import SMALL, escape, lay_out_panels, write_document, write_text
from bench.report.figure import Figure
from bench.report.styles import GRID, INK, series_colour

SIDE, LEFT, BELOW = 190, 34, 72  # of a diagram; room for its numbers; and for the histogram below
HISTOGRAM = 34
TICKS = (0, 25, 50, 75, 100)


def draw_calibration(name: str, title: str, answers: Sequence[Answers]) -> Figure:
    """Return a reliability diagram a method.

    Args:
        name: of the figure.
        title: of the figure.
        answers: of each method; each has confidences.
    """
    bins = {one.name: pool_seeds(one) for one in answers}
    errors = {one.name: one.mean_ece for one in answers}
    panels = [(f"{one}, ECE {errors[one]:.2f} %", _draw_diagram(bins[one])) for one in bins]
    body, size = lay_out_panels(panels, LEFT + SIDE, SIDE + BELOW)
    caption = (
        "Bars are the share of right answers among those given with about the same confidence: on the "
        "dashed line a classifier is as often right as it is sure, below it too sure. The grey bars say how "
        "many images these are. Bins hold all seeds; the expected calibration error (ECE) is their mean."
    )
    columns = ("method", "confidence above (%)", "to (%)", "images", "confidence (%)", "right (%)", "ECE (%)")
    rows = tuple(row for one in bins for row in _list_bins(one, bins[one], errors[one]))
    return Figure(name, title, caption, write_document(name, title, size, [body]), columns, rows)


def pool_seeds(answers: Answers) -> Reliability:
    """Return the bins of all seeds of a method together."""
    return bin_confidence(np.concatenate(answers.confidences), np.concatenate(answers.rights))


def _draw_diagram(bins: Reliability) -> str:
    frame = f'<rect width="{SIDE}" height="{SIDE}" fill="none" stroke="{GRID}"/>'
    parts = [f'<g transform="translate({LEFT} 0)">{frame}']
    for tick in TICKS:
        x, y = SIDE * tick / 100, SIDE * (100 - tick) / 100
        parts.append(write_text(-5, y + 3, tick, anchor="end", size=SMALL))
        parts.append(write_text(x, SIDE + BELOW - 14, tick, anchor="middle", size=SMALL))
    parts += [
        write_text(SIDE / 2, SIDE + BELOW - 2, "confidence (%)", anchor="middle", size=SMALL),
        '<g transform="rotate(-90)">',
        write_text(-SIDE / 2, -25, "right (%)", anchor="middle", size=SMALL),
        "</g>",
        *_draw_bars(bins),
        f'<path d="M0 {SIDE}L{SIDE} 0" stroke="{INK}" stroke-dasharray="4 3" fill="none"/></g>',
    ]
    return "".join(parts)


def _draw_bars(bins: Reliability) -> Iterator[str]:
    """Yield a bar for each bin that is not empty, and one of the histogram below."""
    width, most = SIDE / len(bins.images), bins.images.max()
    base = SIDE + 10 + HISTOGRAM
    for place in np.flatnonzero(bins.images):
        x, right = place * width, SIDE * bins.accuracy[place] / 100
        high = HISTOGRAM * bins.images[place] / most
        said = (
            f"sure by {bins.confidence[place]:.1f} %, right in {bins.accuracy[place]:.1f} %, "
            f"{bins.images[place]} images"
        )
        bar = f'<rect x="{x:.1f}" y="{SIDE - right:.1f}" width="{width - 1:.1f}" height="{right:.1f}"'
        count = f'<rect x="{x:.1f}" y="{base - high:.1f}" width="{width - 1:.1f}" height="{high:.1f}"'
        yield f'<g><title>{escape(said)}</title>{bar} fill="{series_colour(0)}" fill-opacity="0.75"/>'
        yield f'{count} fill="{GRID}"/></g>'


def _list_bins(method: str, bins: Reliability, error: float) -> Iterator[tuple[object, ...]]:
    count = len(bins.images)
    for place in np.flatnonzero(bins.images):
        limits = (round(100 * place / count, 2), round(100 * (place + 1) / count, 2))
        sure, right = (round(float(values[place]), 2) for values in (bins.confidence, bins.accuracy))
        yield (method, *limits, int(bins.images[place]), sure, right, round(error, 3))
