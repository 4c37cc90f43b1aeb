"""What one evaluator found serves the next that asks for the same, and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from bench_plugins.evaluators.fitting import last_scores as remembered
from bench_plugins.evaluators.linear import Linear

from bench.contracts.evaluator import Features, Scores, Task, draw_folds


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    remembered.clear()
    yield
    remembered.clear()


def task(seed: int = 0) -> Task:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 4, generator=generator), torch.arange(40) % 2
    train = Features(x, y)
    return Task(
        train=train,
        test=Features(x[:8].clone(), y[:8]),
        folds=draw_folds(train, 0),
        classes=("a", "b"),
        seed=seed,
        device=torch.device("cpu"),
    )


class Counted:
    """An evaluator that counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Scores:
        self.times += 1
        return Scores(metrics={"top1": float(self.times)})


def asked(evaluate: Callable[[], Scores], of: Task, config: Any = None, name: str = "linear") -> float:
    return remembered.found(name, config or Linear.Config(), of, evaluate).metrics["top1"]


def test_the_same_task_is_evaluated_once() -> None:
    evaluate = Counted()

    assert [asked(evaluate, task()), asked(evaluate, task())] == [1, 1]


def other_rows(which: str) -> Task:
    one = task()
    part: Features = getattr(one, which)
    return replace(one, **{which: Features(part.x + torch.eye(*part.x.shape) * 1e-6, part.y)})


CHANGED: dict[str, Callable[[], Task]] = {
    "a training feature": lambda: other_rows("train"),
    "a test feature": lambda: other_rows("test"),
    "a label": lambda: replace(task(), train=Features(task().train.x, 1 - task().train.y)),
    "folds": lambda: replace(task(), folds=()),
    "a fold": lambda: replace(task(), folds=draw_folds(task().train, 1)),
    "seed": lambda: task(seed=1),
    "classes": lambda: replace(task(), classes=("a", "c")),
}


@pytest.mark.parametrize("change", CHANGED)
def test_another_task_is_evaluated(change: str) -> None:
    evaluate = Counted()
    asked(evaluate, task())

    assert asked(evaluate, CHANGED[change]()) == 2
    assert asked(evaluate, task()) == 3  # only the latest is kept


def test_other_settings_and_other_evaluators_are_another_question() -> None:
    evaluate = Counted()
    asked(evaluate, task())

    assert asked(evaluate, task(), name="other") == 2
    assert asked(evaluate, task(), config=Linear.Config(l2_steps=3)) == 3


def test_what_is_done_to_the_scores_is_not_remembered() -> None:
    first = remembered.found("linear", Linear.Config(), task(), Counted())
    first.metrics["top1"] = 50.0  # type: ignore[index]

    assert asked(Counted(), task()) == 1


def test_linear_is_fitted_once_for_all_who_ask() -> None:
    probe = Linear(Linear.Config())
    first = probe.evaluate(task())
    again = probe.evaluate_all([task()])[0]

    assert again.metrics == first.metrics
    assert again is not first
    assert torch.equal(again.predictions, first.predictions)
