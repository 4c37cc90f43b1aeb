"""The learning rate and the weight decay of a step, by their formulas and the authors' numbers."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from bench.nn.schedules import cosine_schedule
from bench.pretraining.schedules import lr_factor


def test_the_warm_up_is_linear_and_its_first_step_is_not_lost() -> None:
    assert [lr_factor(step, 100, 10) for step in range(10)] == pytest.approx(
        [(i + 1) / 10 for i in range(10)]
    )


def test_after_the_warm_up_it_is_half_a_cosine_from_one_to_zero() -> None:
    for step in range(10, 101):
        expected = 0.5 * (1 + math.cos(math.pi * (step - 10) / 90))

        assert lr_factor(step, 100, 10) == pytest.approx(expected)
    assert lr_factor(10, 100, 10) == 1
    assert lr_factor(55, 100, 10) == pytest.approx(0.5)
    assert lr_factor(100, 100, 10) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("warmup", [0, 0.4, 1, 2.5, 10, 33.3])
def test_it_rises_to_one_and_falls_without_a_jump(warmup: float) -> None:
    factors = [lr_factor(step, 100, warmup) for step in range(100)]
    top = factors.index(max(factors))

    assert max(factors) == pytest.approx(1, abs=1e-3)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert max(abs(a - b) for a, b in pairwise(factors)) < max(0.03, 1.01 / max(warmup, 1))
    assert factors[0] > 0
    assert factors[-1] < 0.01


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_runs_learn_at_every_step(steps: int) -> None:
    factors = [lr_factor(step, steps, 0.1 * steps) for step in range(steps)]

    assert all(0 < factor <= 1 for factor in factors)
    assert factors[0] == 1


@pytest.mark.parametrize(
    ("step", "lr"), [(5, 0.001), (5.25, 0.000999982929919), (52.5, 0.0005005), (100, 1e-6)]
)
def test_the_cosine_ends_at_the_lowest_learning_rate(step: float, lr: float) -> None:
    """Of facebookresearch/mae util/lr_sched.py at efb2a80: from 0.001 to 1e-6, 5 of 100 epochs warm up."""
    assert 0.001 * lr_factor(round(20 * step), 2000, 100, end=1e-3) == pytest.approx(lr, rel=1e-9)


@pytest.mark.parametrize(
    ("step", "lr"), [(201, 1.59999878275), (1000, 0.939579623591), (1999, 0.0016012172509)]
)
def test_vicregs_cosine_ends_at_a_thousandth(step: int, lr: float) -> None:
    """Of facebookresearch/vicreg main_vicreg.py at 4e12602: 1.6 at the top, 100 epochs of 20 steps."""
    assert 1.6 * lr_factor(step, 2000, 200, end=0.001) == pytest.approx(lr, rel=1e-9)


@pytest.mark.parametrize("step", range(0, 200, 7))
def test_a_cosine_to_nothing_is_bitwise_one_without_an_end(step: int) -> None:
    cosine = 0.5 * (1 + math.cos(math.pi * max(0.0, step - 19.9) / (200 - 19.9)))

    assert lr_factor(step, 200, 19.9) == (cosine if step + 1 >= 19.9 else (step + 1) / 19.9)


@pytest.mark.parametrize(
    ("step", "decay"),
    [(0, 0.04), (1, 0.0400008882637), (9, 0.040071944623), (500, 0.22), (999, 0.399999111736)],
)
def test_a_weight_decay_rises_as_dinos(step: int, decay: float) -> None:
    """Of facebookresearch/dino utils.py cosine_scheduler at 7c446df, 100 epochs of 10 steps."""
    assert cosine_schedule(0.04, 0.4, step / 1000) == pytest.approx(decay, rel=1e-9)
