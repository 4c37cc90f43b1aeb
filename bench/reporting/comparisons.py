"""Compare two cells of a task, by the test that their records and predictions support.

| both have | test | of what it tells |
|---|---|---|
| several seeds, predictions of the same images | t over seeds and images | of other seeds and other images |
| several seeds of a share, without predictions | the same, at the most that the counts allow | the same |
| several seeds of another metric | t over seeds | of other seeds on these images |
| the same networks, read in two ways | the same, of their differences seed by seed | the same |
| one seed, and a share of right answers | McNemar's, on the test images | of these two networks alone |
| one seed of another metric, predictions | t over images | of these two networks alone |
| anything else | none | |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.reporting.evidence import Evidence
from bench.statistics.crossed import judge, split_difference, split_mean, split_seeds
from bench.statistics.intervals import Interval
from bench.statistics.paired import bound_difference, bound_mcnemar, mcnemar
from bench.statistics.parts import LEVEL, Part, find_half_width, find_p

BOTH = "t over seeds and shared test images"
BOTH_BY_COUNTS = "t over seeds and the worst of the counts"
SEEDS = "t over seeds alone"
ANSWERS = "McNemar on one seed's test images"
COUNTS = "McNemar at the worst of one seed's counts"
IMAGES = "t over one seed's test images"
SAME = ", of the same networks"

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
        of_seeds: the parts that seeds have in the variance of the difference; none with one seed each.
        of_images: the part of the test images; none where they are taken as they are, and for McNemar's test.
    """

    p: float
    test: str | None
    difference: float = 0.0
    interval: Interval | None = None
    of_seeds: tuple[Part, ...] = ()
    of_images: Part | None = None


def compare(one: Evidence, other: Evidence, strictest: float | None = None) -> Comparison | str:
    """Return the comparison of two cells under one metric, or in a few words why there is none.

    Args:
        one: the one; predictions are read only where they can make a difference.
        other: the other.
        strictest: the smallest level that the p will be held against; none where the p itself is told.
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
    digits = one.group.decimals
    return f"{one.group.mean:.{digits}f}" == f"{other.group.mean:.{digits}f}"


def _compare_seeds(one: Evidence, other: Evidence) -> Comparison | str:
    if one.judged and other.judged:
        return _compare_judged(one, other, BOTH)
    means = [evidence.group.mean or 0.0 for evidence in (one, other)]
    difference, same = means[0] - means[1], _are_same_networks(one, other)
    if same:
        by_seed = other.group.by_seed
        of_seeds = [split_seeds([value - by_seed[seed] for seed, value in one.group.by_seed.items()])]
    else:
        of_seeds = [one.split_seeds(), other.split_seeds()]
    if one.counts and other.counts:  # at worst each has what the other lacks: the deviations add up
        errors = [math.sqrt(mean * (100 - mean) / one.n) for mean in means]
        of_images = Part(sum(errors) ** 2, math.inf)
        return _conclude(difference, of_seeds, of_images, BOTH_BY_COUNTS + SAME * same)
    if not any(part.variance for part in of_seeds):
        return NOTHING_VARIES
    return _conclude(difference, of_seeds, None, SEEDS + SAME * same)


def _are_same_networks(one: Evidence, other: Evidence) -> bool:
    """Tell whether each seed of the one has read the same trained network as that of the other."""
    networks = [
        {record["cell"]["seed"]: record["keys"].get("backbone") for record in cell.records}
        for cell in (one, other)
    ]
    return None not in networks[0].values() and networks[0] == networks[1]


def _compare_judged(one: Evidence, other: Evidence, test: str) -> Comparison | str:
    if one.judged is None or other.judged is None or not np.array_equal(one.labels, other.labels):
        return OTHER_IMAGES
    same = one.group.n > 1 and _are_same_networks(one, other)
    if same:  # the same seeds are then as much in both as the same images are
        parts = split_mean(judge(one.values - other.values))
    else:
        parts = split_difference(one.judged, other.judged)
    *of_seeds, of_images = (Part(100**2 * part.variance, part.freedom) for part in parts)
    difference = 100 * (one.judged.mean - other.judged.mean)
    return _conclude(difference, of_seeds, of_images, test + SAME * same)


def _conclude(difference: float, of_seeds: Sequence[Part], of_images: Part | None, test: str) -> Comparison:
    parts = [*of_seeds, *([of_images] if of_images else [])]
    half = find_half_width(parts, LEVEL)
    interval = Interval(difference - half, difference + half)
    return Comparison(find_p(difference, parts), test, difference, interval, tuple(of_seeds), of_images)


def _compare_answers(
    one: Evidence, other: Evidence, count: int, other_count: int, strictest: float | None
) -> Comparison | str:
    difference = 100 * (count - other_count) / one.n
    least, most = bound_mcnemar(count, other_count, one.n)
    if strictest is not None and (least > LEVEL or most <= strictest):  # whatever was predicted
        return Comparison(most, ANSWERS, difference)
    if one.judged is None or other.judged is None:
        return Comparison(most, COUNTS, difference)
    if not np.array_equal(one.labels, other.labels):
        return OTHER_IMAGES
    right, other_right = (judged.by_image > 0 for judged in (one.judged, other.judged))
    alone, other_alone = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    low, high = bound_difference(alone, other_alone, one.n)
    return Comparison(mcnemar(alone, other_alone), ANSWERS, difference, Interval(100 * low, 100 * high))
