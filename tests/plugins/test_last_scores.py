"""The scores of one evaluator serve the next that asks for the same in the same run, and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from bench_plugins.evaluators.fitting.last_scores import reuse_scores
from bench_plugins.evaluators.fitting.logistic import Heads, Rows, fit_all
from bench_plugins.evaluators.label_fraction import LabelFraction
from bench_plugins.evaluators.linear import Linear
from bench_plugins.evaluators.mlp import MLP

from bench.contracts.evaluator import Features, Scores, Task, draw_folds

Shared = dict[str, Any]


def make_task(shared: Shared, seed: int = 0) -> Task:
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
        shared=shared,
    )


class CountingEvaluation:
    """An evaluation whose top1 is how often it was run."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Scores:
        self.times += 1
        return Scores(metrics={"top1": float(self.times)})


def ask(evaluate: Callable[[], Scores], task: Task, config: Any = None, name: str = "linear") -> float:
    return reuse_scores(name, config or Linear.Config(), task, evaluate).metrics["top1"]


def test_the_same_task_is_evaluated_once() -> None:
    evaluate, shared = CountingEvaluation(), Shared()

    assert [ask(evaluate, make_task(shared)), ask(evaluate, make_task(shared))] == [1, 1]


def test_another_run_evaluates_again() -> None:
    evaluate = CountingEvaluation()

    assert [ask(evaluate, make_task({})), ask(evaluate, make_task({}))] == [1, 2]


def change_rows(task: Task, which: str) -> Task:
    rows: Features = getattr(task, which)
    return replace(task, **{which: Features(rows.x + torch.eye(*rows.x.shape) * 1e-6, rows.y)})


CHANGES: dict[str, Callable[[Task], Task]] = {
    "a training feature": lambda task: change_rows(task, "train"),
    "a test feature": lambda task: change_rows(task, "test"),
    "a label": lambda task: replace(task, train=Features(task.train.x, 1 - task.train.y)),
    "folds": lambda task: replace(task, folds=()),
    "a fold": lambda task: replace(task, folds=draw_folds(task.train, 1)),
    "seed": lambda task: replace(task, seed=1),
    "classes": lambda task: replace(task, classes=("a", "c")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_task_is_evaluated(change: str) -> None:
    evaluate, shared = CountingEvaluation(), Shared()
    ask(evaluate, make_task(shared))

    assert ask(evaluate, CHANGES[change](make_task(shared))) == 2
    assert ask(evaluate, make_task(shared)) == 3  # only the latest is kept


def test_other_settings_and_other_evaluators_are_another_question() -> None:
    evaluate, shared = CountingEvaluation(), Shared()
    ask(evaluate, make_task(shared))

    assert ask(evaluate, make_task(shared), name="other") == 2
    assert ask(evaluate, make_task(shared), config=Linear.Config(l2_steps=3)) == 3


def test_what_is_done_to_the_scores_is_not_kept() -> None:
    shared = Shared()
    first = reuse_scores("linear", Linear.Config(), make_task(shared), CountingEvaluation())
    first.metrics["top1"] = 50.0  # type: ignore[index]

    assert ask(CountingEvaluation(), make_task(shared)) == 1


def test_a_subset_shares_nothing_and_leaves_what_is_shared() -> None:
    shared, count = Shared(), CountingEvaluation()
    task = make_task(shared)
    first = ask(count, task)
    reuse_scores("linear", Linear.Config(), task.subset(0.5, 0), count)

    assert ask(count, task) == first


def test_linear_is_fitted_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []

    def count(problems: Sequence[Rows], *rest: Any, **options: Any) -> Iterator[list[Heads]]:
        fits.append(len(problems))
        return fit_all(problems, *rest, **options)

    monkeypatch.setattr("bench_plugins.evaluators.linear.fit_all", count)
    shared = Shared()
    probe = Linear(Linear.Config())
    first = probe.evaluate(make_task(shared))
    of_one_evaluation = list(fits)
    again = probe.evaluate(make_task(shared))
    mlp = MLP(MLP.Config(epochs=1, hidden=(4,))).evaluate(make_task(shared))
    curve = LabelFraction(LabelFraction.Config(fractions=(1.0,), draws=(1,))).evaluate(make_task(shared))

    assert fits == of_one_evaluation != []
    assert again.metrics == first.metrics
    assert again is not first
    assert torch.equal(again.predictions, first.predictions)
    assert mlp.metrics["linear_top1"] == curve.metrics["top1_at_100"] == first.metrics["top1"]
