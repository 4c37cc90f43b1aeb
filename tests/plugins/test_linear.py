"""The choice of the penalty against what it may look at, and the refit against scikit-learn."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace

import pytest
import torch
from bench_plugins.evaluators.fitting import logistic
from bench_plugins.evaluators.linear import Linear, judge
from logistic_reference import draw_problem, fit_heads
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from bench.api import BadValue, Features, Scores, Task
from bench.errors import CellError

CPU = torch.device("cpu")
GRID = torch.logspace(-6, 2, 12, dtype=torch.float64)


def made(n: int = 240, classes: int = 3, noise: float = 1.0, folds: int = 1) -> Task:
    x, y = draw_problem(n + 100, 12, classes, noise)
    parts = torch.arange(n).chunk(10 if folds == 1 else max(folds, 1))
    pairs = [(torch.cat([p for p in parts if p is not val]), val) for val in parts[:folds]]
    return Task(
        train=Features(x[:n], y[:n]),
        test=Features(x[n:], y[n:]),
        folds=tuple(pairs),
        classes=tuple("abcdefgh"[:classes]),
        seed=0,
        device=CPU,
    )


def run(task: Task, **values: float) -> Scores:
    scores: Scores = Linear(Linear.Config(**values)).evaluate(task)
    return scores


def test_a_linear_problem_is_solved() -> None:
    scores = run(made(n=1000, noise=0.0))

    assert scores.metrics["top1"] > 95
    assert set(scores.metrics) == {"top1", "balanced_accuracy", "nll", "ece"}
    assert scores.confidence is not None
    assert scores.confidence.dtype == torch.float32
    assert scores.protocol["converged"] is True


@pytest.mark.parametrize("held_out", [1, 1024, 2500])
def test_held_out_rows_are_judged_as_all_at_once_bit_for_bit(held_out: int) -> None:
    """A block at a time: a last bit decides between penalties."""
    x, y = draw_problem(3000, 12, 5, 1.0)
    index = torch.randperm(3000, generator=torch.Generator().manual_seed(0))[:held_out]
    head = logistic.fit(x, y, 5, GRID[:1], tolerance=1e-4, max_iter=20, device=CPU)
    logits = head.logits(x[index], 0)
    top1, loss = judge(head, Features(x, y), index)

    assert float(top1) == float(100 * (logits.argmax(1) == y[index]).double().mean())
    assert float(loss) == float(F.cross_entropy(logits, y[index]))


def test_the_protocol_names_the_data_s_own_validation_split() -> None:
    protocol = run(replace(made(folds=1), own_val=True)).protocol

    assert protocol["selected_on"] == "the data's own validation split"
    assert protocol["selected_split"] == "val"


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        (0, "nothing: no class has two labelled images"),
        (1, "10% hold-out of train"),
        (5, "5-fold cross-validation inside the labelled subset"),
    ],
)
def test_the_protocol_says_what_l2_was_chosen_on(folds: int, said: str) -> None:
    protocol = run(made(folds=folds)).protocol

    assert protocol["selected_on"] == said
    assert protocol["selected_split"] == ("train" if folds else "nothing")
    assert protocol["selected"] == ("l2" if folds else "nothing")
    assert protocol["l2"] == 0.01 if folds == 0 else protocol["l2"] in protocol["grid"]


def test_l2_is_the_best_of_the_held_out_rows() -> None:
    task = made(n=60, noise=3.0, folds=3)
    scores, found = run(task), {}
    for l2 in scores.protocol["grid"]:
        right, loss = 0.0, 0.0
        for rows, val in task.folds:
            part = task.train.take(rows)
            heads = fit_heads(part.x, part.y, 3, torch.tensor([l2], dtype=torch.float64))
            logits, labels = heads.logits(task.train.x[val], 0), task.train.y[val]
            right += float((logits.argmax(1) == labels).double().mean())
            loss += float(F.cross_entropy(logits, labels))
        found[l2] = (round(right, 9), -round(loss, 5), l2)

    assert scores.protocol["l2"] == max(found, key=lambda l2: found[l2])


def rectified(seed: int, n: int = 500, dim: int = 40, classes: int = 4) -> Task:
    """Return features as a backbone ends in, most of them alike: fits with a weak penalty end late."""
    x, y = draw_problem(n + 100, dim, classes, 6.0, seed)
    mix = (
        torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed))
        / torch.arange(1, dim + 1)[:, None]
    )
    x, rows = (x @ mix).relu(), torch.arange(n)
    return replace(
        made(),
        train=Features(x[:n], y[:n]),
        test=Features(x[:n], y[:n]),
        folds=((rows[n // 5 :], rows[: n // 5]),),
        classes=tuple("abcd"[:classes]),
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_choice_is_that_of_converged_fits(seed: int) -> None:
    task = rectified(seed)
    protocol = run(task).protocol
    ((rows, val),) = task.folds
    part, held_out = task.train.take(rows), task.train.take(val)
    l2 = torch.tensor(protocol["grid"], dtype=torch.float64)
    heads = logistic.fit(part.x, part.y, 4, l2, tolerance=1e-10, max_iter=5000, device=CPU)
    every = [heads.logits(held_out.x, place) for place in range(len(l2))]
    top1 = [100 * float((logits.argmax(1) == held_out.y).double().mean()) for logits in every]
    loss = [float(F.cross_entropy(logits, held_out.y)) for logits in every]
    best = max(range(len(l2)), key=lambda i: (round(top1[i], 9), -loss[i], float(l2[i])))

    assert protocol["l2"] == protocol["grid"][best]
    assert protocol["val_top1"] == pytest.approx(top1[best])


@pytest.mark.parametrize("seed", range(3))
def test_the_refit_ends_at_scikit_learns_optimum(seed: int) -> None:
    task = rectified(seed)  # it is tested on the rows that it is fitted on
    scores = run(task)
    l2, (x, y) = scores.protocol["l2"], (task.train.x.double(), task.train.y)
    standard = (x - x.mean(0)) / x.std(0, correction=0)
    model = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-10, solver="newton-cholesky", max_iter=300)
    expected = F.cross_entropy(torch.from_numpy(model.fit(standard, y).predict_log_proba(standard)), y)

    assert scores.protocol["converged"] is True
    assert scores.metrics["nll"] == pytest.approx(float(expected), abs=1e-3)


def test_a_value_at_the_end_of_the_grid_is_flagged() -> None:
    assert run(made(), l2_min=10, l2_max=100, l2_steps=2).protocol["grid_edge"] is True
    assert run(made(folds=0)).protocol["grid_edge"] is False


def test_test_labels_change_neither_choice_nor_prediction() -> None:
    task = made(noise=3.0)
    first = run(task)
    second = run(replace(task, test=Features(task.test.x, task.test.y.roll(1))))

    assert second.predictions.equal(first.predictions)
    assert second.protocol == first.protocol


def test_moving_and_scaling_features_changes_nothing() -> None:
    task = made(noise=3.0)
    scale = torch.linspace(0.01, 100, 12)
    moved = replace(
        task,
        train=Features(task.train.x * scale + 5, task.train.y),
        test=Features(task.test.x * scale + 5, task.test.y),
    )
    first, second = run(task), run(moved)

    assert second.protocol["l2"] == first.protocol["l2"]
    assert second.predictions.equal(first.predictions)


def test_two_runs_are_one() -> None:
    first, second = run(made()), run(made())

    assert second.metrics == first.metrics
    assert second.predictions.equal(first.predictions)


def test_one_image_a_class_is_enough() -> None:
    x, y = torch.eye(3, 6), torch.arange(3)
    task = replace(made(folds=0), train=Features(x, y), test=Features(x, y))

    assert run(task).metrics["top1"] == 100


def test_a_fit_that_did_not_end_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        scores = run(made(folds=0), max_iter=2, default_l2=1e-6)

    assert scores.protocol["converged"] is False
    assert "Raise linear.max_iter" in caplog.text


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(BadValue, match=r"Set linear\.l2_min to at most 0\.1"):
        Linear(Linear.Config(l2_min=1.0, l2_max=0.1)).check(10, 2)
    with pytest.raises(BadValue, match="the number of classes is 1"):
        Linear(Linear.Config()).check(10, 1)


@pytest.mark.parametrize("part", ["train", "test"])
def test_features_that_are_not_numbers_are_refused(part: str) -> None:
    task = made()
    getattr(task, part).x[3, 2] = torch.inf

    with pytest.raises(CellError, match=f"linear: the {part}"):
        run(task)


def test_the_defaults_are_those_that_are_documented() -> None:
    assert asdict(Linear.Config()) == {
        "blocks": 0,
        "pool": "class",
        "l2_min": 1e-6,
        "l2_max": 1e2,
        "l2_steps": 12,
        "default_l2": 1e-2,
        "tolerance": 1e-9,
        "first_tolerance": 1e-4,
        "max_iter": 1000,
    }


@pytest.mark.parametrize("value", [1.0, 0.1, 1e8])
def test_a_feature_that_is_constant_but_for_rounding_has_no_effect(value: float) -> None:
    task = made()

    def widen(part: Features) -> Features:
        constant = torch.full((len(part), 1), value)
        noise = constant.nextafter(torch.tensor(torch.inf))  # of what belongs to the first class
        return Features(torch.cat((part.x, torch.where(part.y[:, None] == 0, noise, constant)), 1), part.y)

    plain, wide = run(task), run(replace(task, train=widen(task.train), test=widen(task.test), shared={}))

    assert wide.metrics["top1"] == pytest.approx(plain.metrics["top1"], abs=1e-9)
    assert wide.metrics["nll"] == pytest.approx(plain.metrics["nll"], abs=1e-3)
