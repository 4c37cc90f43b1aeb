"""What probes share: what they refuse, scores of logits, and how a record tells a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from bench.contracts.evaluator import Scores, Task
from bench.errors import BadValue
from bench.metrics.classification import classification_scores, require_finite
from bench.storage.record_fields import SEEN


def name_folds(task: Task) -> str:
    """Return in words what `task.folds` are: the rows that a setting is chosen on."""
    if task.seen:
        return SEEN
    if not task.folds:
        return "nothing: no class has two labelled images"
    if task.own_val:
        return "the data's own validation split"
    if len(task.folds) > 1:
        return f"{len(task.folds)}-fold cross-validation inside the labelled subset"
    return f"{100 * len(task.folds[0][1]) / len(task.train):.0f}% hold-out of train"


def describe_choice(task: Task) -> dict[str, str]:
    """Return what a record says of `task.folds`: in words, and the split that they are part of."""
    split = "nothing" if not task.folds else "val" if task.own_val else "train"
    return {"selected_on": name_folds(task), "selected_split": split}


def describe_no_choice(task: Task, tried: int) -> dict[str, str]:
    """Return what a record says where nothing was chosen.

    Args:
        task: may have no folds.
        tried: size of the grid; one value leaves no choice.
    """
    why = "nothing: the grid has one value" if tried == 1 else name_folds(task)
    return {"selected": "nothing", "selected_on": why, "selected_split": "nothing"}


def is_at_edge(value: float, grid: Sequence[float]) -> bool:
    """Tell whether `value` is the least or largest of several: a wider grid may hold a better one."""
    return len(grid) > 1 and value in (min(grid), max(grid))


def score_logits(logits: Tensor, task: Task, protocol: Mapping[str, Any]) -> Scores:
    """Return the scores of predicted test rows.

    Args:
        logits: (n, classes), on the CPU, log-probabilities up to a constant a row.
        task: whose test rows they are of.
        protocol: for the record.
    """
    metrics, per_class = classification_scores(logits, task.test.y.cpu(), probabilities=True)
    confidence, predictions = logits.softmax(1).max(1)
    return Scores(
        metrics=metrics,
        predictions=predictions,
        confidence=confidence.float(),
        per_class=per_class,
        protocol=protocol,
    )


def refuse_too_few(name: str, labelled: int, classes: int) -> None:
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


def refuse_not_finite(name: str, task: Task) -> None:
    """Refuse features that are not finite.

    Raises:
        CellError: one of them is infinite or not a number.
    """
    require_finite(task.train.x, f"{name}: the training features")
    require_finite(task.test.x, f"{name}: the test features")
