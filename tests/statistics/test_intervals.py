"""Intervals of a share are Wilson's, or his with as many images as vary so much."""

from __future__ import annotations

import math

import pytest
from statsmodels.stats.proportion import proportion_confint

from bench.statistics.intervals import bound_mean, bound_share, wilson
from bench.statistics.parts import Part


@pytest.mark.parametrize(
    ("right", "n"), [(9207, 10_000), (6854, 10_000), (0, 30), (30, 30), (1, 2), (350, 359)]
)
def test_wilson_is_that_of_statsmodels(right: int, n: int) -> None:
    assert wilson(right, n) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-12)
    assert wilson(right, n, 0.1) == pytest.approx(proportion_confint(right, n, 0.1, "wilson"), abs=1e-12)


def test_a_share_that_varies_as_one_of_n_images_has_wilsons_interval_of_n_images() -> None:
    parts = [Part(0.3 * 0.7 / 50, math.inf)]

    assert bound_share(0.3, parts, 1000) == pytest.approx(wilson(15, 50))
    assert bound_share(0.3, [*parts, Part(0.01, 2)], 1000)[1] > wilson(15, 50)[1]


def test_a_share_that_varies_a_lot_stays_a_share() -> None:
    low, high = bound_share(0.99, [Part(0.04, 1)], 1000)

    assert 0 <= low < 0.5
    assert 0.99 < high <= 1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_without_a_variance_is_as_uncertain_as_its_images(share: float) -> None:
    assert bound_share(share, [Part(0.0, 2), Part(0.0, 99)], 100) == wilson(100 * share, 100)


def test_a_mean_goes_as_far_to_either_side() -> None:
    low, high = bound_mean(5.0, [Part(4.0, 2)])

    assert (high - 5.0, 5.0 - low) == pytest.approx([4.302652729911275 * 2] * 2)
