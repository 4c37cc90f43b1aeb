"""Which axes go down and which across, and the cells where they meet: averages over seeds only."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.errors import BadValue, UnknownName, suggest
from bench.reporting.axes import CELL, RecordPoint, Survey, is_of_training
from bench.reporting.metric_choice import MetricChoice

Place = tuple[Any, ...]  # a value an axis

USUAL = (*CELL, "seed", "metric")
IN_ROWS = frozenset({"method", "backbone", "key"})


@dataclass(frozen=True)
class Layout:
    """Which axes go down and which across; the metric is an axis where there are several.

    Args:
        rows: the axes that go down.
        cols: the axes that go across.
        measures: the metrics of each evaluator.
        crossed: some records are evaluated on another data set than they were trained on.
    """

    rows: tuple[str, ...]
    cols: tuple[str, ...]
    measures: MetricChoice
    crossed: bool


@dataclass(frozen=True)
class TableCell:
    """The records of one table cell, which differ in their seeds only, under one metric.

    Args:
        points: the records.
        metric: what is shown of them.
        on_diagonal: trained and evaluated on one data set, in a table where others are not.
    """

    points: tuple[RecordPoint, ...]
    metric: str
    on_diagonal: bool

    @cached_property
    def values(self) -> list[float]:
        """The metric of each record that has it."""
        found = [(point.record.get("metrics") or {}).get(self.metric) for point in self.points]
        return [metric["value"] for metric in found if metric is not None]

    @cached_property
    def troubles(self) -> list[str]:
        """Why records have no value, `failed: ...` or `skipped: ...`, each reason once."""
        bad = (point.record for point in self.points if point.record["status"] != "ok")
        return list(dict.fromkeys(f"{record['status']}: {reason_of(record)}" for record in bad))

    @property
    def mean(self) -> float | None:
        """The mean over seeds; none without a value."""
        return sum(self.values) / len(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """The sample standard deviation (ddof 1); none for fewer than two values."""
        if self.mean is None or len(self.values) < 2:
            return None
        mean, n = self.mean, len(self.values)
        return math.sqrt(sum((value - mean) ** 2 for value in self.values) / (n - 1))

    @property
    def status(self) -> str:
        """`ok`, `partial`, `failed`, `skipped`, or `missing` where an evaluator lacks the metric."""
        if len(self.values) == len(self.points):
            return "ok"
        if self.values:
            return "partial"
        statuses = {point.record["status"] for point in self.points}
        return next((status for status in ("failed", "skipped") if status in statuses), "missing")

    @property
    def higher_is_better(self) -> bool:
        """Tell the metric's direction."""
        found = ((point.record.get("metrics") or {}).get(self.metric) for point in self.points)
        return all(metric.get("higher_is_better", True) for metric in found if metric)


@dataclass(frozen=True)
class TableGrid:
    """A table's cells by their place down and across, and both in the order of the table."""

    layout: Layout
    downs: tuple[Place, ...]
    acrosses: tuple[Place, ...]
    cells: Mapping[tuple[Place, Place], TableCell]

    @property
    def common_n(self) -> int | None:
        """How many seeds every complete cell has; none if they differ or there is none."""
        counts = {len(cell.values) for cell in self.cells.values() if cell.status == "ok"}
        return counts.pop() if len(counts) == 1 else None


def gather_cells(found: Survey, layout: Layout) -> TableGrid:
    """Gather the records of each cell, none of which differ in more than their seeds."""
    groups: dict[tuple[Place, Place, str], list[RecordPoint]] = defaultdict(list)
    for point in found.points:
        for metric in layout.measures.by_evaluator[point.at["evaluator"]]:
            down, across = (_place(point, metric, axes) for axes in (layout.rows, layout.cols))
            groups[down, across, metric].append(point)
    cells = {
        (down, across): TableCell(tuple(points), metric, layout.crossed and points[0].returns)
        for (down, across, metric), points in groups.items()
    }
    return TableGrid(
        layout,
        _ordered(found, layout, layout.rows, {down for down, _ in cells}),
        _ordered(found, layout, layout.cols, {across for _, across in cells}),
        cells,
    )


def lay_out(
    found: Survey, rows: tuple[str, ...] | None, cols: tuple[str, ...] | None, measures: MetricChoice
) -> Layout:
    """Return where each axis goes: as asked, what else varies down, or across if none is asked for.

    Where data sets are crossed, what was trained on goes down and what is evaluated on across.

    Args:
        found: the records.
        rows: the axes asked for in rows; none for the usual ones.
        cols: the axes asked for in columns; none for the usual ones.
        measures: the metrics, of which several are an axis.

    Raises:
        UnknownName: there is no such axis.
        BadValue: an axis is asked for in rows and columns.
    """
    rows, cols = (None if names is None else tuple(map(found.axis, names)) for names in (rows, cols))
    known = found.names()
    for option, asked in (("--rows", rows or ()), ("--cols", cols or ())):
        for name in asked:
            if name not in known:
                near = suggest(name, known) or suggest(name, (*USUAL, *found.telling), most=99)
                raise UnknownName(f"{option}: no axis is named {name!r}.{near}")
            if option == "--cols" and name in (rows or ()):
                raise BadValue(f"--cols: {name} is also in --rows. Name it once.")
    left = [name for name in _needed(found, measures) if name not in (rows or ())]
    matrix = found.crossed and "eval_dataset" not in (rows or ())
    usual = (name for name in left if goes_across(name) and not (matrix and _is_of_dataset(name)))
    across = cols if cols is not None else tuple(usual)
    down = (*(rows or ()), *(name for name in left if name not in across))
    if not down and cols is None:
        down = ("method",)
    return Layout(down, across, measures, found.crossed)


def reason_of(record: Mapping[str, Any]) -> str:
    """Return in one line why a cell failed or was skipped."""
    error = record.get("error") or {}
    raised = ": ".join(str(error[part]) for part in ("type", "message") if error.get(part))
    return " ".join((record.get("reason") or raised or "no reason was recorded").split())


def goes_across(name: str) -> bool:
    """Tell whether an axis is of the task that all methods are given, not of a method."""
    return name not in IN_ROWS and (name.startswith("dataset.") or not is_of_training(name))


def _is_of_dataset(name: str) -> bool:
    return name == "dataset" or name.startswith("dataset.")


def _needed(found: Survey, measures: MetricChoice) -> list[str]:
    """Return the axes that vary; a data set evaluated on itself needs no second name."""
    needed = [name for name in (*CELL, *found.telling) if found.varies(name)]
    if not found.crossed:
        needed = [name for name in needed if name != "eval_dataset"]
    return needed + ["metric"] * (len(measures.metrics) > 1)


def _place(point: RecordPoint, metric: str, axes: tuple[str, ...]) -> Place:
    return tuple(metric if axis == "metric" else point.at.get(axis) for axis in axes)


def _ordered(found: Survey, layout: Layout, axes: tuple[str, ...], places: set[Place]) -> tuple[Place, ...]:
    orders = [layout.measures.metrics if axis == "metric" else found.values(axis) for axis in axes]
    ranks = [{value: rank for rank, value in enumerate(order)} for order in orders]
    return tuple(sorted(places, key=lambda place: [rank[v] for rank, v in zip(ranks, place, strict=True)]))
