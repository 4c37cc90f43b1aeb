"""Aggregates agree with rliable's formulas, written out in loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.statistics.aggregates import (
    bootstrap,
    interquartile_mean,
    normalise,
    performance_profile,
    probability_of_improvement,
)

RANDOM = np.random.default_rng(5)
RUNS = [RANDOM.normal(mean, size=5) for mean in (0.2, 0.5, 0.9)]
OTHERS = [RANDOM.normal(mean, size=5) for mean in (0.0, 0.6, 0.4)]


def test_a_normalised_score_is_nought_at_the_floor_and_one_at_the_ceiling() -> None:
    assert normalise(np.array([20.0, 60.0, 50.0]), 20.0, 60.0) == pytest.approx([0, 1, 0.75])
    assert normalise(np.array([2.0, 0.5]), 2.0, 1.0) == pytest.approx([0, 1.5])  # of a loss
    with pytest.raises(ValueError, match="both"):
        normalise(np.ones(1), 3.0, 3.0)


def test_the_interquartile_mean_is_scipys_trimmed_mean_of_all_runs() -> None:
    assert interquartile_mean(RUNS) == pytest.approx(stats.trim_mean(np.concatenate(RUNS), 0.25))


def test_a_data_set_with_more_seeds_does_not_weigh_more() -> None:
    once, twice = [np.array([1.0]), np.array([2.0, 4.0])], [np.array([1.0, 1.0]), np.array([2.0, 4.0])]

    pooled = [*np.repeat([1.0, 3.0], 3), *np.repeat([2.0, 4.0, 9.0], 2)]  # six of each

    assert interquartile_mean(once) == interquartile_mean(twice) == 1.5
    assert interquartile_mean([np.array([1.0, 3.0]), np.array([2.0, 4.0, 9.0])]) == pytest.approx(
        stats.trim_mean(pooled, 0.25)
    )


def test_the_probability_of_improvement_is_mann_whitneys_u_by_the_number_of_pairs() -> None:
    own = [np.array([1.0, 2.0, 2.0]), RUNS[0]]
    other = [np.array([2.0, 0.0]), OTHERS[0]]
    shares = [stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)) for x, y in zip(own, other, strict=True)]

    assert probability_of_improvement(own, other) == pytest.approx(np.mean(shares))


def test_a_profile_is_the_share_of_runs_above_each_score() -> None:
    thresholds = np.array([-1.0, 0.3, 5.0])
    expected = [np.mean([[score > t for score in own] for own in RUNS]) for t in thresholds]

    assert performance_profile(RUNS, thresholds) == pytest.approx(expected)


def test_runs_are_drawn_within_their_data_set() -> None:
    apart = [np.array([0.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0])]
    interval = bootstrap(lambda runs: np.concatenate(runs, axis=-1).mean(axis=-1), apart)

    assert interval == (0.5, 0.5)  # whereas drawn from all six it would vary


def test_the_interval_is_that_of_resamples_drawn_one_by_one() -> None:
    random = np.random.default_rng(11)
    values = []
    for _ in range(1000):
        drawn = [np.array([own[random.integers(5)] for _ in own]) for own in RUNS]
        values.append(stats.trim_mean(np.concatenate(drawn), 0.25))
    interval = bootstrap(interquartile_mean, RUNS)

    assert interval is not None
    assert interval == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.06)


def test_two_methods_are_resampled_apart_and_the_same_each_time() -> None:
    first, again = (bootstrap(probability_of_improvement, RUNS, OTHERS) for _ in range(2))

    assert first is not None
    assert first == again
    assert 0 <= first.low < probability_of_improvement(RUNS, OTHERS) < first.high <= 1


def test_a_single_seed_has_no_interval() -> None:
    assert bootstrap(interquartile_mean, [RUNS[0], np.array([1.0])]) is None
