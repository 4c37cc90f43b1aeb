"""Compare two classifiers, of one training each, on the same test images.

McNemar's test looks at the images that one of the two alone gets right: under the null hypothesis each is a
coin toss. It tells of these two networks: of other seeds it knows nothing.

Source: McNemar 1947, Dietterich 1998 (exact and two-sided); Bonett & Price 2012 (the interval); Cohen 1960
(kappa).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bench.statistics.intervals import Interval
from bench.statistics.parts import LEVEL, Part, find_half_width


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


def bound_difference(one_alone: int, other_alone: int, n: int, level: float = LEVEL) -> Interval:
    """Return the interval of the difference of two shares of the same images, one image added to either side.

    Args:
        one_alone: how many test images the one classifier alone gets right.
        other_alone: how many the other alone gets right.
        n: the number of test images.
        level: one less the confidence, two-sided.
    """
    one, other = (one_alone + 1) / (n + 2), (other_alone + 1) / (n + 2)
    variance = (one + other - (one - other) ** 2) / (n + 2)
    half = find_half_width([Part(variance, math.inf)], level)
    return Interval(max(-1.0, one - other - half), min(1.0, one - other + half))


def measure_agreement(one: NDArray[np.int32], other: NDArray[np.int32]) -> tuple[float, float]:
    """Return the share of the images of which two say the same, and Cohen's kappa.

    Args:
        one: (n,), the classes that the one predicts.
        other: (n,), those that the other predicts.

    Returns:
        The share, and kappa: what of it chance does not explain; 1 where both name one class throughout.
    """
    share = float((one == other).mean())
    classes = int(max(one.max(), other.max())) + 1
    counts = [np.bincount(predicted, minlength=classes) / len(one) for predicted in (one, other)]
    by_chance = float(counts[0] @ counts[1])
    return share, 1.0 if by_chance == 1 else (share - by_chance) / (1 - by_chance)
