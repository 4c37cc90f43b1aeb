"""Find where two cells differ: how often they say the same, and on which classes and images they do not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.reporting.evidence import Evidence
from bench.statistics.paired import measure_agreement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.storage.predictions import Predictions

MOST_CLASSES = 3

Pair = tuple[Evidence, Evidence]


@dataclass(frozen=True)
class Agreement:
    """How often two networks say the same of an image, in percent, a mean over all pairs of seeds.

    Args:
        between: one of either cell.
        kappa: Cohen's, between -1 and 1: what of that chance does not explain.
        within: two seeds of one cell, for either cell; none where it has one seed.
    """

    between: float
    kappa: float
    within: tuple[float | None, float | None]


@dataclass(frozen=True)
class ClassDifference:
    """A class and its recall in either cell, in percent, a mean over seeds."""

    name: str
    recalls: tuple[float, float]


@dataclass(frozen=True)
class ImageDifference:
    """A test image on which two cells disagree.

    Args:
        index: in the test split.
        label: its class.
        right: the share of the seeds of either cell that get it right.
        said: what most seeds of either cell say.
    """

    index: int
    label: str
    right: tuple[float, float]
    said: tuple[str, str]


@dataclass(frozen=True)
class Disagreement:
    """What stored predictions tell of two cells.

    Args:
        agreement: how often they say the same.
        counts: how many images every seed of the one gets right and every seed of the other wrong, and back.
        images: those on which they disagree most, for either cell those that it rather gets right.
    """

    agreement: Agreement
    counts: tuple[int, int]
    images: tuple[tuple[ImageDifference, ...], tuple[ImageDifference, ...]]


def find_disagreement(cells: Pair, most: int) -> Disagreement | None:
    """Return where two cells disagree; none unless the predictions of both are stored, for the same images.

    Args:
        cells: the two.
        most: how many images are named for either cell.
    """
    one, other = (cell.predictions for cell in cells)
    if not one or not other or not np.array_equal(one[0].labels, other[0].labels):
        return None
    shares = [np.mean([p.labels == p.predicted for p in seeds], axis=0) for seeds in (one, other)]
    alone = [(own == 1) & (others == 0) for own, others in (shares, shares[::-1])]
    gains = (shares[0] - shares[1], shares[1] - shares[0])
    listed = [_list_images(gain, (one, other), shares, _name_classes(cells), most) for gain in gains]
    return Disagreement(
        _measure(one, other), (int(alone[0].sum()), int(alone[1].sum())), (listed[0], listed[1])
    )


def list_classes(cells: Pair) -> tuple[ClassDifference, ...]:
    """Return the classes whose recalls differ most; none where records have no recalls of the same ones."""
    names, recalls = _name_classes(cells), []
    for cell in cells:
        found = [(record.get("per_class") or {}).get("recall") for record in cell.records]
        known = [[float(recall) for recall in one] for one in found if one and len(one) == len(names)]
        if not known or len(known) < len(found):
            return ()
        recalls.append([_mean(of_class) for of_class in zip(*known, strict=True)])
    classes = [
        ClassDifference(name, (one, other))
        for name, one, other in zip(names, *recalls, strict=True)
        if not math.isnan(one - other)  # a class without a test image
    ]
    return tuple(sorted(classes, key=lambda c: -abs(c.recalls[0] - c.recalls[1]))[:MOST_CLASSES])


def _name_classes(cells: Pair) -> list[str]:
    return [str(name) for name in cells[0].records[0].get("classes") or ()] if cells[0].records else []


def _measure(one: Sequence[Predictions], other: Sequence[Predictions]) -> Agreement:
    between = [measure_agreement(a.predicted, b.predicted) for a, b in itertools.product(one, other)]
    within = [
        [100 * measure_agreement(a.predicted, b.predicted)[0] for a, b in itertools.combinations(seeds, 2)]
        for seeds in (one, other)
    ]
    first, second = (_mean(shares) if shares else None for shares in within)
    return Agreement(
        100 * _mean([share for share, _ in between]), _mean([k for _, k in between]), (first, second)
    )


def _list_images(
    gain: NDArray[np.float64],
    predictions: tuple[Sequence[Predictions], Sequence[Predictions]],
    shares: Sequence[NDArray[np.float64]],
    names: Sequence[str],
    most: int,
) -> tuple[ImageDifference, ...]:
    """Return the images with the largest gain, those of the same in the order of the test split."""

    def name(label: int) -> str:
        return names[label] if label < len(names) else str(label)

    def describe(index: int) -> ImageDifference:
        said = [name(int(np.bincount([p.predicted[index] for p in seeds]).argmax())) for seeds in predictions]
        label = int(predictions[0][0].labels[index])
        right = float(shares[0][index]), float(shares[1][index])
        return ImageDifference(index, name(label), right, (said[0], said[1]))

    order = np.argsort(-gain, kind="stable")[:most]
    return tuple(describe(int(index)) for index in order if gain[index] > 0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
