"""Bound a share by an interval that stays within 0 and 1.

Wilson's interval holds all shares p for which the observed one is no further off than z standard errors at p,

    (share - p)^2 <= k p (1 - p)          k = z^2 / n

Where the share is a mean over seeds, too, its variance is not p (1 - p) / n. It then counts as if it were of
as many images as would make it vary so much: k = half width^2 / (share (1 - share)).

Source: Wilson 1927; with an effective number, Korn & Graubard 1998, Dean & Pagano 2015 (for clusters).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from bench.statistics.parts import LEVEL, Part, find_half_width


class Interval(NamedTuple):
    """The ends of an interval."""

    low: float
    high: float


def wilson(right: float, n: int, level: float = LEVEL) -> Interval:
    """Return Wilson's interval of a share.

    Args:
        right: how many of the images are right; a mean over seeds need not be whole.
        n: the number of images, at least 1.
        level: one less the confidence, two-sided.
    """
    return _solve(right / n, _of_images(n, level))


def bound_share(share: float, parts: list[Part], n: int, level: float = LEVEL) -> Interval:
    """Return the interval of a share whose variance has the parts that are given.

    Args:
        share: the mean, in [0, 1].
        parts: of its variance.
        n: the number of images; of them alone is the interval of a share that has no variance, 0 or 1.
        level: one less the confidence, two-sided.
    """
    variance = share * (1 - share)
    half_width = find_half_width(parts, level)
    if variance <= 0 or half_width == 0:
        return wilson(share * n, n, level)
    return _solve(share, half_width**2 / variance)


def bound_mean(mean: float, parts: list[Part], level: float = LEVEL) -> Interval:
    """Return the interval of a mean that may be any number."""
    half_width = find_half_width(parts, level)
    return Interval(mean - half_width, mean + half_width)


def _of_images(n: int, level: float) -> float:
    return find_half_width([Part(1 / n, math.inf)], level) ** 2


def _solve(share: float, k: float) -> Interval:
    centre = (share + k / 2) / (1 + k)
    half = math.sqrt(k * share * (1 - share) + k**2 / 4) / (1 + k)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))
