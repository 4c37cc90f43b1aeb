"""Compare two cells of a task, by the test that their records and predictions support.

| both have | test | of what it tells |
|---|---|---|
| several seeds, predictions of the same images | t over seeds and images | of other seeds and other images |
| several seeds of a share, without predictions | the same, at the most that the counts allow | the same |
| several seeds of another metric | t over seeds | of other seeds on these images |
| one seed, and a share of right answers | McNemar's, on the test images | of these two networks alone |
| one seed of another metric, predictions | t over images | of these two networks alone |
| anything else | none | |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.reporting.evidence import Evidence
from bench.reporting.metric_choice import decimals_of
from bench.statistics.crossed import split_difference
from bench.statistics.intervals import Interval
from bench.statistics.paired import bound_difference, bound_mcnemar, mcnemar
from bench.statistics.parts import LEVEL, Part, find_half_width, find_p

BOTH = "t over seeds and shared test images"
BOTH_BY_COUNTS = "t over seeds and the worst of the counts"
SEEDS = "t over seeds alone"
ANSWERS = "McNemar on one seed's test images"
COUNTS = "McNemar at the worst of one seed's counts"
IMAGES = "t over one seed's test images"

ONE_BESIDE_SEVERAL = "one seed beside several"
ONE_SEED = "one seed"
OTHER_IMAGES = "other test images"
NOTHING_VARIES = "no seed changes a value"


@dataclass(frozen=True)
class Comparison:
    """What is known of the difference of two cells.

    Args:
        p: two-sided.
        test: that it is of; none where both print alike.
        difference: the one less the other, in the metric's unit.
        interval: of the difference, 95 %; none where only counts are known of one seed each.
        parts: of the variance of the difference, first those of the seeds; empty for McNemar's test.
    """

    p: float
    test: str | None
    difference: float = 0.0
    interval: Interval | None = None
    parts: tuple[Part, ...] = ()


def compare(one: Evidence, other: Evidence, strictest: float = 0.0) -> Comparison | str:
    """Return the comparison of two cells under one metric, or in a few words why there is none.

    Args:
        one: the one; predictions are read only where they can make a difference.
        other: the other.
        strictest: the smallest level that the p will be held against.
    """
    if one.test_set != other.test_set:
        return OTHER_IMAGES
    seeds = sorted((one.group.n, other.group.n))
    if seeds[0] > 1:
        return _compare_seeds(one, other)
    if seeds[1] > 1:
        return ONE_BESIDE_SEVERAL
    if one.counts and other.counts:
        return _compare_answers(one, other, one.counts[0], other.counts[0], strictest)
    if one.judged and other.judged:
        return _compare_judged(one, other, IMAGES)
    return ONE_SEED


def print_alike(one: Evidence, other: Evidence) -> bool:
    """Tell whether a table prints two cells as the same number."""
    digits = decimals_of(one.group.metric)
    return f"{one.group.mean:.{digits}f}" == f"{other.group.mean:.{digits}f}"


def _compare_seeds(one: Evidence, other: Evidence) -> Comparison | str:
    if one.judged and other.judged:
        return _compare_judged(one, other, BOTH)
    shares = [evidence.group.mean or 0.0 for evidence in (one, other)]
    parts = [one.split_seeds(), other.split_seeds()]
    if one.counts and other.counts:  # at worst each has what the other lacks: the deviations add up
        errors = [math.sqrt(share * (100 - share) / one.n) for share in shares]
        return _conclude(shares[0] - shares[1], [*parts, Part(sum(errors) ** 2, math.inf)], BOTH_BY_COUNTS)
    if not any(part.variance for part in parts):
        return NOTHING_VARIES
    return _conclude(shares[0] - shares[1], parts, SEEDS)


def _compare_judged(one: Evidence, other: Evidence, test: str) -> Comparison | str:
    if one.judged is None or other.judged is None or (one.labels != other.labels).any():  # type: ignore[union-attr]
        return OTHER_IMAGES
    parts = [
        Part(100**2 * part.variance, part.freedom) for part in split_difference(one.judged, other.judged)
    ]
    return _conclude(100 * (one.judged.mean - other.judged.mean), parts, test)


def _conclude(difference: float, parts: Sequence[Part], test: str) -> Comparison:
    half = find_half_width(parts, LEVEL)
    interval = Interval(difference - half, difference + half)
    return Comparison(find_p(difference, parts), test, difference, interval, tuple(parts))


def _compare_answers(
    one: Evidence, other: Evidence, count: int, other_count: int, strictest: float
) -> Comparison | str:
    difference = 100 * (count - other_count) / one.n
    least, most = bound_mcnemar(count, other_count, one.n)
    if least > LEVEL or most <= strictest:  # whatever was predicted of which image
        return Comparison(most, ANSWERS, difference)
    if one.judged is None or other.judged is None:
        return Comparison(most, COUNTS, difference)
    if (one.labels != other.labels).any():  # type: ignore[union-attr]
        return OTHER_IMAGES
    right, other_right = (judged.by_image > 0 for judged in (one.judged, other.judged))
    alone, other_alone = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    low, high = bound_difference(alone, other_alone, one.n)
    return Comparison(mcnemar(alone, other_alone), ANSWERS, difference, Interval(100 * low, 100 * high))
