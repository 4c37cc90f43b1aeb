"""The section of stored predictions, features and images."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.report.figure import Figure
from bench.report.pictures import Pictures
from bench.report.section import Draft, Section, draw_within

LIMIT = 300_000  # letters of drawings and numbers; the thumbnails that maps share come on top


def build_predictions(pictures: Pictures) -> Section:
    """Return the figures there is room for, what is missing, and the thumbnails that they share."""
    drawn = draw_within(_draft(pictures.figures), LIMIT)
    return Section(
        "predictions",
        "Predictions and features",
        notes=(*pictures.missing, drawn.describe_left_out("--figures DIR writes them all.")),
        figures=tuple(drawn.figures),
        body="".join(sheet.to_html() for sheet in pictures.sheets),
        script="maps.js" if pictures.sheets else "",
    )


def _draft(figures: Iterable[Figure]) -> Iterable[Draft]:
    def hand_on(figure: Figure) -> Callable[[], Figure]:
        return lambda: figure

    return [Draft(figure.title, hand_on(figure)) for figure in figures]
