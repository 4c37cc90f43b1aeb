"""Which images are used for what: seeded, stratified, and independent of how they are asked for.

A class's images are put in an order fixed by (seed, purpose, class) and a part is the start of it.
So a smaller part lies inside a larger one, and no class's part depends on the other classes.
Where images are in groups, it is groups that are drawn: `bench.splits.grouped`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from bench.errors import BadValue, Unsupported
from bench.keys import KEY_LENGTH
from bench.splits.amounts import LabelAmount
from bench.splits.grouped import group_images, grouped_folds, grouped_holdout, grouped_subset
from bench.splits.order import Index, Labels, permute, sort_rows

HOLDOUT_FROM = 10_000  # labels from which one hold-out is precise enough; our choice
HOLDOUT_SHARE = 0.1  # BYOL, appendix D: 5,000 of CIFAR-10's 50,000
FOLDS = 5  # our choice
SHOWN = 3  # classes in an error


def stratified_order(labels: Labels, seed: int, purpose: str) -> dict[int, Index]:
    """Return each class's images in their seeded order.

    Args:
        labels: (n,), -1 where there is none.
        seed: of the order.
        purpose: what the order is for; two purposes draw apart.
    """
    by_class = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[by_class], return_index=True)
    groups = np.split(by_class, starts)[1:]
    return {
        int(label): group[permute(len(group), seed, purpose, int(label))]
        for label, group in zip(present, groups, strict=True)
        if label >= 0
    }


def pick_examples(labels: Labels, count: int, seed: int, purpose: str) -> Index:
    """Return a few images of as many classes as possible, in the order of their labels.

    Each class gives one image before any gives a second. Where no image has a label, any are taken.

    Args:
        labels: (n,), -1 where there is none.
        count: images that are wanted; fewer are returned where there are not as many.
        seed: of the draw.
        purpose: what they are for; two purposes draw apart.
    """
    orders = list(stratified_order(labels, seed, purpose).values())
    if not orders:
        return np.sort(permute(len(labels), seed, purpose)[:count])
    turns = np.concatenate([np.arange(len(order)) for order in orders])
    classes = np.repeat(permute(len(orders), seed, purpose, "classes"), list(map(len, orders)))
    index = np.concatenate(orders)[np.lexsort((classes, turns))][:count]
    return index[np.argsort(labels[index], kind="stable")]


def stratified_subset(
    labels: Labels,
    amount: LabelAmount | float,
    seed: int,
    where: str = "labels",
    names: Sequence[str] = (),
    groups: Labels | None = None,
) -> Index:
    """Return the images, ascending, of a share of each class, or of so many images of it.

    Args:
        labels: (n,), -1 where there is none: such an image is in no subset.
        amount: a fraction in (0, 1], of a class with n images round(fraction * n), or as near to that as
            whole groups come; or shots, so many images of every class.
        seed: of the draw; a smaller amount of the same seed lies inside a larger one.
        where: what an error starts with: the dataset's name.
        names: of the classes, for an error; without them it has their labels.
        groups: (n,), of images that stay together; none where each stands alone.

    Raises:
        BadValue: the fraction is outside (0, 1].
        Unsupported: a class has no image in it, or not as many as there are shots; or there are shots of
            images in groups.
    """
    if not isinstance(amount, LabelAmount):
        amount = LabelAmount(amount)
    fraction = amount.fraction
    if not 0 < fraction <= 1:
        raise BadValue(f"label fraction: {fraction:g} is out of range. Use more than 0 and at most 1.")
    if groups is not None:
        return _grouped_subset(labels, groups, amount, seed, where, names)
    orders = stratified_order(labels, seed, "subset")
    counts = {label: amount.count(len(order)) for label, order in orders.items()}
    empty = [label for label, count in counts.items() if not count]
    if empty:
        least = min(map(len, orders.values()))
        if amount.shots is not None:
            listed = some([names[label] if names else str(label) for label in empty])
            raise Unsupported(
                f"{where}: {amount.shots} shots are more than there are images of {listed}. "
                f"Use at most {least}."
            )
        why = f"the least class has {least}"
        raise _empty_class_error(fraction, empty, why, least_fraction(least), where, names)
    return sort_rows([order[: counts[label]] for label, order in orders.items()])


def _grouped_subset(
    labels: Labels, groups: Labels, amount: LabelAmount, seed: int, where: str, names: Sequence[str]
) -> Index:
    """Return what `stratified_subset` does, of whole groups."""
    if amount.shots is not None:
        raise Unsupported(
            f"{where}: groups of images stay whole, so there are no {amount.shots} shots. Use --label-frac."
        )
    rows, empty = grouped_subset(
        group_images(labels, groups, seed, "subset"), amount.fraction, keep_one=amount.keep_one
    )
    if empty:
        why, least = "groups of images stay whole", max(empty.values())
        raise _empty_class_error(amount.fraction, list(empty), why, least, where, names)
    return rows


def _empty_class_error(
    fraction: float, empty: Sequence[int], why: str, least: float, where: str, names: Sequence[str]
) -> Unsupported:
    """Return the error about a fraction that leaves classes without an image."""
    listed = some([names[label] if names else str(label) for label in empty])
    return Unsupported(
        f"{where}: a label fraction of {fraction:g} leaves {listed} without an image "
        f"({why}). Use --shots, --keep-one, or at least {least:g}."
    )


def least_fraction(count: int) -> float:
    """Return the smallest fraction, to three digits or four, that leaves a class of `count` one image.

    It is more than half an image, for `round` takes the half itself down to none.
    """
    unit: int = 10 ** (len(str(2 * count)) + 2)
    return (unit // (2 * count) + 1) / unit


def some(names: Sequence[str]) -> str:
    """Return the first names of classes, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def stratified_holdout(
    labels: Labels, share: float, seed: int, groups: Labels | None = None
) -> tuple[Index, Index]:
    """Return the images, ascending, to fit on and those held out.

    Each class gives round(share * n) images, at least one, and keeps at least one: a class with
    a single image holds none out. With groups it gives about as many, and at least one group.

    Args:
        labels: (n,), -1 where there is none: such an image is in neither part.
        share: of each class that is held out, in (0, 1).
        seed: of the draw.
        groups: (n,), of images that stay together; none where each stands alone.
    """
    if groups is not None:
        return grouped_holdout(group_images(labels, groups, seed, "holdout"), share)
    fit, held = [], []
    for order in stratified_order(labels, seed, "holdout").values():
        count = min(max(1, round(share * len(order))), len(order) - 1)
        held.append(order[:count])
        fit.append(order[count:])
    return sort_rows(fit), sort_rows(held)


