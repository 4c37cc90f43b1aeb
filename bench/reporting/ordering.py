"""Put the rows of a table in order, and exchange its rows and columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench.errors import BadValue, UnknownName, suggest
from bench.reporting.headings import format_label, head_column, label_value, name_row_axis
from bench.reporting.pivot import AxisValues, Layout, Pivot
from bench.storage.record_fields import natural_sort_key

BY_NAME = "name"


def sort_rows(pivot: Pivot, by: str) -> Pivot:
    """Return a pivot with its rows in another order; equal ones stay in theirs.

    Args:
        pivot: the table's groups.
        by: `name`, the heading of a row axis or of a column, or a part of a column's. By a column, the best
            comes first and what has no value last; where neither is better, the largest.

    Raises:
        UnknownName: there is no such column.
        BadValue: several columns have this part in their headings.
    """
    if not by:
        return pivot
    return replace(pivot, rows=tuple(sorted(pivot.rows, key=_make_key(pivot, by))))


def transpose(pivot: Pivot) -> Pivot:
    """Return a pivot with its rows as columns and its columns as rows; a lone one is named by its metric."""
    if not pivot.layout.cols and "metric" not in pivot.layout.rows:
        metric = (pivot.layout.metric_choice.metrics[0],)
        layout = replace(pivot.layout, cols=("metric",))
        groups = {(row, metric): group for (row, _), group in pivot.groups.items()}
        return transpose(replace(pivot, layout=layout, columns=(metric,), groups=groups))
    layout = replace(pivot.layout, rows=pivot.layout.cols, cols=pivot.layout.rows)
    groups = {(column, row): group for (row, column), group in pivot.groups.items()}
    return replace(pivot, layout=layout, rows=pivot.columns, columns=pivot.rows, groups=groups)


def _make_key(pivot: Pivot, by: str) -> Callable[[AxisValues], Any]:
    layout = pivot.layout
    axes = [axis for axis in layout.rows if by in (axis, name_row_axis(layout, axis))]
    if by == BY_NAME:
        axes = list(layout.rows)
    if axes:
        places = [layout.rows.index(axis) for axis in axes]
        return lambda row: [_rank_label(layout, layout.rows[place], row[place]) for place in places]
    column = _find_column(pivot, by)
    return lambda row: _rank_score(pivot, row, column)


def _rank_label(layout: Layout, axis: str, value: Any) -> tuple[Any, ...]:
    """Return a sort key: numbers ascend, then come words, in the order of a dictionary; last nothing."""
    if value is None:
        return 2, 0.0, []
    if isinstance(value, (int, float)):
        return 0, float(value), []
    return 1, 0.0, natural_sort_key(label_value(layout, axis, value).casefold())


def _rank_score(pivot: Pivot, row: AxisValues, column: AxisValues) -> tuple[bool, float]:
    group = pivot.groups.get((row, column))
    if group is None or group.mean is None or group.mean != group.mean:
        return True, 0.0
    return False, group.mean if group.higher_is_better is False else -group.mean


def _find_column(pivot: Pivot, by: str) -> AxisValues:
    headings = {column: head_column(pivot.layout, column) for column in pivot.columns}
    matches = [column for column, heading in headings.items() if heading == by]
    matches = matches or [column for column in pivot.columns if by in _list_parts(pivot.layout, column)]
    if not matches:
        axes = (name_row_axis(pivot.layout, axis) for axis in pivot.layout.rows)
        known = [BY_NAME, *axes, *headings.values()]
        parts = (part for column in pivot.columns for part in _list_parts(pivot.layout, column))
        hint = suggest(by, [*known, *parts], most=0)
        raise UnknownName(f"--sort: no column is named {by!r}.{hint} Known: {', '.join(known)}.")
    if len(matches) > 1:
        which = "; ".join(repr(headings[column]) for column in matches)
        raise BadValue(
            f"--sort: {len(matches)} columns have {by!r}: {which}. Write the whole of one of them."
        )
    return matches[0]


def _list_parts(layout: Layout, column: AxisValues) -> list[str]:
    """Return by what a column may be named: the parts of its heading, and its values as they are set."""
    values = zip(layout.cols, column, strict=True)
    return [*head_column(layout, column).split(" / "), *(format_label(axis, value) for axis, value in values)]
