"""Decide which axes go down and which across, and group the records of each cell by seed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.errors import BadValue, UnknownName, suggest
from bench.plain_text import join_lines, shorten_text
from bench.reporting.axes import CELL_FIELDS, FOLDER, RecordPoint, Survey, is_of_training
from bench.reporting.metric_choice import COSTS, MetricChoice, decimals_of, metric_of
from bench.reporting.naming import Names
from bench.storage.attempts import attempts_of, describe_attempts, is_given_up

AxisValues = tuple[Any, ...]  # of a row or a column: its value on each of its axes
Position = tuple[AxisValues, AxisValues]  # of a cell: its row and its column

USUAL_AXES = (*CELL_FIELDS, "seed", "metric")
REASON_LETTERS = 2000  # of one reason: the record has all of it
ROW_AXES = frozenset({"method", "backbone", "key", FOLDER})


@dataclass(frozen=True)
class Layout:
    """Which axes go down and which across; the metric is an axis where there are several.

    Args:
        rows: the axes that go down.
        cols: the axes that go across.
        metric_choice: the metrics of each evaluator.
        has_transfer: some records are evaluated on another data set than they were trained on.
        names: what stands for names of axes, values and metrics.
        digits: decimals of every metric that is no count; none are each metric's own.
    """

    rows: tuple[str, ...]
    cols: tuple[str, ...]
    metric_choice: MetricChoice
    has_transfer: bool
    names: Names = field(default_factory=Names)
    digits: int | None = None


@dataclass(frozen=True)
class SeedGroup:
    """The records of one table cell, which differ in their seeds only, under one metric.

    Args:
        points: the records.
        metric: what is shown of them.
        on_diagonal: trained and evaluated on one data set, in a table where others are not.
        digits: decimals that are asked for, of a metric that is no count.
    """

    points: tuple[RecordPoint, ...]
    metric: str
    on_diagonal: bool
    digits: int | None = None

    @property
    def decimals(self) -> int:
        """How many decimals are shown; cells that print alike are not told apart."""
        return decimals_of(self.metric) if self.digits is None or self.metric in COSTS else self.digits

    @cached_property
    def by_seed(self) -> dict[Any, float]:
        """The metric of each record that has it, by the record's seed."""
        metrics = ((point, metric_of(point.record, self.metric)) for point in self.points)
        return {point.axes["seed"]: metric["value"] for point, metric in metrics if metric is not None}

    @property
    def n(self) -> int:
        """How many seeds have a value."""
        return len(self.by_seed)

    @cached_property
    def troubles(self) -> tuple[str, ...]:
        """Why records have no value, `failed: ...` or `skipped: ...`, each reason once."""
        records = (point.record for point in self.points if point.record["status"] != "ok")
        return tuple(dict.fromkeys(f"{record['status']}: {describe_reason(record)}" for record in records))

    @cached_property
    def mean(self) -> float | None:
        """The mean over seeds; none without a value."""
        return sum(self.by_seed.values()) / self.n if self.by_seed else None

    @property
    def std(self) -> float | None:
        """The sample standard deviation (ddof 1); none for fewer than two values."""
        mean = self.mean
        if mean is None or self.n < 2:
            return None
        return math.sqrt(sum((value - mean) ** 2 for value in self.by_seed.values()) / (self.n - 1))

    @cached_property
    def status(self) -> str:
        """`ok`, `partial`, `failed`, `skipped`, or `missing` where an evaluator lacks the metric."""
        if self.n == len(self.points):
            return "ok"
        if self.by_seed:
            return "partial"
        statuses = {point.record["status"] for point in self.points}
        return next((status for status in ("failed", "skipped") if status in statuses), "missing")

    @cached_property
    def higher_is_better(self) -> bool | None:
        """Tell the metric's direction; none where there is none, or records disagree on it."""
        metrics = (metric_of(point.record, self.metric) for point in self.points)
        directions = {metric.get("higher_is_better", True) for metric in metrics if metric}
        return directions.pop() if len(directions) == 1 else None


@dataclass(frozen=True)
class Pivot:
    """The groups of a table by row and column, both in the order of the table."""

    layout: Layout
    rows: tuple[AxisValues, ...]
    columns: tuple[AxisValues, ...]
    groups: Mapping[Position, SeedGroup]

    @property
    def common_n(self) -> int | None:
        """How many seeds every complete cell has; none if they differ or there is none."""
        counts = {group.n for group in self.groups.values() if group.status == "ok"}
        return counts.pop() if len(counts) == 1 else None

    def groups_in_order(self) -> Iterator[SeedGroup]:
        """Yield the groups row by row."""
        for row in self.rows:
            for column in self.columns:
                if (row, column) in self.groups:
                    yield self.groups[row, column]


