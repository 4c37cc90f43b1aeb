"""What a record says of a choice: on what it was made, and whether its grid was wide enough."""

from __future__ import annotations

from collections.abc import Sequence

from bench.api import Task


def chosen_on(task: Task) -> str:
    """Return in words what `task.folds` are: the rows that a setting is chosen on."""
    if not task.folds:
        return "nothing: no class has two labelled images"
    if task.own_val:
        return "the data's own validation split"
    if len(task.folds) > 1:
        return f"{len(task.folds)}-fold cross-validation inside the labelled subset"
    return f"{100 * len(task.folds[0][1]) / len(task.train):.0f}% hold-out of train"


def at_edge(value: float, grid: Sequence[float]) -> bool:
    """Tell whether `value` is the least or largest of several: a wider grid may hold a better one."""
    return len(grid) > 1 and value in (min(grid), max(grid))
