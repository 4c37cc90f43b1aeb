"""Name axes and values as they read at the edges of a table."""

from __future__ import annotations

from typing import Any

from bench.reporting.axes import CELL_FIELDS
from bench.reporting.formats.values import format_value
from bench.reporting.metric_choice import USUAL_METRIC
from bench.reporting.pivot import AxisValues, Layout

ROLES = {"dataset": "trained on", "eval_dataset": "evaluated on"}  # where a table has pairs of data sets
COLUMN_ROLES = {"dataset": "trained on", "eval_dataset": "on"}


def format_label(axis: str, value: Any) -> str:
    """Return how a value on `axis` reads."""
    if axis == "label_frac" and value is not None:
        return f"{100 * value:g} %"
    if axis == "shots" and value is not None:
        return f"{value} {'shot' if value == 1 else 'shots'}"
    return "one a class kept" if axis == "keep_one" and value else format_value(value)


def label_value(layout: Layout, axis: str, value: Any) -> str:
    """Return what stands in a table for a value on `axis`: its own name, or the one that it is given."""
    return layout.names.of(format_value(value), format_label(axis, value))


def name_row_axis(layout: Layout, axis: str) -> str:
    """Return what stands above the labels of an axis that goes down."""
    return layout.names.of(axis, ROLES.get(axis, axis) if layout.has_transfer else axis)


def head_column(layout: Layout, column: AxisValues) -> str:
    """Return what stands above a column; the usual metric may be left out."""
    parts = [level for level in list_levels(layout, column) if level]
    if parts:
        return " / ".join(parts)
    metric = layout.metric_choice.metrics[0]
    return "value" if "metric" in layout.rows else layout.names.of(metric)


def list_levels(layout: Layout, column: AxisValues) -> tuple[str, ...]:
    """Return what stands above a column of each axis that goes across, from the outermost one in.

    It is empty where there is nothing to say: no label fraction, the usual metric. Two data sets are a pair.
    """
    values = dict(zip(layout.cols, column, strict=True))
    evaluator = f"{values.get('evaluator')}."
    labels = {axis: _label_level(layout, axis, value, evaluator) for axis, value in values.items()}
    if layout.has_transfer:
        labels = _with_roles(values, labels)
    return tuple(labels.values())


def _label_level(layout: Layout, axis: str, value: Any, evaluator: str) -> str:
    if value is None or (axis == "metric" and layout.metric_choice.headlines and value == USUAL_METRIC):
        return ""
    if axis in (*CELL_FIELDS, "metric"):
        return label_value(layout, axis, value)
    return f"{layout.names.of(axis, axis.removeprefix(evaluator))}={label_value(layout, axis, value)}"


def _with_roles(values: dict[str, Any], labels: dict[str, str]) -> dict[str, str]:
    """Return a column's labels, its data sets named by their roles: trained on, evaluated on, or a pair."""
    if "dataset" in labels and "eval_dataset" in labels:
        trained, evaluated = labels["dataset"], labels["eval_dataset"]
        others = {axis: label for axis, label in labels.items() if axis != "eval_dataset"}
        alike = values["dataset"] == values["eval_dataset"]
        return {**others, "dataset": evaluated if alike else f"{trained} -> {evaluated}"}
    return {
        axis: f"{COLUMN_ROLES[axis]} {label}" if axis in COLUMN_ROLES and label else label
        for axis, label in labels.items()
    }