def folds(labels: Labels, seed: int, groups: Labels | None = None) -> tuple[tuple[Index, Index], ...]:
    """Return the pairs (fit, val) of images to choose hyper-parameters on.

    That is one hold-out of a tenth from 10,000 labels on, and stratified cross-validation below:
    five folds, or fewer if no class has five images. Each class of a val part is in its fit part. With
    groups it is groups that are counted and dealt: none is in two val parts, or on both sides.

    Args:
        labels: (n,), -1 where there is none.
        seed: of the draw.
        groups: (n,), of images that stay together; none where each stands alone.

    Returns:
        Pairs of ascending indices; none if no class has two images, or two groups.
    """
    if groups is not None:
        return _grouped_folds(labels, groups, seed)
    orders = list(stratified_order(labels, seed, "folds").values())
    count = min(FOLDS, max(map(len, orders), default=0))
    if count <= 1:
        return ()
    if sum(map(len, orders)) >= HOLDOUT_FROM:
        return (stratified_holdout(labels, HOLDOUT_SHARE, seed),)
    return _deal(orders, count)


def _grouped_folds(labels: Labels, groups: Labels, seed: int) -> tuple[tuple[Index, Index], ...]:
    """Return what `folds` does, of whole groups."""
    grouping = group_images(labels, groups, seed, "folds")
    count = min(FOLDS, max(grouping.groups.values(), default=0))
    if count <= 1:
        return ()
    if len(grouping.rows) >= HOLDOUT_FROM:
        return (stratified_holdout(labels, HOLDOUT_SHARE, seed, groups),)
    return grouped_folds(grouping, count)


def index_digest(indices: Index) -> str:
    """Return the digest of `indices`, (n,), for a key: alike on every platform."""
    return hashlib.sha256(np.asarray(indices, dtype="<i8").tobytes()).hexdigest()[:KEY_LENGTH]


def _deal(orders: Sequence[Index], count: int) -> tuple[tuple[Index, Index], ...]:
    """Return the folds that dealing each class in turn gives, as cards to players."""
    images, fold = [], []
    dealt = 0  # each class goes on where the last one stopped, so that the folds are of one size
    for order in orders:
        single = len(order) == 1  # stays in every fit part
        images.append(order)
        fold.append(np.full(1, -1) if single else (dealt + np.arange(len(order))) % count)
        dealt += 0 if single else len(order)
    every, fold_of = np.concatenate(images), np.concatenate(fold)
    return tuple((np.sort(every[fold_of != k]), np.sort(every[fold_of == k])) for k in range(count))
