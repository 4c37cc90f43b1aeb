"""The bins of a reliability diagram: how sure a classifier is, and how often it is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15  # Guo 2017, section 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reliability:
    """Equal bins (lower, upper] of the confidence in the predicted class.

    Args:
        images: (bins,), how many fall into each.
        confidence: (bins,), their mean confidence, in percent; nan in an empty bin.
        accuracy: (bins,), the share of them that is right, in percent; nan in an empty bin.
    """

    images: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats

    @property
    def ece(self) -> float:
        """The expected calibration error, in percent. Source: Guo 2017, section 2, equation 3."""
        gaps = np.abs(np.nan_to_num(self.accuracy - self.confidence))
        return float((self.images * gaps).sum() / self.images.sum())


def bin_confidence(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = BINS
) -> Reliability:
    """Return the bins of a reliability diagram.

    Args:
        confidence: (n,), the probability of the predicted class, in [0, 1]; n is at least 1.
        right: (n,), whether that is the image's class.
        bins: number of bins.
    """
    sure = confidence.astype(np.float64)
    place = np.clip(np.ceil(sure * bins).astype(np.int64), 1, bins) - 1
    images = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=values, minlength=bins) for values in (sure, right)]
    with np.errstate(invalid="ignore"):
        means = [100 * values / images for values in sums]
    return Reliability(images, *means)
