"""The tests of a difference are those of scipy, and what is built on them is what it says."""

from __future__ import annotations

import itertools
import math

import pytest
from scipy.stats import binomtest, ttest_ind

from bench.reporting.significance import LEVEL, bound_mcnemar, mcnemar, reject_by_holm, welch


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 0), (0, 6), (12, 3), (5, 5), (412, 377), (9, 8)])
def test_mcnemar_is_the_exact_binomial_test_of_the_images_on_which_two_networks_differ(
    one: int, other: int
) -> None:
    expected = binomtest(one, one + other).pvalue if one + other else 1.0

    assert mcnemar(one, other) == pytest.approx(expected)
    assert mcnemar(other, one) == mcnemar(one, other)


def test_the_counts_bound_the_p_of_every_pair_of_predictions() -> None:
    n = 14
    for right, other in itertools.product(range(n + 1), repeat=2):
        both = range(max(0, right + other - n), min(right, other) + 1)
        possible = [mcnemar(right - b, other - b) for b in both]

        assert bound_mcnemar(right, other, n) == pytest.approx((min(possible), max(possible)))


@pytest.mark.parametrize(
    ("values", "others"),
    [([86.4, 82.6, 90.3], [85.3, 86.2, 87.0]), ([1.0, 2.0], [5.0, 5.5]), ([3.0, 3.1], [1.0, 2.0, 1.5])],
)
def test_welch_is_the_t_test_that_scipy_has_for_unequal_variances(
    values: list[float], others: list[float]
) -> None:
    assert welch(values, others) == pytest.approx(ttest_ind(values, others, equal_var=False).pvalue)
    assert welch(others, values) == pytest.approx(welch(values, others))


def test_there_is_no_t_test_where_nothing_varies() -> None:
    assert welch([1.0, 1.0], [2.0, 2.0]) is None


def test_holm_counts_every_pair_of_cells_and_steps_down() -> None:
    pairs = 3  # of three cells
    least = LEVEL / pairs

    assert reject_by_holm([least, LEVEL / (pairs - 1)]) == [True, True]
    assert reject_by_holm([LEVEL / (pairs - 1), least]) == [True, True]
    assert reject_by_holm([least, math.nextafter(LEVEL / (pairs - 1), 1)]) == [True, False]
    assert reject_by_holm([least + 1e-9, least + 1e-9]) == [False, False]
    assert reject_by_holm([LEVEL]) == [True]
    assert reject_by_holm([]) == []


def test_what_is_rejected_is_rejected_by_holm_over_all_pairs_too() -> None:
    own = [0.004, 0.001, 0.02]
    for others in itertools.product((1e-5, 0.003, 0.9), repeat=3):
        family = sorted([*own, *others])
        held = next((i for i, p in enumerate(family) if p * (len(family) - i) > LEVEL), len(family))
        rejected = reject_by_holm(own)

        assert all(p in family[:held] for p, is_rejected in zip(own, rejected, strict=True) if is_rejected)
