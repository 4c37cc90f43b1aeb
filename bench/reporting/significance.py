"""Tests of a difference between two cells, and what is left of them where a table has many cells.

McNemar compares two networks on the same test images by those that one of them alone gets right: under the
null hypothesis each is a coin toss. Welch compares two means over seeds. A shared number of a seed makes no
pair of two methods' trainings, so no test is paired over seeds.

Source: McNemar 1947, Dietterich 1998 (exact and two-sided); Welch 1947; Holm 1979.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

LEVEL = 0.05


def mcnemar(one_alone: int, other_alone: int) -> float:
    """Return the exact two-sided p of McNemar's test.

    Args:
        one_alone: how many test images the one classifier alone gets right.
        other_alone: how many the other alone gets right.
    """
    from scipy.special import bdtr  # binomial distribution; with scipy.stats a table took seconds

    tosses = one_alone + other_alone
    return min(1.0, 2 * float(bdtr(min(one_alone, other_alone), tosses, 0.5))) if tosses else 1.0


def bound_mcnemar(right: int, other_right: int, n: int) -> tuple[float, float]:
    """Return the least and the largest p that McNemar's test can have of two classifiers.

    At a given difference it grows with the number of images on which they disagree. That is known from their
    predictions alone; the counts bound it.

    Args:
        right: how many of the test images the one gets right.
        other_right: how many the other gets right.
        n: the number of test images.
    """
    most, least = min(right, other_right), max(0, right + other_right - n)  # that both get right
    agree, disagree = (mcnemar(right - both, other_right - both) for both in (most, least))
    return agree, disagree


def welch(values: Sequence[float], others: Sequence[float]) -> float | None:
    """Return the two-sided p of Welch's t-test; none where no value varies over seeds.

    Args:
        values: of the one, at least two.
        others: of the other, at least two.
    """
    from scipy.special import stdtr  # Student's distribution

    parts = [(variance(sample) / len(sample), len(sample) - 1) for sample in (values, others)]
    squared_error = sum(part for part, _ in parts)
    if squared_error == 0:
        return None
    freedom = squared_error**2 / sum(part**2 / own for part, own in parts)
    return 2 * float(stdtr(freedom, -abs(fmean(values) - fmean(others)) / math.sqrt(squared_error)))


def reject_by_holm(p_values: Sequence[float]) -> list[bool]:
    """Tell of each comparison with the best whether it is significant among all that could have been made.

    Which cell is the best is seen only in the data, so the family are the pairs of all cells, and not those
    with the best alone. Of the others no p is known: each is taken to come after those that are, which makes
    no difference significant that Holm over all pairs would not.

    Args:
        p_values: of the best and each other cell.
    """
    pairs = len(p_values) * (len(p_values) + 1) // 2
    rejected = [False] * len(p_values)
    for done, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] * (pairs - done) > LEVEL:
            break
        rejected[index] = True
    return rejected
