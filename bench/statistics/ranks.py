"""Compare methods over data sets: their average ranks, and which differences so many data sets support.

average rank   R_j = mean over data sets of the rank of method j; 1 is the best, methods that tie share theirs
Friedman       12 N / (k (k + 1)) (sum_j R_j^2 - k (k + 1)^2 / 4), divided by what ties take from it
Nemenyi        two methods differ where |R_i - R_j| exceeds q sqrt(k (k + 1) / (6 N))
Wilcoxon       the signed ranks of the differences of two methods, each sign a coin toss

for k methods on N data sets. Nemenyi's verdict on two methods depends on which others are ranked beside them
(Benavoli 2016), Wilcoxon's on these two alone: differences are tested by Wilcoxon, ranks are the picture.

Source: Demsar 2006, JMLR 7; Benavoli, Corani and Mangili 2016, JMLR 17; Pratt 1959 (differences of zero).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.statistics.parts import LEVEL

Array = NDArray[np.float64]

PERMUTATIONS = 10_000  # our choice: a p of 0.05 is then right to 0.002
EXACT = 100  # differences up to which Wilcoxon's distribution is counted out; beyond, it is a normal one's
DECIMALS = 9  # of a difference: what floats make of equal ones is a tie


class Friedman(NamedTuple):
    """The statistic of Friedman's test, and its p among permutations of the ranks."""

    statistic: float
    p: float


def average_ranks(scores: Array) -> Array:
    """Return the average rank (k,) of each method; 1 is the best.

    Args:
        scores: (k, N), of k methods on N data sets; more is better.
    """
    ranks: Array = rank_each(scores).mean(axis=1)
    return ranks


def rank_each(scores: Array) -> Array:
    """Return the ranks (k, N) on each data set; ties share the mean of theirs.

    Args:
        scores: (k, N); more is better.
    """
    from scipy.stats import rankdata

    ranks: Array = rankdata(-np.round(scores, DECIMALS), axis=0)
    return ranks


def friedman(scores: Array) -> Friedman:
    """Test whether any method ranks otherwise than by chance.

    The p is of permutations of the ranks on each data set, drawn from a fixed seed: the chi-squared
    distribution is right for many data sets only.

    Args:
        scores: (k, N), k at least 2; more is better.
    """
    ranks = rank_each(scores)
    k, n = ranks.shape
    ties = sum(float(((counts := np.unique(column, return_counts=True)[1]) ** 3 - counts).sum())
               for column in ranks.T)  # fmt: skip
    spread = 1 - ties / (n * k * (k * k - 1))
    if spread <= 0:  # all tie everywhere
        return Friedman(0.0, 1.0)
    random = np.random.default_rng(0)
    sums = np.zeros((PERMUTATIONS, k))
    for column in ranks.T:
        sums += random.permuted(np.tile(column, (PERMUTATIONS, 1)), axis=1)
    own, others = (float(np.square(ranks.sum(axis=1)).sum()), np.square(sums).sum(axis=1))
    statistic = (12 / (n * k * (k + 1)) * own - 3 * n * (k + 1)) / spread
    as_large = int((others >= own * (1 - 1e-12)).sum())
    return Friedman(statistic, (1 + as_large) / (1 + PERMUTATIONS))


def nemenyi_difference(methods: int, datasets: int, level: float = LEVEL) -> float:
    """Return how far two average ranks must be apart for Nemenyi's test to tell the methods apart.

    Args:
        methods: how many are ranked, at least 2.
        datasets: how many they are ranked on.
        level: of the test, over all pairs.
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - level, methods, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * datasets))


def wilcoxon(differences: Array) -> float:
    """Return the two-sided p of Wilcoxon's signed ranks, given which differences tie.

    Differences of zero take their ranks and are then left out (Pratt).

    Args:
        differences: (N,), of two methods on each data set.
    """
    from scipy.stats import norm, rankdata

    differences = np.round(differences, DECIMALS)
    ranks = rankdata(np.abs(differences))[differences != 0]
    if not len(ranks):
        return 1.0
    doubled = np.rint(2 * ranks).astype(int)  # whole numbers, where ties share a rank
    positive = int(doubled[differences[differences != 0] > 0].sum())
    low = min(positive, int(doubled.sum()) - positive)
    if len(doubled) > EXACT:
        deviation = math.sqrt(float(np.square(doubled).sum()) / 4)
        return min(1.0, 2 * float(norm.cdf((low - doubled.sum() / 2) / deviation)))
    chances = np.ones(1)  # of each sum of the positive ranks
    for rank in doubled:
        with_next = np.zeros(len(chances) + rank)
        with_next[: len(chances)] = chances / 2
        with_next[rank:] += chances / 2
        chances = with_next
    return min(1.0, 2 * float(chances[: low + 1].sum()))


def least_wilcoxon_p(datasets: int) -> float:
    """Return the least p that Wilcoxon's test can have: of one method that is better on every data set."""
    return min(1.0, 2.0 ** (1 - datasets))


def datasets_needed(pairs: int, level: float = LEVEL) -> int:
    """Return how many data sets it takes for any of so many pairs to be significant by Wilcoxon and Holm."""
    return 1 + math.ceil(math.log2(pairs / level))


def join_alike(count: int, apart: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the stretches of methods, in the order of their ranks, of which no two are told apart.

    Args:
        count: of the methods, which are 0, 1, ... in the order of their ranks.
        apart: pairs (i, j), i < j, that are told apart.

    Returns:
        The first and the last of each stretch; none is within another.
    """
    stretches: list[tuple[int, int]] = []
    for first in range(count):
        last = first
        while last + 1 < count and not any((i, last + 1) in apart for i in range(first, last + 1)):
            last += 1
        if last > first and (not stretches or last > stretches[-1][1]):
            stretches.append((first, last))
    return stretches
