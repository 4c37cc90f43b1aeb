"""Say how many seeds it takes to show a difference, if it is as large as it was seen.

The test is that of `parts`. Its power is taken from the noncentral t distribution with the degrees of freedom
of Satterthwaite 1946, at the variances that were seen: of two or three seeds these are rough, and so is the
answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.statistics.parts import LEVEL, Part, find_half_width

POWER = 0.8  # Cohen 1988
MOST_SEEDS = 100
MANY = 1e6  # degrees of freedom that are as good as infinite


def find_power(difference: float, parts: list[Part]) -> float:
    """Return the probability that a difference of that size is found.

    Args:
        difference: the true one.
        parts: of the variance of its estimate.
    """
    from scipy.special import nctdtr

    variance = sum(part.variance for part in parts)
    if variance == 0:
        return float(difference != 0)
    roughness = sum(part.variance**2 / part.freedom for part in parts)
    freedom = min(variance**2 / roughness, MANY) if roughness else MANY
    error = math.sqrt(variance)
    needed, shift = find_half_width(parts, LEVEL) / error, abs(difference) / error
    return 1 - float(nctdtr(freedom, shift, needed))


def count_seeds(difference: float, seed_variances: Sequence[float], images: Part) -> int | None:
    """Return how many seeds of each of two cells show a difference with a power of 0.8.

    Args:
        difference: that was seen.
        seed_variances: of one seed of either cell; one, of differences, where the seeds are shared.
        images: the part of the test images, which stay the same.

    Returns:
        At least 2; none where 100 are not enough.
    """

    def suffices(seeds: int) -> bool:
        parts = [Part(variance / seeds, seeds - 1) for variance in seed_variances]
        return find_power(difference, [*parts, images]) >= POWER

    return next((seeds for seeds in range(2, MOST_SEEDS + 1) if suffices(seeds)), None)


def count_images(difference: float, images: Part, n: int) -> int:
    """Return how many test images show a difference with a power of 0.8 where seeds add nothing.

    Args:
        difference: that was seen, not 0.
        images: the part of the images now.
        n: the number of test images now.
    """
    from scipy.special import ndtri

    needed = float(ndtri(1 - LEVEL / 2) + ndtri(POWER))
    return math.ceil(n * images.variance * (needed / difference) ** 2)
