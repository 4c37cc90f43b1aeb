"""What a method answered on the test images: predictions by seed, and what is counted of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.metrics.calibration import bin_confidence
from bench.storage.predictions import Predictions

Counts = NDArray[np.int64]
Confidence = NDArray[np.float16]


@dataclass(frozen=True)
class Answers:
    """What one row of a table answered.

    Args:
        name: of the row.
        seeds: its predictions, a seed each; at least one.
        ece: the calibration error of each seed's record, in percent; empty where they have none.
    """

    name: str
    seeds: tuple[Predictions, ...]
    ece: tuple[float, ...] = ()

    @property
    def accuracy(self) -> float:
        """The share of right answers over all seeds, in percent."""
        return float(100 * np.mean([np.mean(right) for right in self.rights]))

    @property
    def confidences(self) -> tuple[Confidence, ...]:
        """How sure it was of each answer, a seed each; none at all unless every seed says so."""
        said = tuple(seed.confidence for seed in self.seeds if seed.confidence is not None)
        return said if len(said) == len(self.seeds) else ()

    @property
    def rights(self) -> tuple[NDArray[np.bool_], ...]:
        """Which answers are right, a seed each."""
        return tuple(seed.labels == seed.predicted for seed in self.seeds)

    @property
    def mean_ece(self) -> float:
        """The calibration error, in percent: the mean over seeds, of the records where they have it."""
        pairs = zip(self.confidences, self.rights, strict=True)
        return float(np.mean(self.ece or [bin_confidence(sure, right).ece for sure, right in pairs]))


def count_confusion(answers: Answers, classes: int) -> Counts:
    """Return how many images of each class were taken for which, summed over seeds.

    Returns:
        (classes, classes), int64: row is the class, column the predicted one.
    """
    total = np.zeros((classes, classes), dtype=np.int64)
    for seed in answers.seeds:
        pairs = seed.labels.astype(np.int64) * classes + seed.predicted
        total += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    return total


def recall_of(counts: Counts) -> NDArray[np.float64]:
    """Return the share of each class's images that are taken for it, in percent; nan where there is none."""
    rows = counts.sum(1).astype(np.float64)
    shares = np.divide(counts.diagonal(), rows, out=np.full(len(rows), np.nan), where=rows > 0)
    return np.asarray(100 * shares)
