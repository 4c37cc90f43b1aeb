"""Draws of whole groups: images of one patient, frames of one film.

A group is drawn with its rarest class. So with groups of one class each class is drawn by itself, as without
groups; a group of several classes stays whole, and is counted for all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.splits.order import Index, Labels, permute

LABELLED = ("train", "val")  # the splits whose labels count as one pool, one after the other
Pair = tuple[Index, Index]
ALWAYS_FIT = -1  # instead of a fold


@dataclass(frozen=True)
class Grouping:
    """The labelled images in groups.

    Args:
        rows: (n,), of the images that have a label, ascending.
        of: (n,), the group of each, counted from 0 in the order in which they appear.
        classes: of each group its classes, and how many images it has of each.
        strata: by class the groups of which it is the rarest one, in their seeded order; rare classes first.
    """

    rows: Index
    of: Index
    classes: Sequence[Mapping[int, int]]
    strata: Mapping[int, Index]

    @cached_property
    def sizes(self) -> Index:
        """How many labelled images each group has."""
        return np.bincount(self.of, minlength=len(self.classes))

    @cached_property
    def images(self) -> Counter[int]:
        """How many images each class has."""
        images: Counter[int] = Counter()
        for classes in self.classes:
            images.update(classes)
        return images

    @cached_property
    def groups(self) -> Counter[int]:
        """How many groups each class is in."""
        return Counter(label for classes in self.classes for label in classes)

    def select(self, groups: Labels) -> Index:
        """Return the images, ascending, of some groups, by their numbers."""
        return self.rows[np.isin(self.of, groups)]


def labelled_splits(splits: Collection[str]) -> tuple[str, ...]:
    """Return which of a dataset's splits make up the pool, in its order."""
    return tuple(split for split in LABELLED if split in splits)


def pool_groups(data: Any) -> Index | None:
    """Return the groups of all images of train and val of a dataset, (n,); none where each stands alone."""
    parts = [data.groups(split) for split in labelled_splits(data.splits)]
    if any(part is None for part in parts):
        return None
    return np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])


def number_groups(groups: Labels) -> Index:
    """Return the groups, (n,), counted from 0 in the order in which they appear."""
    _, first, of = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first, kind="stable"), kind="stable")[of].astype(np.int64)


def group_images(labels: Labels, groups: Labels, seed: int, purpose: str) -> Grouping:
    """Return the labelled images in groups, whose order is seeded.

    Args:
        labels: (n,), -1 where there is none.
        groups: (n,), of each image.
        seed: of the order.
        purpose: what the order is for; two purposes draw apart.
    """
    rows = np.flatnonzero(labels >= 0)
    of = number_groups(groups[rows])
    classes: list[dict[int, int]] = [{} for _ in range(int(of.max(initial=-1)) + 1)]
    pairs, counts = np.unique(np.stack([of, labels[rows]]), axis=1, return_counts=True)
    for group, label, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        classes[group][label] = count
    images = np.bincount(labels[rows])
    rarity = {int(label): (int(images[label]), int(label)) for label in np.flatnonzero(images)}
    rarest = np.array([min(some, key=rarity.__getitem__) for some in classes], dtype=np.int64)
    strata = {}
    for label in sorted(set(rarest.tolist()), key=rarity.__getitem__):
        members = np.flatnonzero(rarest == label)
        strata[label] = members[permute(len(members), seed, purpose, label)]
    return Grouping(rows, of, classes, strata)


def group_shares(grouping: Grouping) -> NDArray[np.float64]:
    """Return the share of its stratum from which on each group is drawn, (groups,), in (0, 1).

    As many groups are drawn as come nearest to a share: one joins where its middle is reached.
    """
    shares = np.zeros(len(grouping.classes))
    for members in grouping.strata.values():
        sizes = grouping.sizes[members]
        ends = sizes.cumsum()
        shares[members] = (2 * ends - sizes) / (2 * ends[-1])
    return shares


def grouped_subset(
    grouping: Grouping, fraction: float, *, keep_one: bool = False
) -> tuple[Index, dict[int, float]]:
    """Return the images, ascending, of a share of each stratum, and the classes that get none of them.

    Args:
        grouping: in an order for subsets.
        fraction: in (0, 1].
        keep_one: a class that gets none of them gets the first of its groups.

    Returns:
        The images; and by each class without one the smallest fraction, to four digits, that gives it one.
    """
    shares = group_shares(grouping)
    drawn = np.flatnonzero(shares <= fraction)
    present = {label for group in drawn.tolist() for label in grouping.classes[group]}
    least: dict[int, float] = {}
    for group, classes in enumerate(grouping.classes):
        for label in classes.keys() - present:
            least[label] = min(least.get(label, 1.0), float(shares[group]))
    if keep_one and least:
        return _add_first_groups(grouping, drawn, least, shares), {}
    return grouping.select(drawn), {label: _just_above(least[label]) for label in sorted(least)}


