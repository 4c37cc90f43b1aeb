"""Compare two rows of a table, column by column: how far apart, how surely, where, what would settle it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.errors import BadValue, UsageError
from bench.reporting.axes import survey_records
from bench.reporting.comparisons import Comparison, compare
from bench.reporting.disagreements import ClassDifference, Disagreement, find_disagreement, list_classes
from bench.reporting.evidence import Evidence
from bench.reporting.headings import head_column
from bench.reporting.metric_choice import choose_metrics
from bench.reporting.named_rows import name_row, read_selection, select_cells
from bench.reporting.pivot import AxisValues, Pivot, SeedGroup, lay_out, pivot_records
from bench.statistics.multiple import adjust_by_holm
from bench.statistics.parts import LEVEL, Part
from bench.statistics.power import MOST_SEEDS, POWER, count_images, count_seeds, find_power
from bench.storage.artifacts import ArtifactStore
from bench.storage.predictions import read_predictions

SETTLED, MORE_SEEDS = "settled", "several seeds of each"
NOTHING = "–"

Row = Mapping[AxisValues, tuple[AxisValues, SeedGroup]]


@dataclass(frozen=True)
class ComparedColumn:
    """Two cells of one column.

    Args:
        heading: of the column.
        cells: of either row.
        comparison: of the two; in words where there is none.
        p_holm: its p among those of all columns; none without a p.
        settles: what would settle it, in words.
        classes: those whose recalls differ most.
        disagreement: where the two disagree; none without predictions.
    """

    heading: str
    cells: tuple[Evidence, Evidence]
    comparison: Comparison | str
    p_holm: float | None
    settles: str
    classes: tuple[ClassDifference, ...]
    disagreement: Disagreement | None


@dataclass(frozen=True)
class ComparedRows:
    """Two rows.

    Args:
        names: of the rows.
        columns: that both have.
    """

    names: tuple[str, str]
    columns: tuple[ComparedColumn, ...]


def compare_rows(
    records: Iterable[Mapping[str, Any]],
    one: str,
    other: str,
    *,
    metric: str | None = None,
    most: int = 5,
    folder: str | Path = "results",
) -> ComparedRows:
    """Compare two rows of the table that `records` make.

    Args:
        records: as `RecordStore.records` yields them.
        one: the name of a row: `simclr`, `simclr/resnet18`, `method=simclr,label_frac=0.1`.
        other: that of another.
        metric: one or several, with commas; none is that of the table.
        most: how many images are named on which they disagree, for either row.
        folder: where the records are from, and their predictions.

    Raises:
        UsageError: there are no records, or the rows have no column in common.
        UnknownName: there is no such row, axis or metric.
        BadValue: a name is of several rows, or both are of the same.
    """
    records = list(records)
    if not records:
        raise UsageError(f"no records in {folder}. Run `bench run` first.")
    asked = tuple(part.strip() for part in (metric or "").split(",") if part.strip())
    choice = choose_metrics(records, asked or None)
    survey = survey_records(record for record in records if choice.by_evaluator[record["cell"]["evaluator"]])
    pivot = pivot_records(survey, lay_out(survey, None, None, choice))
    selections = [read_selection(text, survey) for text in (one, other)]
    unless = frozenset(selections[0].named) & frozenset(selections[1].named)
    rows = [select_cells(pivot, selection, unless) for selection in selections]
    read = partial(read_predictions, ArtifactStore(Path(folder)))
    columns = [
        (heading, (Evidence(a, read), Evidence(b, read)))
        for heading, a, b in _pair_cells(pivot, rows, (one, other), unless)
    ]
    found = [_compare(*cells) for _, cells in columns]
    adjusted = iter(adjust_by_holm([each.p for each in found if isinstance(each, Comparison)]))
    names = [name_row(pivot, next(iter(row.values()))[1], unless) for row in rows]
    return ComparedRows(
        (names[0], names[1]),
        tuple(
            ComparedColumn(
                heading=heading,
                cells=cells,
                comparison=each,
                p_holm=next(adjusted) if isinstance(each, Comparison) else None,
                settles=_settle(cells, each),
                classes=list_classes(cells),
                disagreement=find_disagreement(cells, most),
            )
            for (heading, cells), each in zip(columns, found, strict=True)
        ),
    )


def _pair_cells(
    pivot: Pivot, rows: Sequence[Row], texts: tuple[str, str], unless: frozenset[str]
) -> list[tuple[str, SeedGroup, SeedGroup]]:
    """Return the heading and the two cells of each column that both rows have."""
    one, other = rows
    if any(group is other[left][1] for left, (_, group) in one.items() if left in other):
        raise BadValue(f"compare: {texts[0]!r} and {texts[1]!r} are the same row. Name two.")
    common = [left for left in one if left in other]
    if not common:
        first, second = (
            ", ".join(head_column(pivot.layout, column) for column, _ in row.values()) for row in rows
        )
        raise UsageError(
            f"compare: {texts[0]!r} and {texts[1]!r} have no column in common: the one has {first}, the "
            f"other {second}. Run both on one task."
        )
    return [(_head(pivot, one[left][0], unless), one[left][1], other[left][1]) for left in common]


def _head(pivot: Pivot, column: AxisValues, unless: frozenset[str]) -> str:
    layout = pivot.layout
    kept = (None if axis in unless else value for axis, value in zip(layout.cols, column, strict=True))
    return head_column(layout, tuple(kept))


def _compare(one: Evidence, other: Evidence) -> Comparison | str:
    for cell in (one, other):
        if cell.group.mean is None:
            return cell.group.status
        if not math.isfinite(cell.group.mean):
            return "a value that is no finite number"
    return compare(one, other)


def _settle(cells: tuple[Evidence, Evidence], found: Comparison | str) -> str:
    """Say what would settle the difference of two cells, if it is as large as it was seen."""
    seeds = [cell.group.n for cell in cells]
    if min(seeds) == 1:
        return MORE_SEEDS
    if isinstance(found, str):
        return NOTHING
    if found.p <= LEVEL:
        return SETTLED
    if found.difference == 0:
        return NOTHING
    images = found.of_images or Part(0.0, 1)
    if find_power(found.difference, [images]) < POWER:
        return f"{count_images(found.difference, images, cells[0].n):,} test images"
    variances = [part.variance * (part.freedom + 1) for part in found.of_seeds]
    needed = count_seeds(found.difference, variances, images)
    return f"about {needed} seeds each" if needed else f"over {MOST_SEEDS} seeds each"
