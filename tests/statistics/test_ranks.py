"""Ranks and their tests agree with scipy, with Demsar's table and with formulas in plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from bench.statistics.multiple import adjust_by_holm
from bench.statistics.ranks import (
    average_ranks,
    datasets_needed,
    friedman,
    join_alike,
    least_wilcoxon_p,
    nemenyi_difference,
    wilcoxon,
)

SCORES = np.random.default_rng(3).normal(size=(4, 7)).round(1) + np.arange(4)[:, None]


def test_average_ranks_share_ties_and_begin_with_the_best() -> None:
    ranks = average_ranks(np.array([[90.0, 80.0], [90.0, 70.0], [10.0, 75.0]]))

    assert ranks.tolist() == [1.25, 2.25, 2.5]


def test_what_floats_make_of_equal_scores_is_a_tie() -> None:
    assert average_ranks(np.array([[0.1 + 0.2], [0.3]])).tolist() == [1.5, 1.5]


@pytest.mark.parametrize("scores", [SCORES, np.array([[1.0, 1, 2], [1, 2, 2], [0, 2, 1]])])
def test_friedmans_statistic_is_scipys(scores: np.ndarray) -> None:
    assert friedman(scores).statistic == pytest.approx(stats.friedmanchisquare(*scores).statistic)


def test_friedmans_p_is_that_of_all_permutations() -> None:
    scores = np.array([[3.0, 3, 2], [2, 2, 3], [1, 1, 1]])
    own = friedman(scores)
    statistics = []
    for orders in itertools.product(itertools.permutations(range(3)), repeat=3):
        permuted = np.stack([scores[list(order), column] for column, order in enumerate(orders)], axis=1)
        statistics.append(stats.friedmanchisquare(*permuted).statistic)
    exact = np.mean(np.array(statistics) >= own.statistic - 1e-9)

    assert own.p == pytest.approx(exact, abs=0.012)
    assert abs(stats.friedmanchisquare(*scores).pvalue - exact) > 0.015  # which few data sets do not allow


def test_friedman_finds_nothing_where_all_tie() -> None:
    assert friedman(np.ones((3, 4))) == (0.0, 1.0)


@pytest.mark.parametrize(("methods", "quantile"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_has_demsars_quantiles(methods: int, quantile: float) -> None:
    expected = quantile * math.sqrt(methods * (methods + 1) / (6 * 14))

    assert nemenyi_difference(methods, 14) == pytest.approx(expected, rel=5e-4)


def test_wilcoxon_is_scipys_exact_test() -> None:
    differences = np.array([1.5, -0.2, 3.0, 0.7, 2.2, -1.1, 4.0])

    assert wilcoxon(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def test_wilcoxon_counts_out_the_signs_where_differences_tie_and_leaves_zeros_out() -> None:
    differences = np.array([1.0, -1.0, 2.0, 2.0, -3.0, 0.0, 4.0])
    ranks = stats.rankdata(abs(differences))
    own = sum(rank for rank, value in zip(ranks, differences, strict=True) if value > 0)
    held = [rank for rank, value in zip(ranks, differences, strict=True) if value]
    sums = [
        sum(rank for rank, sign in zip(held, signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=len(held))
    ]
    low = min(own, sum(held) - own)
    expected = 2 * sum(value <= low for value in sums) / len(sums)

    assert wilcoxon(differences) == pytest.approx(expected)
    assert wilcoxon(np.zeros(5)) == 1


def test_wilcoxon_of_many_data_sets_is_near_the_exact_test() -> None:
    differences = np.random.default_rng(0).normal(0.15, size=150)

    assert wilcoxon(differences) == pytest.approx(
        stats.wilcoxon(differences, method="exact").pvalue, rel=0.05
    )


@pytest.mark.parametrize("datasets", [1, 5, 6, 8])
def test_no_p_is_less_than_that_of_a_method_that_wins_everywhere(datasets: int) -> None:
    assert wilcoxon(np.arange(1.0, datasets + 1)) == pytest.approx(least_wilcoxon_p(datasets))


@pytest.mark.parametrize("pairs", [1, 3, 10, 45])
def test_so_many_data_sets_are_needed_and_one_less_is_too_few(pairs: int) -> None:
    needed = datasets_needed(pairs)

    assert pairs * least_wilcoxon_p(needed) <= 0.05 < pairs * least_wilcoxon_p(needed - 1)


def test_holm_is_statsmodels() -> None:
    p_values = [0.01, 0.04, 0.03, 0.005, 0.9]
    steps = [0.04, 0.09, 0.09, 0.025, 0.9]  # multipletests(p_values, method="holm") of statsmodels 0.15

    assert adjust_by_holm(p_values) == pytest.approx(steps)
    assert adjust_by_holm([]) == []


def test_methods_that_are_not_told_apart_are_joined_in_the_longest_stretches() -> None:
    assert join_alike(4, {(0, 2), (0, 3), (1, 3)}) == [(0, 1), (1, 2), (2, 3)]
    assert join_alike(4, {(0, 3)}) == [(0, 2), (1, 3)]
    assert join_alike(3, set()) == [(0, 2)]
    assert join_alike(3, {(0, 1), (0, 2), (1, 2)}) == []
    assert join_alike(3, {(0, 1)}) == [(1, 2)]