def _add_first_groups(
    grouping: Grouping, drawn: Index, least: Mapping[int, float], shares: NDArray[np.float64]
) -> Index:
    """Return the images of the groups that are drawn, and of the first group of each class without one.

    Args:
        grouping: in an order for subsets.
        drawn: the groups.
        least: by each class without a group among them, the share of the first that it is in.
        shares: (groups,), of each.
    """
    first = [
        group
        for group, classes in enumerate(grouping.classes)
        if any(shares[group] == least[label] for label in classes.keys() & least.keys())
    ]
    return grouping.select(np.array([*drawn.tolist(), *first], dtype=np.int64))


def _just_above(share: float) -> float:
    unit = 10.0 ** (3 - math.floor(math.log10(share)))
    return (math.floor(share * unit) + 1) / unit


def grouped_holdout(grouping: Grouping, share: float) -> Pair:
    """Return the images, ascending, to fit on and those held out, of about a share of each class.

    Every class keeps a group to fit on. Where it has two, one is held out; groups of several classes can
    make that impossible.

    Args:
        grouping: in an order for this purpose.
        share: of each class, in (0, 1).
    """
    held: set[int] = set()
    images: Counter[int] = Counter()  # that are held out, of each class
    left = grouping.groups.copy()  # to fit on

    def hold(group: int) -> None:
        held.add(group)
        images.update(grouping.classes[group])
        left.subtract(grouping.classes[group].keys())

    def can_hold(group: int) -> bool:
        return group not in held and all(left[label] > 1 for label in grouping.classes[group])

    for label, members in grouping.strata.items():
        for group in members.tolist():
            missing = share * grouping.images[label] - images[label]
            if 2 * missing > grouping.classes[group][label] and can_hold(group):
                hold(group)
    for label in sorted(grouping.groups):
        if not images[label]:
            of_class = [group for group, classes in enumerate(grouping.classes) if label in classes]
            smallest = min(filter(can_hold, of_class), key=grouping.sizes.__getitem__, default=None)
            if smallest is not None:
                hold(smallest)
    fit = [group for group in range(len(grouping.classes)) if group not in held]
    return grouping.select(np.array(fit)), grouping.select(np.array(sorted(held)))


def grouped_folds(grouping: Grouping, count: int) -> tuple[Pair, ...]:
    """Return pairs (fit, val) of images, each group in at most one val part, classes shared out evenly.

    Each class of a val part is in its fit part: a class of one group is never in a val part.

    Args:
        grouping: in an order for folds.
        count: of folds, at least 2; fewer come out where groups of several classes leave one empty.
    """
    fold = np.array(_deal(grouping, count))
    filled = [k for k in range(count) if (fold == k).any()]
    return tuple(
        (grouping.select(np.flatnonzero(fold != k)), grouping.select(np.flatnonzero(fold == k)))
        for k in filled
    )


def _deal(grouping: Grouping, count: int) -> list[int]:
    """Return the fold of each group: the one that has least of its classes, then the smallest."""
    fold = [ALWAYS_FIT] * len(grouping.classes)
    images = [Counter[int]() for _ in range(count)]
    places: dict[int, set[int]] = {label: set() for label in grouping.groups}
    undealt = grouping.groups.copy()
    for members in grouping.strata.values():
        # large ones first, as the small ones even out; those about as large stay in their seeded order
        for group in sorted(members.tolist(), key=lambda g: -int(grouping.sizes[g]).bit_length()):
            classes = grouping.classes[group]
            fullness = [_fullness(part, classes, grouping.images) for part in images]
            allowed = [k for k in range(count) if not _empties_fit(k, classes, undealt, places)]
            if allowed:
                fold[group] = min(allowed, key=fullness.__getitem__)
                images[fold[group]].update(classes)
            undealt.subtract(classes.keys())
            for label in classes:
                places[label].add(fold[group])
    return fold


def _fullness(fold: Counter[int], classes: Mapping[int, int], images: Counter[int]) -> tuple[float, int]:
    """Return how much a fold has of what a group would bring, by class, and how many images in all."""
    return sum(count * fold[label] / images[label] for label, count in classes.items()), fold.total()


def _empties_fit(
    k: int, classes: Mapping[int, int], undealt: Counter[int], places: Mapping[int, set[int]]
) -> bool:
    """Tell whether a group in fold `k` would leave one of its classes without a group outside of it."""
    return any(undealt[label] == 1 and places[label] <= {k} for label in classes)


def first_groups(grouping: Grouping, most: int) -> tuple[Index, int]:
    """Return the images of as many groups as hold at most `most`, and how many give every class one.

    The first group of each stratum comes first, then each stratum in proportion: what a smaller number
    gives is among what a larger one gives.
    """
    shares = group_shares(grouping)
    shares[[members[0] for members in grouping.strata.values()]] = 0
    turn = np.argsort(shares, kind="stable")
    ends = grouping.sizes[turn].cumsum()
    seen: set[int] = set()
    position = -1
    while len(seen) < len(grouping.groups):
        position += 1
        seen |= grouping.classes[turn[position]].keys()
    return grouping.select(turn[ends <= most]), int(ends[position])
