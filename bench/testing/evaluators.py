"""Check an evaluator: it finds what is there, repeatably, and does not look at the test labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from bench.contract import Evaluator, Features, Scores, Task
from bench.errors import UsageError
from bench.testing.checks import Check, Outcome, class_checks, finite_scalars, require, run

CLASSES = ("cat", "dog", "owl")
EACH, DIM, TEST = 100, 8, 30  # enough labelled examples for a vote of 200 neighbours
WELL_ABOVE_CHANCE = 90.0  # percent; chance is 33


def outcomes(cls: type[Evaluator], name: str, config: Any = None) -> Iterator[Outcome]:
    """Yield every check of an evaluator with its error, or none."""
    yield from run(class_checks(cls, Evaluator, name))
    made: list[Evaluator] = []

    def build() -> None:
        made.append(cls(cls.Config() if config is None else config))

    yield from run([("it builds", build)])
    if made:
        yield from run(_checks(made[0]))
        yield from run([("check() refuses a single example, or it is evaluated", lambda: _one_each(made[0]))])


def separable(each: int) -> Task:
    """Return a task whose classes lie far apart: `each` labelled examples a class."""
    drawn = torch.Generator().manual_seed(0)
    centres = 10 * torch.eye(len(CLASSES), DIM)

    def features(n: int) -> Features:
        y = torch.arange(n) % len(CLASSES)
        return Features(centres[y] + torch.randn(n, DIM, generator=drawn), y)

    train = features(each * len(CLASSES))
    rows = torch.arange(len(train))
    folds = ((rows[: 2 * len(rows) // 3], rows[2 * len(rows) // 3 :]),) if each > 1 else ()
    device = torch.device("cpu")
    return Task(train=train, test=features(TEST), folds=folds, classes=CLASSES, seed=0, device=device)


def _takes(evaluator: Evaluator, task: Task) -> bool:
    """Tell whether it accepts a task of this size; a vote of many neighbours wants many examples."""
    try:
        evaluator.check(len(task.train), len(task.classes))
    except UsageError:
        return False
    return True


def _checks(evaluator: Evaluator) -> Iterator[Check]:
    """Yield the checks; each makes a task of its own, which an earlier one cannot have changed."""
    count = EACH * len(CLASSES)
    yield f"check() accepts {count} examples", lambda: evaluator.check(count, len(CLASSES))
    yield "classes that lie apart are told apart", lambda: _separates(evaluator, separable(EACH))
    yield "there is a prediction for every test image", lambda: _predicts(evaluator, separable(EACH))
    yield "the same seed gives the same scores", lambda: _repeats(evaluator, separable(EACH))
    yield "test labels change no prediction", lambda: _blind(evaluator, separable(EACH))
    yield "the features it is given are left as they are", lambda: _leaves(evaluator, separable(EACH))


def _separates(evaluator: Evaluator, task: Task) -> None:
    scores = evaluator.evaluate(task)
    require(isinstance(scores, Scores), f"it returned {type(scores).__name__}")
    finite_scalars({name: torch.tensor(float(v)) for name, v in scores.metrics.items()}, "metrics")
    top1 = scores.metrics.get("top1")
    require(top1 is not None, f"there is no top1 among {', '.join(scores.metrics)}")
    require(WELL_ABOVE_CHANCE <= float(top1 or 0) <= 100, f"top1 is {top1} percent")


def _predicts(evaluator: Evaluator, task: Task) -> None:
    scores = evaluator.evaluate(task)
    found, wanted = tuple(scores.predictions.shape), (len(task.test),)
    require(found == wanted, f"they have shape {found}, not {wanted}")
    require(scores.predictions.dtype == torch.int64, f"they are {scores.predictions.dtype}; use int64")
    wrong = set(scores.predictions.tolist()) - set(range(len(task.classes)))
    require(not wrong, f"{sorted(wrong)} are no classes")


def _repeats(evaluator: Evaluator, task: Task) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = evaluator.evaluate(task)
        torch.manual_seed(2)
        other = evaluator.evaluate(task)
    require(
        dict(one.metrics) == dict(other.metrics), f"{one.metrics}, then {other.metrics}; draw from task.seed"
    )
    require(torch.equal(one.predictions, other.predictions), "predictions differ; draw from task.seed")


def _blind(evaluator: Evaluator, task: Task) -> None:
    relabelled = replace(task, test=Features(task.test.x, task.test.y.roll(1)))
    one, other = evaluator.evaluate(task), evaluator.evaluate(relabelled)
    require(torch.equal(one.predictions, other.predictions), "they do: choose on task.folds")


def _leaves(evaluator: Evaluator, task: Task) -> None:
    train, test = task.train.x.clone(), task.test.x.clone()
    evaluator.evaluate(task)
    require(torch.equal(train, task.train.x) and torch.equal(test, task.test.x), "they were changed in place")


def _one_each(evaluator: Evaluator) -> None:
    """One example a class leaves nothing to choose on: a refusal or a prediction, never a crash."""
    task = separable(1)
    if _takes(evaluator, task):
        _predicts(evaluator, task)
