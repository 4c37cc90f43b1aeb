"""Aggregate scores over data sets, with what their seeds say of how far that can be believed.

A method's runs are a list with an array for each data set: the scores of its seeds, (n,), or of `count`
resamples of them, (count, n). Each data set weighs alike, however many seeds it has.

normalised score             (score - floor) / (ceiling - floor), by two references of the data set
IQM                          the mean of the middle half of all runs of all data sets
probability of improvement   mean over data sets of P(X > Y) + P(X = Y) / 2, over pairs of runs
performance profile          the share of runs above a score, as a function of it

Intervals are percentiles of a stratified bootstrap: runs are drawn anew within each data set.

Source: Agarwal et al. 2021, arXiv:2108.13264, and their library rliable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Runs = Sequence[Array]

CONFIDENCE = 0.95
RESAMPLES = 2_000  # our choice: the ends of an interval are then right to 2 % of its length
AT_ONCE = 1_000  # resamples that are in memory together
TRIMMED = 0.25  # of the runs, at either end


class Interval(NamedTuple):
    """Its two ends, each a number or, of a profile, an array."""

    low: Array
    high: Array


def normalise(scores: Array, floor: float, ceiling: float) -> Array:
    """Return scores on the scale on which `floor` is 0 and `ceiling` is 1, whichever way is better.

    Raises:
        ValueError: floor and ceiling are one.
    """
    if floor == ceiling:
        raise ValueError(f"floor and ceiling are both {floor}")
    return (scores - floor) / (ceiling - floor)


def interquartile_mean(runs: Runs) -> Array:
    """Return the mean of the middle half of all runs, (...,).

    Args:
        runs: of a method, (..., n) for each data set.
    """
    pooled = np.sort(_pool(runs), axis=-1)
    cut = int(TRIMMED * pooled.shape[-1])  # as scipy's and so rliable's
    means: Array = pooled[..., cut : pooled.shape[-1] - cut].mean(axis=-1)
    return means


def probability_of_improvement(runs: Runs, others: Runs) -> Array:
    """Return how probably a run of one method is better than one of another, on a random data set, (...,).

    Args:
        runs: of the one, (..., n) for each data set; more is better.
        others: of the other, (..., m) for each data set.
    """
    shares = []
    for own, other in zip(runs, others, strict=True):
        difference = own[..., :, None] - other[..., None, :]
        shares.append(((difference > 0) + 0.5 * (difference == 0)).mean(axis=(-2, -1)))
    means: Array = np.mean(shares, axis=0)
    return means


def performance_profile(runs: Runs, thresholds: Array) -> Array:
    """Return the share of runs above each threshold, (..., t).

    Args:
        runs: of a method, (..., n) for each data set.
        thresholds: (t,).
    """
    shares = [(own[..., None, :] > thresholds[:, None]).mean(axis=-1) for own in runs]
    means: Array = np.mean(shares, axis=0)
    return means


def bootstrap(
    statistic: Callable[..., Array], *methods: Runs, resamples: int = RESAMPLES, level: float = CONFIDENCE
) -> Interval | None:
    """Return the interval of a statistic; none where any data set has a single run.

    Args:
        statistic: of the runs of one method or several, as above.
        methods: the runs of each.
        resamples: how many are drawn, from a fixed seed.
        level: of confidence.
    """
    if any(len(own) < 2 for runs in methods for own in runs):
        return None
    values = np.concatenate([statistic(*drawn) for drawn in _draw(methods, resamples)])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(low, high)


def _pool(runs: Runs) -> Array:
    """Return all runs side by side, those of a data set repeated until each data set has as many."""
    common = math.lcm(*(own.shape[-1] for own in runs))
    return np.concatenate([np.repeat(own, common // own.shape[-1], axis=-1) for own in runs], axis=-1)


def _draw(methods: Sequence[Runs], resamples: int) -> Iterator[list[Runs]]:
    """Yield resamples of the runs of each method, some at a time, (some, n) for each data set."""
    random = np.random.default_rng(0)
    for start in range(0, resamples, AT_ONCE):
        some = min(AT_ONCE, resamples - start)
        yield [[own[random.integers(len(own), size=(some, len(own)))] for own in runs] for runs in methods]
