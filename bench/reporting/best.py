"""Find the cells with the best mean of their task."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from bench.reporting.metric_choice import decimals_of
from bench.reporting.pivot import Pivot, Position, is_of_task

Task = tuple[Any, ...]


def find_best(pivot: Pivot) -> set[Position]:
    """Return the positions of the best means, with all that print alike; none where nothing is compared."""
    scores: dict[Task, dict[Position, float]] = defaultdict(dict)
    for position, group in pivot.groups.items():
        if group.mean is not None and math.isfinite(group.mean):
            sign = 1 if group.higher_is_better else -1
            printed = round(group.mean, decimals_of(group.metric))
            scores[_task_of(pivot, position)][position] = sign * printed
    best: set[Position] = set()
    for compared in scores.values():
        if len(compared) > 1:
            top = max(compared.values())
            best.update(position for position, score in compared.items() if score == top)
    return best


def _task_of(pivot: Pivot, position: Position) -> Task:
    """Return what cells must have in common to be compared, wherever these axes lie.

    That is what they are evaluated on and how; of what they were trained on, only what goes across:
    in rows, a training set is one more thing that may be the better one.
    """
    layout, (row, column) = pivot.layout, position
    values = dict(zip((*layout.rows, *layout.cols), (*row, *column), strict=True))
    if "dataset" in layout.rows:
        del values["dataset"]
    evaluated = pivot.groups[position].points[0].axes["eval_dataset"]
    return (evaluated, *(value for axis, value in values.items() if is_of_task(axis)))
