"""Axes hold their values, and their ticks are round, distinct and on them."""

from __future__ import annotations

import itertools
import math

import pytest

from bench.report.scales import GAP, fit_scale, list_powers, list_round, shorten

RANGES = [
    (0.0, 1.0),
    (-3.0, 7.0),
    (0.0501, 0.0502),
    (1e6, 9e6),
    (-1e-9, 1e-9),
    (5.0, 5.0),
    (0.0, 0.0),
    (1e30, 1e31),
]


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize(("start", "end"), [(100, 900), (500, 50)])
def test_a_linear_axis_holds_all_values_in_their_order(
    low: float, high: float, start: float, end: float
) -> None:
    scale = fit_scale([low, high], start, end)
    places = [scale.place(value) for value in (low, (low + high) / 2, high)]

    assert all(min(start, end) <= place <= max(start, end) for place in places)
    assert places == sorted(places, reverse=start > end)
    assert len(set(places)) == (3 if high > low else 1)


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_ticks_are_on_the_axis_and_read_apart(low: float, high: float) -> None:
    scale = fit_scale([low, high], 0, 1000)
    ticks = scale.ticks()

    assert 2 <= len(ticks) <= 11
    assert all(
        scale.low <= tick * (1 + 1e-9) + 1e-30 and tick <= scale.high * (1 + 1e-9) + 1e-30 for tick in ticks
    )
    assert len({shorten(tick, ticks) for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(("low", "high"), [(1e3, 1e9), (0.01, 1.0), (3.0, 4.0), (1e-12, 1e12), (20.0, 90.0)])
def test_ticks_of_a_log_axis_are_on_it(low: float, high: float) -> None:
    ticks = list_powers(low, high)

    assert 2 <= len(ticks) <= 12
    assert all(low <= tick <= high for tick in ticks)


def test_equal_steps_in_the_exponent_are_equal_steps_on_a_log_axis() -> None:
    scale = fit_scale([1.0, 1000.0], 0, 1000, is_log=True)
    places = [scale.place(10.0**power) for power in range(4)]

    assert len({round((b - a) / 2) for a, b in itertools.pairwise(places)}) == 1


@pytest.mark.parametrize(("start", "end"), [(100, 900), (900, 100)])
def test_zero_has_a_place_of_its_own_before_a_log_axis(start: float, end: float) -> None:
    scale = fit_scale([0.0, 1e3, 1e6], start, end, is_log=True)
    towards = math.copysign(1, end - start)

    assert scale.place(0.0) == start
    assert (scale.place(1e3) - start) * towards > GAP
    assert scale.ticks()[0] == 0


def test_a_log_axis_of_nothing_but_zeros_is_linear() -> None:
    assert not fit_scale([0.0, 0.0], 0, 100, is_log=True).is_log


def test_round_values_are_multiples_of_one_two_or_five() -> None:
    assert list_round(0.13, 1.04) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1500.0, "1.5k"), (3e6, "3M"), (2e-5, "2e-05"), (0.05, "0.05"), (7e16, "70P")],
)
def test_a_tick_is_short(value: float, text: str) -> None:
    assert shorten(value) == text
