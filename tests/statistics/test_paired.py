"""Two classifiers on the same test images: tests are those of libraries, intervals hold what they say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.contingency_tables import mcnemar as published_mcnemar

from bench.statistics.paired import bound_difference, bound_mcnemar, mcnemar, measure_agreement


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 0), (0, 6), (12, 3), (5, 5), (412, 377), (9, 8)])
def test_mcnemar_is_the_exact_binomial_test_of_the_images_on_which_two_networks_differ(
    one: int, other: int
) -> None:
    expected = binomtest(one, one + other).pvalue if one + other else 1.0

    assert mcnemar(one, other) == pytest.approx(expected)
    assert mcnemar(other, one) == mcnemar(one, other)
    if one + other:
        assert mcnemar(one, other) == pytest.approx(published_mcnemar([[7, one], [other, 9]]).pvalue)


def test_the_counts_bound_the_p_of_every_pair_of_predictions() -> None:
    n = 14
    for right, other in itertools.product(range(n + 1), repeat=2):
        both = range(max(0, right + other - n), min(right, other) + 1)
        possible = [mcnemar(right - b, other - b) for b in both]

        assert bound_mcnemar(right, other, n) == pytest.approx((min(possible), max(possible)))


@pytest.mark.parametrize(("one", "other", "n"), [(30, 12, 200), (5, 0, 50), (0, 0, 40), (3, 80, 100)])
def test_the_interval_of_a_difference_is_walds_with_an_image_added_on_either_side(
    one: int, other: int, n: int
) -> None:
    per_image = np.zeros(n + 2)
    per_image[: one + 1], per_image[one + 1 : one + other + 2] = 1, -1
    half = 1.959963984540054 * per_image.std() / np.sqrt(n + 2)
    ends = (per_image.mean() - half, per_image.mean() + half)

    assert bound_difference(one, other, n) == pytest.approx(np.clip(ends, -1, 1))


@pytest.mark.parametrize("cells", [(0.1, 0.1), (0.3, 0.05), (0.02, 0.0)])
def test_the_interval_of_a_difference_holds_it_in_nineteen_of_twenty_test_sets(
    cells: tuple[float, float],
) -> None:
    n, tries = 200, 4000
    draws = np.random.default_rng(0).multinomial(n, [*cells, 1 - sum(cells)], size=tries)
    held = 0
    for one, other, _ in draws.tolist():
        low, high = bound_difference(one, other, n)
        held += low <= cells[0] - cells[1] <= high

    assert 0.94 < held / tries < 0.995


def test_agreement_is_that_of_scikit_learn() -> None:
    draw = np.random.default_rng(1)
    one = draw.integers(0, 5, 300).astype(np.int32)
    other = np.where(draw.random(300) < 0.6, one, draw.integers(0, 5, 300)).astype(np.int32)
    share, kappa = measure_agreement(one, other)

    assert share == pytest.approx((one == other).mean())
    assert kappa == pytest.approx(cohen_kappa_score(one, other))
    assert measure_agreement(one * 0, other * 0) == (1.0, 1.0)
