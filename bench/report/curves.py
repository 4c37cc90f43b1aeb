"""Draw what trainings logged, an epoch each: the mean over seeds with its band, and each seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.report.figure import Figure
from bench.report.markup import DASH, format_number, to_name
from bench.report.results import Results
from bench.report.section import Draft, Section, draw_within
from bench.report.series import Names
from bench.report.svg import Axis, Line, draw_lines
from bench.report.thinning import thin
from bench.report.trainings import Curve, list_trainings, read_curves

TITLES = {  # of what every training logs, those first that are looked at first
    "loss": ("loss", "Mean over the epoch's steps. Losses of two methods cannot be compared."),
    "online_knn_top1": ("kNN vote on a sample: top1 in percent", "Every few epochs, on training images."),
    "h_std": ("spread of the features (h_std)", "Of each dimension at length one, averaged: 0 is collapse."),
    "h_rankme": ("rank of the features (RankMe)", "A few directions, or one, are dimensional collapse."),
    "z_std": ("spread of the embeddings (z_std)", "As of the features, of the projector's output."),
    "z_rankme": ("rank of the embeddings (RankMe)", "As of the features, of the projector's output."),
    "lr": ("learning rate", "Of the epoch's last step."),
    "images_per_s": ("training images a second", "An image counts once, however many views it gives."),
}  # fmt: skip
NOT_DRAWN = ("epoch", "step", "seconds")
ALL_POINTS, FEWEST, MOST = 30_000, 8, 80  # points of all curves, and of one
EPOCHS_SHOWN = 6  # in the table of a curve
LIMIT = 400_000  # letters of all charts
LINES = (
    "Lines are means over seeds, bands one standard deviation on either side. A long curve is drawn with "
    "fewer points, its peaks kept."
)
SOURCE = "metrics.jsonl of the trainings has them all."


def build_curves(results: Results, names: Names) -> Section:
    """Return the section of the training curves; where no artifact is there, it says so."""
    trainings = list_trainings(results, names.roles)
    curves, found, total = read_curves(results, trainings)
    measures = order_measures(curves)
    most = _share_points(curves, measures)
    facets = {curve.training.facet for curve in curves.get("loss", ())}
    drafts = (
        Draft(
            f"{title_of(measure)}, {facet}" if facet else title_of(measure),
            partial(draw_measure, measure, facet, some, names, most),
            {"training": facet} if len(facets) > 1 else {},
        )
        for measure in measures
        for facet, some in _by_facet(curves[measure]).items()
    )
    drawn = draw_within(drafts, LIMIT)
    notes = (
        LINES if drawn.figures else "",
        describe_missing(found, total, results.folders),
        drawn.describe_left_out(SOURCE),
    )
    return Section("curves", "Training curves", notes, tuple(drawn.figures), drawn.choices)


def title_of(measure: str) -> str:
    """Return what a measure is called."""
    return TITLES[measure][0] if measure in TITLES else measure


def describe_missing(found: int, total: int, folders: Sequence[Path]) -> str:
    """Return in words how many trainings have no log; nothing where all have one."""
    if found == total:
        return "" if total else "Nothing was trained."
    missing = total - found
    has = "has" if missing == 1 else "have"
    where = " or ".join(f"{folder}/artifacts" for folder in folders)
    return (
        f"{missing} of {total} trainings {has} no metrics.jsonl in {where}: records alone do not hold "
        "the curves. Copy the artifacts there, or run the command below again."
    )


def order_measures(curves: Mapping[str, Sequence[Curve]]) -> list[str]:
    """Return what is drawn, in order: what every training logs, the terms of the losses, what else there is.

    A term that is the whole loss of its method is not drawn again.
    """
    names = [name for name in curves if name not in NOT_DRAWN]
    usual = [name for name in TITLES if name in names]
    others = [name for name in names if name not in TITLES]
    whole = {curve.training: curve.singles for curve in curves.get("loss", ())}
    return usual + [n for n in others if any(whole.get(c.training) != c.singles for c in curves[n])]


def draw_measure(measure: str, facet: str, curves: Sequence[Curve], names: Names, most: int) -> Figure | None:
    """Return the chart of what was measured, of all trainings on one network and one data set.

    Args:
        measure: its name in the log.
        facet: the network and the data, where there are several.
        curves: of the trainings.
        names: of lines.
        most: points a line.
    """
    lines = [line for curve in curves if (line := _make_line(curve, names, most)).points]
    if not lines:
        return None
    title = f"{title_of(measure)}, {facet}" if facet else title_of(measure)
    columns, rows = _tabulate(curves)
    return Figure(
        name=to_name("curve", measure, facet),
        title=title,
        caption=TITLES[measure][1] if measure in TITLES else f"As the method logs it, under {measure}.",
        svg=draw_lines(f"{title} over the epochs", lines, Axis("epoch", is_whole=True), Axis(title)),
        columns=columns,
        rows=rows,
    )


def _by_facet(curves: Iterable[Curve]) -> dict[str, list[Curve]]:
    facets: dict[str, list[Curve]] = defaultdict(list)
    for curve in curves:
        facets[curve.training.facet].append(curve)
    return facets


def _share_points(curves: Mapping[str, Sequence[Curve]], measures: Sequence[str]) -> int:
    """Return how many points a line may have: a mean has its band beside, and each seed a line of its own."""
    lines = sum(3 + len(curve.singles) for measure in measures for curve in curves[measure])
    return min(MOST, max(FEWEST, ALL_POINTS // max(1, lines)))


def _make_line(curve: Curve, names: Names, most: int) -> Line:
    means = curve.mean()
    kept = [means[at] for at in thin([(epoch, mean) for epoch, mean, _ in means], most)]
    several = len(curve.singles) > 1
    singles = [[points[at] for at in thin(points, most)] for points in curve.singles.values()]
    return Line(
        name=curve.training.name,
        style=names.style_of(curve.training.name, curve.training.method),
        points=[(epoch, mean) for epoch, mean, _ in kept],
        band=[(epoch, mean - std, mean + std) for epoch, mean, std in kept] if several else (),
        singles=singles if several else (),
    )


def _tabulate(curves: Sequence[Curve]) -> tuple[tuple[str, ...], tuple[tuple[Any, ...], ...]]:
    """Return the headings and the rows of a chart's numbers: a training a row, some epochs across."""
    means = {curve: {epoch: (mean, std) for epoch, mean, std in curve.mean()} for curve in curves}
    epochs = sorted({epoch for values in means.values() for epoch in values})
    shown = [epochs[at] for at in _spread(len(epochs), EPOCHS_SHOWN)]
    rows = []
    for curve, values in means.items():
        several = len(curve.singles) > 1
        texts = (_write(*values[epoch], several=several) if epoch in values else DASH for epoch in shown)
        rows.append((curve.training.name, len(curve.singles), *texts))
    return ("training", "seeds", *(f"epoch {format_number(epoch)}" for epoch in shown)), tuple(rows)


def _spread(count: int, most: int) -> list[int]:
    """Return up to `most` places out of `count`, evenly apart, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def _write(mean: float, std: float, *, several: bool) -> str:
    return f"{mean:.4g} ± {std:.2g}" if several else f"{mean:.4g}"
