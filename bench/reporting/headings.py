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
    return f"{100 * value:g} %" if axis == "label_frac" and value is not None else format_value(value)


def name_row_axis(layout: Layout, axis: str) -> str:
    """Return what stands above the labels of an axis that goes down."""
    return ROLES.get(axis, axis) if layout.has_transfer else axis


def head_column(layout: Layout, column: AxisValues) -> str:
    """Return what stands above a column; the usual metric may be left out."""
    values = dict(zip(layout.cols, column, strict=True))
    if layout.has_transfer:
        values = _with_roles(values)
    evaluator = f"{values.get('evaluator')}."
    parts = []
    for axis, value in values.items():
        if value is None or (axis == "metric" and layout.metric_choice.headlines and value == USUAL_METRIC):
            continue
        if axis in (*CELL_FIELDS, "metric"):
            parts.append(format_label(axis, value))
        else:
            parts.append(f"{axis.removeprefix(evaluator)}={format_value(value)}")
    if parts:
        return " / ".join(parts)
    return "value" if "metric" in layout.rows else layout.metric_choice.metrics[0]


def _with_roles(values: dict[str, Any]) -> dict[str, Any]:
    """Return a column's values, its data sets named by their roles: trained on, evaluated on, or a pair."""
    if "dataset" in values and "eval_dataset" in values:
        trained, evaluated = values["dataset"], values["eval_dataset"]
        others = {axis: value for axis, value in values.items() if axis != "eval_dataset"}
        return {**others, "dataset": evaluated if trained == evaluated else f"{trained} -> {evaluated}"}
    return {
        axis: f"{COLUMN_ROLES[axis]} {value}" if axis in COLUMN_ROLES else value
        for axis, value in values.items()
    }
