"""The fit of logistic regressions against scikit-learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bench_plugins.evaluators.fitting import logistic
from logistic_reference import GRID, draw_problem, fit_heads, objective, reference
from torch import Tensor
from torch.nn import functional as F

CPU = torch.device("cpu")


def rows_of(x: Tensor, y: Tensor) -> logistic.Rows:
    return logistic.Rows.of(x, y, CPU, logistic.Frame.of(x, CPU))


def problem(name: str) -> tuple[Tensor, Tensor, int]:
    noisy, separable = draw_problem(300, 8, 4, 4.0), draw_problem(200, 10, 3, 0.0)
    wide, two = draw_problem(30, 100, 3, 1.0), draw_problem(100, 5, 2, 1.0)
    mix = (
        torch.randn(8, 8, generator=torch.Generator().manual_seed(1)) * 10 ** -torch.arange(8.0)[:, None] / 2
    )
    return {
        "noisy": (*noisy, 4),
        "separable": (*separable, 3),
        "correlated": (torch.relu(noisy[0] @ mix + 0.1), noisy[1], 4),
        "unscaled": (noisy[0] * 10 ** torch.linspace(-4, 4, 8) + 3, noisy[1], 4),
        "constant feature": (torch.cat((noisy[0], torch.full((300, 1), 0.1)), 1), noisy[1], 4),
        "fewer rows than dimensions": (*wide, 3),
        "two classes": (*two, 2),
        "two rows": (wide[0][:2], torch.tensor([0, 1]), 2),
    }[name]


@pytest.mark.parametrize(
    "name",
    ["noisy", "separable", "correlated", "unscaled", "constant feature", "fewer rows than dimensions"],
)
def test_every_l2_reaches_scikit_learns_optimum(name: str) -> None:
    x, y, classes = problem(name)
    heads = fit_heads(x, y, classes)
    standard = (x.double() - heads.mean) / heads.scale
    expected = [reference(standard, y, l2) for l2 in GRID.tolist()]
    reached = [
        objective(standard, y, weight, bias, l2)
        for weight, bias, l2 in zip(heads.weight, heads.bias, GRID.tolist(), strict=True)
    ]

    assert heads.converged.all()
    assert reached == pytest.approx(expected, abs=1e-5)
    assert heads.loss.tolist() == pytest.approx(reached, abs=1e-6)


@pytest.mark.parametrize("name", ["noisy", "separable", "two classes", "two rows"])
def test_the_gradient_at_the_end_is_none(name: str) -> None:
    x, y, classes = problem(name)
    heads = fit_heads(x, y, classes)
    standard = (x.double() - heads.mean) / heads.scale
    for weight, bias, l2 in zip(heads.weight, heads.bias, GRID, strict=True):
        p = (standard @ weight.T + bias).softmax(1) - F.one_hot(y, classes)
        gradient = p.T @ standard / len(x) + l2 * weight
        if l2 >= 1e-3:  # the gap is at most |gradient|^2 / (2 l2)
            assert float(gradient.square().sum() / (2 * l2)) < 1e-4
        assert float(gradient.abs().max()) < 1e-3


def steep(n: int = 60, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return few rows that every weak penalty parts completely, and others to predict."""
    x, y = draw_problem(n + 2000, 40, 4, 1.0, seed)
    mix = torch.randn(40, 40, generator=torch.Generator().manual_seed(seed)) / torch.arange(1, 41)[:, None]
    x = (x @ mix).relu()
    return x[:n], y[:n], x[n:]


@pytest.mark.parametrize("l2", [1e-6, 3e-5, 1e-3])
def test_what_a_fit_predicts_depends_neither_on_its_start_nor_on_what_is_beside_it(l2: float) -> None:
    x, y, others = steep()
    rows = rows_of(x, y).sharpen()
    beside = [rows_of(*steep(n, seed)[:2]).sharpen() for n, seed in ((50, 1), (200, 2))]

    def fit_last(problems: list[logistic.Rows], strengths: list[float], **options: Any) -> logistic.Heads:
        l2s = torch.tensor(strengths, dtype=torch.float64)[:, None].expand(-1, len(problems))
        *_, ends = logistic.fit_all(problems, 4, l2s, tolerance=1e-9, max_iter=1000, **options)
        return ends[-1]

    alone = fit_last([rows], [l2])
    path = [float(strength) for strength in GRID.flip(0) if strength > l2] + [l2]
    far = fit_last([rows], [1e2])
    found = [
        fit_last([rows], path),
        fit_last([rows], [l2], near=[far]),
        fit_last([*beside, rows], [l2]),
        fit_last([rows], [l2], block=2048),
    ]
    expected = alone.logits(others, 0).argmax(1)

    assert alone.converged.all()
    for heads in found:
        assert heads.logits(others, 0).argmax(1).equal(expected)


def test_a_batch_of_heads_finds_what_each_finds_alone() -> None:
    x, y, classes = problem("noisy")
    together = fit_heads(x, y, classes)
    alone = [fit_heads(x, y, classes, GRID[i : i + 1]).loss for i in range(len(GRID))]

    assert together.loss.tolist() == pytest.approx(torch.cat(alone).tolist(), abs=1e-6)


def test_a_fit_that_starts_near_ends_at_the_same_optimum_sooner() -> None:
    x, y, classes = problem("noisy")
    l2 = torch.tensor([1e-3], dtype=torch.float64)
    near = fit_heads(5 * x[:270] + 2, y[:270], classes, GRID).take(4)
    rows = rows_of(5 * x + 2, y)
    ((moved,),) = logistic.fit_all([rows], classes, l2[None], tolerance=1e-7, max_iter=1000, near=[near])
    alone = fit_heads(5 * x + 2, y, classes, l2)

    assert moved.loss.tolist() == pytest.approx(alone.loss.tolist(), abs=1e-6)
    assert int(moved.steps) < int(alone.steps)


def test_a_head_says_the_same_of_features_standardised_by_other_moments() -> None:
    x, y, classes = problem("noisy")
    head = fit_heads(x, y, classes).take(3)
    mean, scale = torch.full((8,), 0.5, dtype=torch.float64), torch.linspace(0.5, 2, 8, dtype=torch.float64)
    weight, bias = head.convert_to(mean, scale)

    assert torch.allclose(head.logits(x, 0), (x.double() - mean) / scale @ weight[0].T + bias[0])


def test_blocks_reach_what_one_pass_reaches() -> None:
    x, y, classes = problem("noisy")
    whole, blocks = fit_heads(x, y, classes), fit_heads(x, y, classes, block=8 * 17)

    assert blocks.loss.tolist() == pytest.approx(whole.loss.tolist(), abs=1e-6)


def test_a_class_without_training_rows_is_never_predicted() -> None:
    x, y = draw_problem(100, 5, 3, 1.0)
    heads = fit_heads(x, y + 1, 5)

    assert heads.converged.all()
    assert set(heads.logits(x, 5).argmax(1).tolist()) <= {1, 2, 3}
