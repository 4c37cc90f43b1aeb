"""Combine the parts of a variance that are known from samples of different sizes.

An accuracy over a few seeds and many test images varies with both. The part of the seeds is estimated from
two or three values, the part of the images from thousands; each is held against its own Student quantile:

    half width^2 = sum over parts of t(freedom)^2 * variance

That is conservative whatever the true variances are. Approximations with one number of degrees of freedom
(Welch, Satterthwaite) reject too often where one part has few and another many: `docs/statistics.md` has the
levels.

Source: Banerjee 1960, Sankhya 22, 357-358.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

LEVEL = 0.05
LEAST_P = 1e-100  # what is below it is said to be this


class Part(NamedTuple):
    """What one source adds to the variance of an estimate.

    Args:
        variance: at least 0.
        freedom: the degrees of freedom it is estimated with; infinite where it is a bound.
    """

    variance: float
    freedom: float


def find_half_width(parts: Sequence[Part], level: float = LEVEL) -> float:
    """Return how far from an estimate its interval goes, to either side.

    Args:
        parts: of the estimate's variance.
        level: one less the confidence, two-sided.
    """
    return math.hypot(*(_quantile(part.freedom, level) * math.sqrt(part.variance) for part in parts))


def find_p(difference: float, parts: Sequence[Part]) -> float:
    """Return the two-sided p of a difference from 0: the level at which its interval ends there.

    Args:
        difference: the estimate.
        parts: of its variance.
    """
    from scipy.optimize import brentq

    if difference == 0 or find_half_width(parts, 1 - 1e-12) >= abs(difference):
        return 1.0
    if find_half_width(parts, LEAST_P) <= abs(difference):
        return LEAST_P

    def excess(log_level: float) -> float:
        return find_half_width(parts, math.exp(log_level)) - abs(difference)

    return math.exp(brentq(excess, math.log(LEAST_P), math.log(1 - 1e-12), xtol=1e-9))


def _quantile(freedom: float, level: float) -> float:
    from scipy.special import ndtri, stdtrit  # with scipy.stats a table took seconds

    return -float(ndtri(level / 2) if math.isinf(freedom) else stdtrit(freedom, level / 2))
