"""Take apart the variance of a mean over seeds and test images, and of the difference of two such means.

Every seed of a method is judged on the same test images: seeds and images are crossed. With y the values (1
where a seed gets an image right, or another score whose mean over images is the metric), S seeds, n images,

    residual      e   = sum (y - mean of the seed - mean of the image + mean)^2 / ((S-1)(n-1))
    seeds         V   = variance over seeds of their means / S                        S-1 degrees of freedom
    images        I   = variance over images of their means / n  -  e / (S n), >= 0   n-1

    mean                V + I
    difference          V_a + V_b + I of the images' differences  (their e / (S n) taken off, each)

The residual is in V and in the images' means, and so is taken off once. The seeds of two methods are not
paired: a number that two trainings share makes them no more alike. The images are: what is hard for one is
hard for the other, and cancels.

Source: the two-way layout of random effects without replicates, as in readings of the same cases by several
readers: Obuchowski & Rockette 1995; Hillis, Obuchowski & Berbaum 2011 (readers nested in the tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.statistics.parts import Part


class Judged(NamedTuple):
    """What seeds get of the same test images, summed up.

    Args:
        by_seed: (seeds,), the mean of each over the images.
        by_image: (images,), the mean of each over the seeds.
        residual: the variance that is of neither; 0 for one seed.
    """

    by_seed: NDArray[np.float64]
    by_image: NDArray[np.float32]
    residual: float

    @property
    def mean(self) -> float:
        """The mean over both."""
        return float(self.by_seed.mean())


def judge(values: NDArray[np.float64]) -> Judged:
    """Sum up the values of seeds on the same images.

    Args:
        values: (seeds, images), at least one of each; of shares 0 or 1.
    """
    by_seed, by_image = values.mean(1), values.mean(0)
    seeds, images = values.shape
    residual = 0.0
    if min(seeds, images) > 1:
        left = values - by_image - by_seed[:, None] + by_seed.mean()
        residual = float((left**2).sum()) / ((seeds - 1) * (images - 1))
    return Judged(by_seed, by_image.astype(np.float32), residual)


def split_mean(one: Judged) -> list[Part]:
    """Return the parts of the variance of a mean: of the seeds, if there are several, and of the images."""
    return [*_split_seeds(one), _split_images(one.by_image, [one])]


def split_difference(one: Judged, other: Judged) -> list[Part]:
    """Return the parts of the variance of the difference of two means over the same images."""
    return [
        *_split_seeds(one),
        *_split_seeds(other),
        _split_images(one.by_image - other.by_image, [one, other]),
    ]


def split_seeds(values: Sequence[float]) -> Part:
    """Return the part that the seeds have in the variance of their mean.

    Args:
        values: of each seed, at least two.
    """
    return Part(float(np.var(values, ddof=1)) / len(values), len(values) - 1)


def _split_seeds(one: Judged) -> list[Part]:
    return [split_seeds(one.by_seed)] if len(one.by_seed) > 1 else []  # type: ignore[arg-type]


def _split_images(values: NDArray[np.float32], sources: Sequence[Judged]) -> Part:
    images = len(values)
    residual = sum(one.residual / len(one.by_seed) for one in sources)
    variance = float(np.var(values, ddof=1, dtype=np.float64)) if images > 1 else 0.0
    return Part(max(0.0, variance - residual) / images, max(1, images - 1))
