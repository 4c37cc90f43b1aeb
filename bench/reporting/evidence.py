"""Find what is known of a cell beyond its mean: its counts, its predictions, and the interval they support.

| the cell has | its interval | of what it tells |
|---|---|---|
| one seed, a share of right answers | Wilson's | of other test images for this network |
| several seeds, predictions stored | over seeds and images | of other seeds and other images |
| several seeds, a share without predictions | the same, at the most that the counts allow | the same |
| several seeds of any other metric | t over seeds | of other seeds on these images |
| one seed of any other metric | none | |
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.reporting.metric_choice import COSTS, GAP, is_in_percent
from bench.reporting.pivot import SeedGroup
from bench.statistics.crossed import Judged, judge, split_mean, split_seeds
from bench.statistics.intervals import bound_mean, bound_share, wilson
from bench.statistics.parts import Part
from bench.statistics.per_image import mark_right, weigh_by_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.storage.predictions import Predictions

ReadPredictions = Callable[[str], "Predictions | None"]

COUNTED = re.compile(r"top[0-9]+")  # metrics that are a share of the test images
BY_IMAGE = {"top1": mark_right, "balanced_accuracy": weigh_by_class}  # metrics that predictions tell
ROUNDING = 1e-6  # percent, of a share

WILSON = "Wilson over test images"
IMAGES = "over test images"
BOTH = "over seeds and test images"
BOTH_BY_COUNTS = "over seeds and test images, at the worst of the counts"
SEEDS = "t over seeds alone"


class Bounds(NamedTuple):
    """The ends of a cell's 95 % interval in the metric's unit, and how they were found."""

    low: float
    high: float
    how: str


class Evidence:
    """What is known of a cell.

    Args:
        group: the cell.
        read: returns the predictions of a score's key, none where they are not stored; called when asked for.
    """

    def __init__(self, group: SeedGroup, read: ReadPredictions) -> None:
        self.group, self._read = group, read

    @cached_property
    def records(self) -> tuple[Mapping[str, Any], ...]:
        """The records that have the metric, one a seed."""
        metric = self.group.metric
        return tuple(p.record for p in self.group.points if metric in (p.record.get("metrics") or {}))

    @cached_property
    def test_set(self) -> tuple[Any, ...] | None:
        """What cells of the same test images have in common; none where the seeds do not agree on it."""
        found = set()
        for record in self.records:
            data = (record.get("config") or {}).get("eval_dataset") or {}
            classes = data.get("classes")  # a fingerprint is of all images, whichever classes are used
            chosen = json.dumps(classes) if classes else ""
            found.add((record["metrics"][self.group.metric].get("n"), data.get("fingerprint"), chosen))
        return found.pop() if len(found) == 1 else None

    @cached_property
    def counts(self) -> tuple[int, ...] | None:
        """How many of the test images each seed gets right; none where the metric counts none."""
        n = (self.test_set or (0,))[0] or 0
        if not n or not COUNTED.fullmatch(self.group.metric):
            return None
        values = [record["metrics"][self.group.metric]["value"] for record in self.records]
        if not all(0 <= value <= 100 for value in values):  # nor one that is no number
            return None
        counts = tuple(round(value * n / 100) for value in values)
        off = (abs(100 * count / n - value) for count, value in zip(counts, values, strict=True))
        return counts if all(one <= ROUNDING for one in off) else None

    @property
    def n(self) -> int:
        """The number of test images; 0 where it is not known."""
        return int((self.test_set or (0,))[0] or 0)

    @cached_property
    def predictions(self) -> tuple[Predictions, ...] | None:
        """What each seed predicted, if that is stored, of the same images, and what the records say of it."""
        value_of = BY_IMAGE.get(self.group.metric)
        if value_of is None or not self.n:
            return None
        found: list[Predictions] = []
        for record in self.records:
            one = self._read(record["keys"]["score"])
            if one is None or len(one.labels) != self.n:
                return None
            if found and not np.array_equal(found[0].labels, one.labels):
                return None
            stated = record["metrics"][self.group.metric]["value"]
            if not is_as_stated(value_of(one.labels, one.predicted), stated):
                return None
            found.append(one)
        return tuple(found) or None

    @cached_property
    def judged(self) -> Judged | None:
        """What its seeds get of each test image; none without predictions."""
        return judge(self.values) if self.predictions else None

    @property
    def values(self) -> NDArray[np.float64]:
        """(seeds, n), what each seed gets of each test image; there must be predictions."""
        value_of = BY_IMAGE[self.group.metric]
        return np.stack([value_of(one.labels, one.predicted) for one in self.predictions or ()])

    @property
    def labels(self) -> NDArray[np.int32]:
        """(n,), the class of each test image; there must be predictions."""
        return (self.predictions or ())[0].labels

    @cached_property
    def bounds(self) -> Bounds | None:
        """The 95 % interval of the cell; none where nothing is known of its uncertainty."""
        mean = self.group.mean
        if mean is None or not math.isfinite(mean) or self.group.metric in COSTS:
            return None
        if self.counts and self.group.n == 1:
            low, high = wilson(self.counts[0], self.n)
            return Bounds(100 * low, 100 * high, WILSON)
        if self.judged:
            low, high = bound_share(self.judged.mean, split_mean(self.judged), self.n)
            return Bounds(100 * low, 100 * high, BOTH if self.group.n > 1 else IMAGES)
        if self.counts:
            share = mean / 100
            parts = [self.split_seeds(0.01), Part(share * (1 - share) / self.n, math.inf)]
            low, high = bound_share(share, parts, self.n)
            return Bounds(100 * low, 100 * high, BOTH_BY_COUNTS)
        return self._bound_by_seeds(mean)

    def split_seeds(self, unit: float = 1.0) -> Part:
        """Return the part that its seeds, at least two, have in the variance of its mean.

        Args:
            unit: what a value of 1 is to be.
        """
        return split_seeds([unit * value for value in self.group.by_seed.values()])

    def _bound_by_seeds(self, mean: float) -> Bounds | None:
        part = self.split_seeds() if self.group.n > 1 else None
        if part is None or part.variance == 0:  # numbers that no seed changes are no sample of seeds
            return None
        low, high = bound_mean(mean, [part])
        if is_in_percent(self.group.metric) and self.group.metric != GAP:
            low, high = max(0.0, low), min(100.0, high)
        return Bounds(low, high, SEEDS)


def is_as_stated(values: NDArray[np.float64], stated: float) -> bool:
    """Tell whether what predictions give each test image comes to the percentage that a record states."""
    return abs(100 * float(values.mean()) - stated) <= ROUNDING