def lay_out(
    survey: Survey,
    rows: tuple[str, ...] | None,
    cols: tuple[str, ...] | None,
    metric_choice: MetricChoice,
) -> Layout:
    """Decide which axes go down and which across.

    Axes that vary but are not asked for go down; if no columns are asked for, those of the task go across.
    Where there is transfer, what was trained on goes down and what is evaluated on across.

    Args:
        survey: the records.
        rows: the axes asked for in rows; none for the usual ones.
        cols: the axes asked for in columns; none for the usual ones.
        metric_choice: the metrics, of which several are an axis.

    Raises:
        UnknownName: there is no such axis.
        BadValue: an axis is asked for in rows and columns.
    """
    rows = None if rows is None else tuple(map(survey.resolve_axis, rows))
    cols = None if cols is None else tuple(map(survey.resolve_axis, cols))
    _refuse_unknown(survey, "--rows", rows or ())
    _refuse_unknown(survey, "--cols", cols or ())
    for name in cols or ():
        if name in (rows or ()):
            raise BadValue(f"--cols: {name} is also in --rows. Name it once.")
    remaining = [name for name in _list_varying(survey, metric_choice) if name not in (rows or ())]
    if cols is not None:
        across = cols
    else:
        training_data_down = survey.has_transfer and "eval_dataset" not in (rows or ())
        across = tuple(
            name
            for name in remaining
            if is_of_task(name) and not (training_data_down and _is_of_dataset(name))
        )
    down = (*(rows or ()), *(name for name in remaining if name not in across))
    if not down and cols is None:
        down = ("method",)
    return Layout(down, across, metric_choice, survey.has_transfer)


def pivot_records(survey: Survey, layout: Layout) -> Pivot:
    """Group the records of each cell, none of which differ in more than their seeds."""
    places = {point.kind: list(_list_places(layout, point)) for point in survey.kinds}
    by_seed = "seed" in (*layout.rows, *layout.cols)
    points: dict[tuple[AxisValues, AxisValues, str], list[RecordPoint]] = defaultdict(list)
    for point in survey.points:
        for place in _list_places(layout, point) if by_seed else places[point.kind]:
            points[place].append(point)
    groups = {
        (row, column): SeedGroup(
            tuple(members), metric, layout.has_transfer and members[0].is_on_training_data, layout.digits
        )
        for (row, column, metric), members in points.items()
    }
    rows = _sort(survey, layout, layout.rows, {row for row, _ in groups})
    columns = _sort(survey, layout, layout.cols, {column for _, column in groups})
    return Pivot(layout, rows, columns, groups)


def describe_reason(record: Mapping[str, Any]) -> str:
    """Return in one line why a cell failed or was skipped, and that it was given up where it was."""
    error = record.get("error") or {}
    exception = ": ".join(str(error[part]) for part in ("type", "message") if error.get(part))
    reason = join_lines(record.get("reason") or exception or "no reason was recorded")
    reason = shorten_text(reason, REASON_LETTERS)
    if not is_given_up(record):
        return reason
    return f"{reason} (failed {describe_attempts(attempts_of(record))}, given up)"


def is_of_task(axis: str) -> bool:
    """Tell whether an axis belongs to the task that all methods are given, not to a method."""
    return axis not in ROW_AXES and (axis.startswith("dataset.") or not is_of_training(axis))


def _is_of_dataset(axis: str) -> bool:
    return axis == "dataset" or axis.startswith("dataset.")


def _refuse_unknown(survey: Survey, option: str, names: tuple[str, ...]) -> None:
    known = survey.axis_names()
    for name in names:
        if name not in known:
            usual = (*USUAL_AXES, *survey.distinguishing)
            suggestion = suggest(name, known) or suggest(name, usual, most=99)
            raise UnknownName(f"{option}: no axis is named {name!r}.{suggestion}")


def _list_varying(survey: Survey, metric_choice: MetricChoice) -> list[str]:
    """Return the axes that vary; a data set evaluated on itself needs no second name."""
    axes = [name for name in (*CELL_FIELDS, *survey.distinguishing) if survey.varies(name)]
    if not survey.has_transfer:
        axes = [name for name in axes if name != "eval_dataset"]
    if len(metric_choice.metrics) > 1:
        axes.append("metric")
    return axes


def _list_places(layout: Layout, point: RecordPoint) -> Iterator[tuple[AxisValues, AxisValues, str]]:
    """Yield the row and the column of a record under each of its metrics, and the metric."""
    for metric in layout.metric_choice.by_evaluator[point.axes["evaluator"]]:
        yield _values_on(layout.rows, point, metric), _values_on(layout.cols, point, metric), metric


def _values_on(axes: tuple[str, ...], point: RecordPoint, metric: str) -> AxisValues:
    return tuple(metric if axis == "metric" else point.axes.get(axis) for axis in axes)


def _sort(
    survey: Survey, layout: Layout, axes: tuple[str, ...], lines: set[AxisValues]
) -> tuple[AxisValues, ...]:
    """Return rows or columns in the order that the survey and the metrics give to their values."""
    orders = [layout.metric_choice.metrics if axis == "metric" else survey.values_on(axis) for axis in axes]
    ranks = [{value: rank for rank, value in enumerate(order)} for order in orders]
    return tuple(
        sorted(lines, key=lambda line: [rank[value] for rank, value in zip(ranks, line, strict=True)])
    )
