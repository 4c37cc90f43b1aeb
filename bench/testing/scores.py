"""What scores must be, whatever they are of: numbers in percent that agree with their predictions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from bench.contracts.evaluator import Scores, Task
from bench.metrics.calibration import BINS
from bench.metrics.classification import balanced_accuracy, per_class_recall
from bench.storage.record_json import encode
from bench.testing.checks import require
from bench.testing.evaluation_tasks import share_right

SHARE = re.compile(r"top\d+|(\w+_)?(acc|accuracy|recall|precision|f1)|f1_\w+")  # names of what is in percent
LESS = re.compile(r"(\w+_)?(error|err|loss|nll|ece|brier|mse|rmse)")  # of which less is better
ROUNDING = 1e-3  # percent
SPLITS = ("train", "val", "nothing")


def require_numbers(scores: Scores) -> None:
    """Require finite metrics, the headline first, and directions of metrics that there are."""
    require(isinstance(scores, Scores), f"it returned {type(scores).__name__}")
    require(bool(scores.metrics), "there are none")
    for name, value in scores.metrics.items():
        require(math.isfinite(float(value)), f"{name} is {float(value)}; refuse what has no score")
    later = "top1" in scores.metrics and next(iter(scores.metrics)) != "top1"
    require(not later, f"top1 is not the first of {', '.join(scores.metrics)}")
    declared = {
        "lower_is_better": scores.lower_is_better - Scores.lower_is_better,
        "neither_is_better": scores.neither_is_better,
    }
    for field, names in declared.items():
        unknown = sorted(names - scores.metrics.keys())
        require(not unknown, f"{field} has {', '.join(unknown)}, of which there is no metric")
    more = [name for name in scores.metrics if LESS.fullmatch(name) and scores.direction(name)]
    require(not more, f"less of {', '.join(more)} is better: name it in lower_is_better")


def require_predictions(scores: Scores, task: Task) -> None:
    """Require a class for every test image, and a probability where there are confidences; or none."""
    predictions, confidence = scores.predictions, scores.confidence
    if predictions is None:
        named = [name for name in scores.metrics if re.fullmatch(r"top\d+", name)]
        require(not named, f"there are none, but {', '.join(named)}: return what is right in it")
        require(confidence is None, "there are none, but a confidence in them")
        return
    expected = (len(task.test),)
    require(
        tuple(predictions.shape) == expected, f"they have shape {tuple(predictions.shape)}, not {expected}"
    )
    require(predictions.dtype == torch.int64, f"they are {predictions.dtype}; use int64")
    wrong = sorted(set(predictions.tolist()) - set(range(len(task.classes))))
    last = len(task.classes) - 1
    require(not wrong, f"{wrong} are no classes; labels count from 0 to {last}, are these off by one?")
    if confidence is not None:
        shape = tuple(confidence.shape)
        require(shape == expected, f"confidence has shape {shape}, not {expected}")
        within = bool(((confidence >= 0) & (confidence <= 1 + ROUNDING)).all())
        require(within, "confidence is outside of [0, 1]; give the probability of the predicted class")


def require_percent(scores: Scores, task: Task) -> None:
    """Require that shares are in percent, and those of the predictions on the test labels."""
    if scores.predictions is not None:
        for name, value, expected in _measured(scores, task):
            _require_equal(name, value, expected)
    for name, value in scores.metrics.items():
        is_share = bool(SHARE.fullmatch(name))
        require(not is_share or value <= 100 + ROUNDING, f"{name} is {value:g}, more than 100 percent")
        require(not is_share or not 0 < value <= 1, f"{name} is {value:g}: a fraction; multiply it by 100")
    for name, values in scores.per_class.items():
        require(len(values) == len(task.classes), f"per_class has {len(values)} of {name}; give one a class")


def _measured(scores: Scores, task: Task) -> Iterator[tuple[str, float, float]]:
    """Yield what was measured of predictions under a name that is known, and what it should be."""
    assert scores.predictions is not None  # noqa: S101 - asked before
    predictions, labels, classes = scores.predictions.cpu(), task.test.y, len(task.classes)
    expected = {
        "top1": share_right(predictions, labels),
        "balanced_accuracy": balanced_accuracy(predictions, labels, classes),
    }
    for name, value in expected.items():
        if name in scores.metrics:
            yield name, float(scores.metrics[name]), value
    if "ece" in scores.metrics and scores.confidence is not None:
        right = (predictions == labels).double()
        yield "ece", float(scores.metrics["ece"]), _calibration_error(scores.confidence.cpu().double(), right)
    recalls = per_class_recall(predictions, labels, classes).tolist()
    for given, value in zip(scores.per_class.get("recall", ()), recalls, strict=False):
        if not math.isnan(value):
            yield "recall", float(given), value


def _calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Return the expected calibration error of (n,) confidences, in percent."""
    bin_of = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    sums = torch.zeros(BINS, dtype=right.dtype).index_add_(0, bin_of, right - confidence)
    return 100 * float(sums.abs().sum()) / len(right)


def _require_equal(name: str, value: float, expected: float) -> None:
    """Require a share of the predictions to be what it is, and name the usual reasons why it is not."""
    require(
        abs(100 * value - expected) > ROUNDING or not expected,
        f"{name} is {value:g}: a fraction of 1; multiply it by 100",
    )
    require(
        abs(value - expected) <= ROUNDING,
        f"{name} is {value:g}, but {expected:g} percent are right: count every row of task.test.y once "
        "(no mean over classes or batches, no best of several), and return predictions in the order of rows",
    )


def require_protocol(scores: Scores, task: Task) -> None:
    """Require that the record is told what was chosen, and on which split."""
    protocol: Mapping[str, Any] = scores.protocol
    missing = [name for name in ("selected", "selected_split") if not protocol.get(name)]
    require(
        not missing,
        f"it lacks {' and '.join(missing)}: say what was chosen and on which split, or `nothing` of both",
    )
    selected, split = protocol["selected"], protocol["selected_split"]
    require(split != "test", f"{selected} was chosen on test; choose on task.folds")
    require(split in SPLITS, f"selected_split is {split!r}; use one of {', '.join(SPLITS)}")
    agree = (selected == "nothing") == (split == "nothing")
    require(agree, f"selected is {selected!r}, but selected_split {split!r}")
    require(bool(task.folds) or split == "nothing", f"{selected} was chosen, but task.folds is empty")
    right = "val" if task.own_val else "train"
    require(
        split in (right, "nothing"),
        f"selected_split is {split!r}, but task.own_val is {task.own_val}: it is {right!r}",
    )
    encode({"protocol": protocol})  # raises what a record's file cannot hold


def differing(one: Tensor | None, other: Tensor | None) -> int:
    """Return how many predictions differ; where one of both is none, all of the other."""
    if one is None or other is None:
        return len(one if one is not None else other if other is not None else ())
    return int((one.cpu() != other.cpu()).sum())
