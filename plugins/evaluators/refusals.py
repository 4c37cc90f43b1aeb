"""Refuse what no classifier of features can work on, whichever it is."""

from __future__ import annotations

from bench.api import BadValue, Task, require_finite


def refuse_too_little(name: str, labelled: int, classes: int) -> None:
    """Refuse a single class and an empty training set.

    Args:
        name: of the evaluator.
        labelled: examples to fit.
        classes: number of classes.

    Raises:
        BadValue: there is nothing to tell apart, or nothing to learn from.
    """
    if classes <= 1:
        raise BadValue(f"{name}: the number of classes is {classes}. Use a dataset of at least 2.")
    if labelled < 1:
        raise BadValue(f"{name}: there are no training features. Raise the label fraction.")


def refuse_broken(name: str, task: Task) -> None:
    """Refuse features that are not finite.

    Raises:
        CellError: one of them is infinite or not a number.
    """
    require_finite(task.train.x, f"{name}: the training features")
    require_finite(task.test.x, f"{name}: the test features")
