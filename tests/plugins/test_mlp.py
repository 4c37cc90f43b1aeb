"""What a perceptron finds, and its choice against what it may look at."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from bench_plugins.evaluators.fitting import perceptron
from bench_plugins.evaluators.linear import Linear
from bench_plugins.evaluators.mlp import MLP, Choice
from torch import Tensor

from bench.api import BadValue, Features, Scores, Task, seed_of
from bench.errors import CellError

CPU = torch.device("cpu")
SMALL = {"hidden": (16,), "lr_grid": (1e-3, 1e-2), "weight_decay_grid": (0.0, 1.0), "epochs": 5}
WIDTHS = (6, 9, 7, 3)
LR, DECAY = torch.tensor([1e-3, 1e-2, 3e-2]), torch.tensor([0.0, 1.0, 0.1])


def rings(n: int, seed: int) -> Features:
    """Draw three rings around one centre in two of eight dimensions: no line parts them."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    angle = 6.2832 * torch.rand(n, generator=generator)
    plane = (1.0 + y)[:, None] * torch.stack((angle.cos(), angle.sin()), 1)
    noise = torch.randn(n, 8, generator=generator)
    return Features(torch.cat((plane + 0.1 * noise[:, :2], noise[:, 2:]), 1), y)


def faint(n: int) -> Task:
    """Draw classes that differ in the directions of least variance, which no feature has alone."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(n + 500, 32, generator=generator)
    y = z[:, -3:].argmax(1)
    mix, _ = torch.linalg.qr(torch.randn(32, 32, generator=generator))
    x, rows = z * torch.logspace(0, -2, 32) @ mix, torch.arange(n)
    train, test = Features(x[:n], y[:n]), Features(x[n:], y[n:])
    return replace(made(), train=train, test=test, folds=((rows[n // 5 :], rows[: n // 5]),))


def made(n: int = 150, folds: int = 1) -> Task:
    parts = torch.arange(n).chunk(5)
    pairs = [(torch.cat([p for p in parts if p is not val]), val) for val in parts[:folds]]
    return Task(
        train=rings(n, 0),
        test=rings(90, 1),
        folds=tuple(pairs),
        classes=("inner", "middle", "outer"),
        seed=0,
        device=CPU,
    )


def run(task: Task, **values: Any) -> Scores:
    scores: Scores = MLP(MLP.Config(**{**SMALL, **values})).evaluate(task)
    return scores


def test_a_problem_that_no_line_solves_is_solved() -> None:
    task = made(n=900)
    metrics = MLP(MLP.Config(hidden=(64,), epochs=15, lr_grid=(3e-3, 1e-2))).evaluate(task).metrics

    assert metrics["top1"] > 90
    assert metrics["linear_top1"] < 60
    assert list(metrics) == ["top1", "balanced_accuracy", "nll", "ece", "linear_top1", "nonlinear_gap"]


def test_the_gap_is_to_what_linear_finds() -> None:
    task = made()
    scores, linear = run(task), Linear(Linear.Config()).evaluate(task)

    assert scores.metrics["linear_top1"] == linear.metrics["top1"]
    assert scores.metrics["nonlinear_gap"] == scores.metrics["top1"] - linear.metrics["top1"]
    assert [scores.direction(name) for name in ("linear_top1", "nonlinear_gap", "nll")] == [True, None, False]


def test_what_lies_along_directions_of_little_variance_is_found() -> None:
    metrics = MLP(MLP.Config(hidden=(64,))).evaluate(faint(1500)).metrics

    assert metrics["linear_top1"] > 90
    assert metrics["top1"] > 80


def test_standardised_features_are_uncorrelated_along_orthonormal_axes() -> None:
    x = faint(1500).train.x
    standard = perceptron.Standard.of(x, CPU)
    turned = standard.apply(x, CPU).double()
    covariance = turned.T @ turned / len(x)

    assert torch.allclose(standard.axes.T @ standard.axes, torch.eye(32, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(covariance, covariance.diagonal().diag(), atol=1e-5)
    assert float(covariance.trace()) == pytest.approx(32)  # the turn keeps the variance of each feature


def test_two_hidden_layers_are_fitted() -> None:
    assert run(made(), hidden=(8, 4)).protocol["hidden"] == [8, 4]


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        (0, "nothing: no class has two labelled images"),
        (1, "20% hold-out of train"),
        (5, "5-fold cross-validation inside the labelled subset"),
    ],
)
def test_the_protocol_says_what_was_chosen_and_on_what(folds: int, said: str) -> None:
    protocol = run(made(folds=folds), default_lr=0.5, default_weight_decay=0.25).protocol
    chosen = (protocol["lr"], protocol["weight_decay"], protocol["epochs"])

    assert protocol["selected_on"] == said
    assert protocol["selected_split"] == ("train" if folds else "nothing")
    assert protocol["selected"] == ("lr, weight_decay, epochs" if folds else "nothing")
    if folds:
        assert chosen[0] in SMALL["lr_grid"]
        assert chosen[1] in SMALL["weight_decay_grid"]
        assert 1 <= chosen[2] <= 5
    else:
        assert chosen == (0.5, 0.25, 5)


def test_a_learning_rate_that_does_nothing_is_not_chosen() -> None:
    protocol = run(made(n=600), lr_grid=(1e-9, 1e-2, 1e-8), weight_decay_grid=(0.0,), epochs=8).protocol

    assert protocol["lr"] == 1e-2
    assert protocol["grid_edge"] is True
    assert run(made(), lr_grid=(1e-2,), weight_decay_grid=(0.0,)).protocol["grid_edge"] is False


def test_products_in_bfloat16_find_what_float32_finds() -> None:
    task = made(n=900)
    values = {"hidden": (64,), "epochs": 15, "lr_grid": (1e-2,), "weight_decay_grid": (0.0,)}
    single, half = (run(task, precision=name, **values) for name in ("float32", "bfloat16"))

    assert half.protocol["precision"] == "bfloat16"
    assert half.metrics["nll"] != single.metrics["nll"]
    assert half.metrics["top1"] == pytest.approx(single.metrics["top1"], abs=3)


def test_groups_of_heads_choose_what_all_heads_at_once_do(monkeypatch: pytest.MonkeyPatch) -> None:
    together = run(made())
    monkeypatch.setattr("bench_plugins.evaluators.mlp.heads_at_once", lambda *_: 3)
    grouped = run(made())

    assert grouped.protocol == together.protocol


def test_test_labels_change_neither_choice_nor_prediction() -> None:
    task = made()
    first = run(task)
    second = run(replace(task, test=Features(task.test.x, task.test.y.roll(1))))

    assert second.predictions.equal(first.predictions)
    assert second.protocol == first.protocol


def test_held_out_rows_do_not_train_what_they_judge() -> None:
    task = made(n=60)
    _, val = task.folds[0]
    found = 0.0
    for turn in range(3):
        y = task.train.y.clone()
        y[val] = (y[val] + turn) % 3
        turned = replace(task, train=Features(task.train.x, y))
        protocol = run(turned, lr_grid=(1e-2,), weight_decay_grid=(0.0,), epochs=1).protocol
        found += protocol["val_top1"]

    # of predictions that stay each row is right under exactly one of the three labellings
    assert found == pytest.approx(100)


def test_a_feature_that_is_constant_in_training_has_no_effect() -> None:
    task = made()
    train = Features(torch.cat((task.train.x, torch.full((150, 1), 0.1)), 1), task.train.y)
    tests = [torch.cat((task.test.x, torch.full((90, 1), value)), 1) for value in (0.1, 50.0)]
    first, second = (run(replace(task, train=train, test=Features(x, task.test.y))) for x in tests)

    assert second.metrics == first.metrics


def test_moving_and_scaling_features_changes_nothing() -> None:
    task, scale = made(), torch.logspace(-3, 3, 8)
    moved = [Features(part.x * scale + 5 * scale, part.y) for part in (task.train, task.test)]
    first, second = run(task), run(replace(task, train=moved[0], test=moved[1]))

    assert second.protocol["lr"] == first.protocol["lr"]
    assert second.metrics["nll"] == pytest.approx(first.metrics["nll"], abs=1e-3)


def test_two_runs_are_one_and_another_seed_is_another() -> None:
    first, second, other = run(made()), run(made()), run(replace(made(), seed=1))

    assert second.metrics == first.metrics
    assert second.predictions.equal(first.predictions)
    assert other.metrics["nll"] != first.metrics["nll"]


def test_one_image_a_class_is_enough() -> None:
    x, y = 5 * torch.eye(3, 8), torch.arange(3)
    task = replace(made(folds=0), train=Features(x, y), test=Features(x, y))

    assert run(task, epochs=20).metrics["top1"] == 100


def test_a_single_row_gives_finite_scores() -> None:
    one = made(folds=0).train.take(torch.tensor([1]))

    assert set(run(replace(made(folds=0), train=one)).predictions.tolist()) <= {0, 1, 2}


def test_a_fold_that_fits_a_single_row_is_judged() -> None:
    pair = (torch.tensor([0]), torch.tensor([1]))
    train = Features(torch.eye(2, 8), torch.zeros(2, dtype=torch.long))
    scores = run(replace(made(), train=train, folds=(pair, pair[::-1])))

    assert 0 <= scores.protocol["val_top1"] <= 100


def test_a_class_without_training_rows_is_not_predicted() -> None:
    task = made(n=300)
    scores = run(replace(task, classes=("a", "b", "c", "absent")), epochs=8, lr_grid=(1e-2,))

    assert set(scores.predictions.tolist()) <= {0, 1, 2}


def test_what_cannot_be_fitted_is_refused() -> None:
    for values in ({"hidden": ()}, {"lr_grid": ()}, {"weight_decay_grid": ()}):
        with pytest.raises(BadValue, match="is empty"):
            MLP(MLP.Config(**values)).check(10, 2)
    with pytest.raises(BadValue, match="the number of classes is 1"):
        MLP(MLP.Config()).check(10, 1)


@pytest.mark.parametrize("part", ["train", "test"])
def test_features_that_are_not_numbers_are_refused(part: str) -> None:
    task = made()
    getattr(task, part).x[3, 2] = torch.inf

    with pytest.raises(CellError, match=f"mlp: the {part}"):
        run(task)


def test_the_defaults_are_those_that_are_documented() -> None:
    assert asdict(MLP.Config()) == {
        "blocks": 0,
        "pool": "class",
        "hidden": (512,),
        "lr_grid": (5e-4, 2e-3, 8e-3),
        "weight_decay_grid": (0.1, 1.0, 10.0),
        "epochs": 10,
        "batch_size": 1024,
        "default_lr": 2e-3,
        "default_weight_decay": 10.0,
        "precision": "auto",
    }


def start_by_hand(task: Task, x: Tensor, choice: Choice) -> tuple[perceptron.Perceptrons, perceptron.AdamW]:
    widths = (x.shape[1], *SMALL["hidden"], 3)
    model = perceptron.Perceptrons(widths, 1, seed_of(task.seed, "mlp", "weights"))
    return model, perceptron.AdamW(model, torch.tensor([choice.lr]), torch.tensor([choice.weight_decay]))


@pytest.mark.parametrize("epochs", [1, 3, 5])
def test_the_refit_stops_at_the_epoch_that_was_chosen_along_the_whole_schedule(epochs: int) -> None:
    task, choice = made(), Choice(1e-2, 1.0, epochs)
    standard = perceptron.Standard.of(task.train.x, CPU)
    x = standard.apply(task.train.x, CPU)
    model, optimizer = start_by_hand(task, x, choice)
    steps = perceptron.descend(
        model, x, task.train.y, optimizer, epochs=5, batch_size=1024, seed=seed_of(0, "mlp", "order")
    )
    for _ in range(epochs):
        next(steps)
    expected = model.logits(standard.apply(task.test.x, CPU))[:, 0]
    found = MLP(MLP.Config(**SMALL, precision="float32")).predict(task, choice)

    assert torch.equal(found, expected)


def test_a_fold_is_standardised_by_its_fit_rows_and_judged_on_the_held_out_ones() -> None:
    task, choice = made(), Choice(1e-2, 1.0, 5)
    ((fit, val),) = task.folds
    task.train.x[val] *= torch.linspace(1, 30, 8)  # rows that would change what they are standardised by
    standard = perceptron.Standard.of(task.train.x[fit], CPU)
    x, val_x = (standard.apply(task.train.x[rows], CPU) for rows in (fit, val))
    model, optimizer = start_by_hand(task, x, choice)
    expected = [
        model.judge(val_x, task.train.y[val])[:, 0]
        for _ in perceptron.descend(
            model, x, task.train.y[fit], optimizer, epochs=5, batch_size=1024, seed=seed_of(0, "mlp", "order")
        )
    ]
    mlp = MLP(MLP.Config(**SMALL, precision="float32"))
    found = mlp.judge(task, fit, val, [(choice.lr, choice.weight_decay)])

    assert torch.allclose(found[:, :, 0].T, torch.stack(expected), atol=1e-5)


def test_a_pair_is_judged_alike_whatever_is_trained_beside_it() -> None:
    task = made()
    mlp, pairs = MLP(MLP.Config(**SMALL, precision="float32")), [(8e-3, 10.0), (1e-3, 0.0), (1e-2, 1.0)]
    together = mlp.judge(task, *task.folds[0], pairs)
    for index, pair in enumerate(pairs):
        alone = mlp.judge(task, *task.folds[0], [pair])[:, :, 0]

        assert torch.equal(alone[0], together[0, :, index])
        assert torch.allclose(alone[1], together[1, :, index], atol=1e-4)


def clusters(n: int, seed: int) -> Features:
    """Draw three Gaussian clusters that hardly overlap."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    return Features(2 * torch.eye(3, 8)[y] + 0.7 * torch.randn(n, 8, generator=generator), y)


