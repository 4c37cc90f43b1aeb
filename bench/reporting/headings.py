"""How axes and their values read at the edges of a table."""

from __future__ import annotations

from typing import Any

from bench.reporting.axes import CELL
from bench.reporting.formats.base import format_value
from bench.reporting.metric_choice import USUAL_METRIC
from bench.reporting.pivot import Layout, Place

ROLES = {"dataset": "trained on", "eval_dataset": "evaluated on"}  # where a table has pairs of data sets


def label(axis: str, value: Any) -> str:
    """Return how a value on `axis` reads."""
    return f"{100 * value:g} %" if axis == "label_frac" and value is not None else format_value(value)


def row_header(layout: Layout, axis: str) -> str:
    """Return what stands above the labels of an axis that goes down."""
    return ROLES.get(axis, axis) if layout.crossed else axis


def heading(layout: Layout, across: Place) -> str:
    """Return what stands above a column; where it has one metric only, that may be left out."""
    at = dict(zip(layout.cols, across, strict=True))
    if layout.crossed:
        at = _with_roles(at)
    evaluator = f"{at.get('evaluator')}."
    parts = []
    for axis, value in at.items():
        if value is None or (axis == "metric" and layout.measures.headlines and value == USUAL_METRIC):
            continue
        named = axis in (*CELL, "metric")
        parts.append(label(axis, value) if named else f"{axis.removeprefix(evaluator)}={format_value(value)}")
    return " / ".join(parts) or ("value" if "metric" in layout.rows else layout.measures.metrics[0])


def _with_roles(at: dict[str, Any]) -> dict[str, Any]:
    """Return the place with its data sets as what they were to the cell: trained or evaluated on."""
    if "dataset" in at and "eval_dataset" in at:
        evaluated = at.pop("eval_dataset")
        pair = evaluated if at["dataset"] == evaluated else f"{at['dataset']} -> {evaluated}"
        return {**at, "dataset": pair}
    words = {"dataset": "trained on", "eval_dataset": "on"}
    return {axis: f"{words[axis]} {value}" if axis in words else value for axis, value in at.items()}
