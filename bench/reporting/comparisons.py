"""Compare the best cell of a task with the others, by the test that their records and predictions support.

| both have | test | of what it tells |
|---|---|---|
| several seeds | Welch's, over seeds | of trainings with other seeds, too |
| one seed, and a share of right answers | McNemar's, on the test images | of these two networks alone |
| anything else | none | |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.reporting.metric_choice import USUAL_METRIC
from bench.reporting.pivot import SeedGroup
from bench.reporting.significance import LEVEL, bound_mcnemar, mcnemar, welch

if TYPE_CHECKING:
    from bench.storage.predictions import Predictions

COUNTED = re.compile(r"top[0-9]+")  # metrics that are a share of the test images
ROUNDING = 1e-6  # percent, of a share

SEEDS = "Welch over seeds"
IMAGES = "McNemar on one seed's test images"
COUNTS = "McNemar at the worst of one seed's counts"

ReadPredictions = Callable[[str], "Predictions | None"]


@dataclass(frozen=True)
class Comparison:
    """The two-sided p of a difference, and the test that it is of; no test where both print alike."""

    p: float
    test: str | None


@dataclass(frozen=True)
class OneSeed:
    """The answers of a cell that has one seed.

    Args:
        right: how many of the test images it gets right.
        n: the number of test images.
        metric: the name of the share of right answers.
        record: the cell's.
    """

    right: int
    n: int
    metric: str
    record: Mapping[str, Any]

    @property
    def test_set(self) -> tuple[Any, ...]:
        """What two cells of the same test images have in common."""
        config = (self.record.get("config") or {}).get("eval_dataset") or {}
        return self.n, config.get("fingerprint")

    def read(self, read: ReadPredictions) -> Predictions | None:
        """Return what was predicted, if it is stored and is what the record says of it."""
        found = read(self.record["keys"]["score"]) if self.metric == USUAL_METRIC else None
        if found is None or len(found.labels) != self.n:
            return None
        return found if int((found.labels == found.predicted).sum()) == self.right else None


class Best:
    """The best cell of a task.

    Args:
        group: the cell.
        others: how many cells it is compared with.
        read: returns the predictions of a score's key; called only where they can make a difference.
    """

    def __init__(self, group: SeedGroup, others: int, read: ReadPredictions) -> None:
        self.group, self.read, self.one_seed = group, read, one_seed_of(group)
        self.strictest = LEVEL / (others * (others + 1) // 2)  # of any level that Holm asks for

    @cached_property
    def predictions(self) -> Predictions | None:
        """What it predicted, if that is stored."""
        return self.one_seed.read(self.read) if self.one_seed else None

    def compare(self, other: SeedGroup) -> Comparison | None:
        """Return the comparison with another cell; none where there is no test."""
        if _text(self.group) == _text(other):
            return Comparison(1.0, None)
        if min(self.group.n, other.n) > 1:
            p = welch(list(self.group.by_seed.values()), list(other.by_seed.values()))
            return None if p is None else Comparison(p, SEEDS)
        return self._compare_images(one_seed_of(other))

    def _compare_images(self, other: OneSeed | None) -> Comparison | None:
        own = self.one_seed
        if own is None or other is None or own.test_set != other.test_set:
            return None
        least, most = bound_mcnemar(own.right, other.right, own.n)
        if least > LEVEL or most <= self.strictest:  # whatever was predicted of which image
            return Comparison(most, IMAGES)
        predictions = self.predictions and other.read(self.read)
        if self.predictions is None or predictions is None:
            return Comparison(most, COUNTS)
        if not (self.predictions.labels == predictions.labels).all():
            return None
        right, other_right = (one.labels == one.predicted for one in (self.predictions, predictions))
        alone, other_alone = int((right & ~other_right).sum()), int((other_right & ~right).sum())
        return Comparison(mcnemar(alone, other_alone), IMAGES)


def one_seed_of(group: SeedGroup) -> OneSeed | None:
    """Return the answers of a cell; none where it has several seeds or its metric counts none."""
    if group.n != 1 or not COUNTED.fullmatch(group.metric):
        return None
    record = next(p.record for p in group.points if group.metric in (p.record.get("metrics") or {}))
    metric = record["metrics"][group.metric]
    n = metric.get("n") or 0
    right = round(metric["value"] * n / 100)
    if not n or abs(100 * right / n - metric["value"]) > ROUNDING:
        return None
    return OneSeed(right, n, group.metric, record)


def _text(group: SeedGroup) -> str:
    return f"{group.mean:.{group.decimals}f}"
