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


def selection(task: Task) -> dict[str, str]:
    """Return what a record says of `task.folds`: in words, and the split that they are part of."""
    split = "nothing" if not task.folds else "val" if task.own_val else "train"
    return {"selected_on": chosen_on(task), "selected_split": split}


def unchosen(task: Task, tried: int) -> dict[str, str]:
    """Return what a record says where nothing was chosen.

    Args:
        task: may have no folds.
        tried: size of the grid; one value leaves no choice.
    """
    why = "nothing: the grid has one value" if tried == 1 else chosen_on(task)
    return {"selected": "nothing", "selected_on": why, "selected_split": "nothing"}


def at_edge(value: float, grid: Sequence[float]) -> bool:
    """Tell whether `value` is the least or largest of several: a wider grid may hold a better one."""
    return len(grid) > 1 and value in (min(grid), max(grid))
