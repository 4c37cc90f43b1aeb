"""The authors' schedules, number for number."""

from __future__ import annotations

import pytest

from bench.errors import BadValue
from bench.nn.schedules import constant_schedule, cosine_schedule, linear_schedule, schedule, warmup_schedule


@pytest.mark.parametrize(
    ("step", "momentum"),
    [(0, 0.996), (1, 0.99600000987), (250, 0.996585786438), (500, 0.998), (999, 0.99999999013), (1000, 1.0)],
)
def test_cosine_is_byols_momentum(step: int, momentum: float) -> None:
    # google-deepmind/deepmind-research 8457046b byol/utils/schedules.py, base 0.996, 1000 steps; and
    # facebookresearch/dino 7c446df5 utils.py, but for the last
    assert cosine_schedule(0.996, 1.0, step / 1000) == pytest.approx(momentum, abs=1e-12)


@pytest.mark.parametrize(("epoch", "temperature"), [(0, 0.04), (1, 0.055), (2, 0.07), (5, 0.07)])
def test_warmup_is_dinos_teacher_temperature(epoch: int, temperature: float) -> None:
    # facebookresearch/dino 7c446df5 main_dino.py, 3 epochs of warm-up of 10
    assert warmup_schedule(0.04, 0.07, epoch / 10, share=2 / 10) == pytest.approx(temperature)


def test_linear_is_a_line() -> None:
    assert [linear_schedule(0.996, 1.0, k / 4) for k in range(5)] == pytest.approx(
        [0.996, 0.997, 0.998, 0.999, 1.0]
    )


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_schedule_starts_and_ends_where_it_says(kind: str) -> None:
    assert schedule(kind, 0.04, 0.4, 0.0) == pytest.approx(0.04)
    assert schedule(kind, 0.04, 0.4, 1.0) == pytest.approx(0.4)
    assert schedule(kind, 0.04, 0.4, 0.5) == pytest.approx(0.22)


def test_a_constant_is_where_it_starts() -> None:
    assert constant_schedule(0.99) == schedule("constant", 0.99, 1.0, 0.7) == 0.99


def test_without_a_share_nothing_is_warmed_up() -> None:
    assert warmup_schedule(0.04, 0.07, 0.0, share=0.0) == 0.07


def test_an_unknown_schedule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadValue, match=r"'step'\. Known: constant, cosine, linear"):
        schedule("step", 0.0, 1.0, 0.5)


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(progress: float) -> None:
    for kind in ("constant", "linear", "cosine"):
        with pytest.raises(ValueError, match="progress is"):
            schedule(kind, 0.0, 1.0, progress)
    with pytest.raises(ValueError, match="share is"):
        warmup_schedule(0.0, 1.0, 0.5, share=progress)
