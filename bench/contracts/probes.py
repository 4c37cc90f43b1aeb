"""What probes share: what they refuse, scores of logits, and how a record tells a choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from bench.contracts.evaluator import Features, Scores, Task
from bench.errors import BadValue
from bench.metrics.classification import classification_scores, nll, require_finite, topk_accuracy
from bench.storage.record_fields import SEEN

Value = TypeVar("Value")
Fit = Callable[[Features, Value], Callable[[Tensor], Tensor]]  # of rows with a setting: predicts logits


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


def pick_best(top1: Sequence[float], loss: Sequence[float]) -> int:
    """Return the index of the setting that is best on held-out rows.

    Args:
        top1: of each, in percent; what rounding may have changed is not told apart.
        loss: of each, which tells those of equal top-1 apart; of equal ones the earlier is taken.
    """
    return max(range(len(top1)), key=lambda i: (round(float(top1[i]), 9), -float(loss[i])))


def is_near_best(top1: Tensor, rows: int, errors: float) -> Tensor:
    """Tell of each setting whether it is at most some standard errors of top-1 behind the best.

    Args:
        top1: (...,), in percent, of the same held-out rows.
        rows: number of held-out rows.
        errors: how many.

    Returns:
        As `top1`, bool.
    """
    best = top1.amax()
    share = (best / 100 * rows + 1) / (rows + 2)  # above 0 and below 1
    return top1 >= best - errors * 100 * (share * (1 - share) / rows).sqrt()


def choose_on_folds(
    task: Task, name: str, grid: Sequence[Value], fit: Fit[Value], *, default: Value
) -> tuple[Value, dict[str, Any]]:
    """Return the value of a setting that is best on `task.folds`, and what a record says of the choice.

    Top-1 on the held-out rows decides, averaged over the folds, and of equal ones the likelihood. Test rows
    have no part in it. A value with which logits are infinite or no number is right nowhere. Where there is
    nothing to choose, or nothing to choose on, nothing is fitted.

    Args:
        task: whose folds are used.
        name: of the setting.
        grid: values tried, at least one.
        fit: is given the rows of a fold and a value, and returns what maps features (n, d) to logits
            (n, classes), on the CPU: log-probabilities up to a constant a row.
        default: the value where there are no folds.
    """
    if len(grid) == 1 or not task.folds:
        value = grid[0] if len(grid) == 1 else default
        return value, {**describe_no_choice(task, len(grid)), name: value}
    sums = torch.zeros(2, len(grid), dtype=torch.float64)
    for rows, held_out in task.folds:
        fitted, judged = task.train.take(rows), task.train.take(held_out)
        for number, value in enumerate(grid):
            logits = fit(fitted, value)(judged.x)
            is_number = bool((logits < torch.inf).all())  # -inf is that of a class without an example
            sums[0, number] += topk_accuracy(logits, judged.y, 1) if is_number else 0
            sums[1, number] += nll(logits, judged.y) if is_number else torch.inf
    top1, loss = (sums / len(task.folds)).tolist()
    best = pick_best(top1, loss)
    said = {"selected": name, **describe_choice(task), "grid": list(grid), "val_top1": top1[best]}
    numbers = [value for value in grid if isinstance(value, (int, float))]
    chosen = grid[best]
    is_edge = isinstance(chosen, (int, float)) and is_at_edge(chosen, numbers)
    return chosen, {**said, "grid_edge": is_edge, name: chosen}


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