def test_probabilities_of_what_is_nearly_always_right_are_nearly_one() -> None:
    """A weight decay that keeps weights near zero is right as often, and unsure."""
    task = replace(made(n=300), train=clusters(300, 0), test=clusters(300, 1))
    values = {"lr_grid": (8e-3,), "hidden": (64,), "epochs": 10}
    unsure = run(task, weight_decay_grid=(100.0,), **values)
    scores = run(task, weight_decay_grid=(1.0, 100.0), **values)

    assert unsure.metrics["top1"] > 90
    assert unsure.metrics["ece"] > 25
    assert scores.protocol["weight_decay"] == 1.0
    assert scores.metrics["ece"] < 6
    assert scores.metrics["top1"] > unsure.metrics["top1"] - 4  # of 300 rows


def test_the_likeliest_of_what_the_held_out_rows_cannot_tell_apart_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    top1 = torch.tensor([[90.0, 89.0], [80.0, 88.0]], dtype=torch.float64)
    loss = torch.tensor([[2.0, 0.5], [0.1, 0.3]], dtype=torch.float64)
    monkeypatch.setattr(MLP, "judge", lambda *_: torch.stack((top1, loss)))
    task = made()  # 30 rows held out: a standard error of 90 % is 5.7 points
    values = {**SMALL, "lr_grid": (1e-3,), "weight_decay_grid": (0.5, 1.0), "epochs": 2}
    choice, _ = MLP(MLP.Config(**values)).choose(task)

    assert choice == Choice(1e-3, 1.0, 2)


@pytest.mark.parametrize("value", [1.0, 0.1, 1e8])
def test_a_feature_that_is_constant_but_for_rounding_is_a_constant(value: float) -> None:
    task = made()

    def widen(part: Features, *, noisy: bool) -> Features:
        constant = torch.full((len(part), 1), value)
        noise = constant.nextafter(torch.tensor(torch.inf))  # of what belongs to the first class
        column = torch.where((part.y[:, None] == 0) & noisy, noise, constant)
        return Features(torch.cat((part.x, column), 1), part.y)

    found = [
        run(
            replace(task, train=widen(task.train, noisy=noisy), test=widen(task.test, noisy=noisy), shared={})
        )
        for noisy in (False, True)
    ]

    assert found[1].metrics == found[0].metrics
