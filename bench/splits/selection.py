"""Which classes and images of a dataset are used."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from bench.config import setting
from bench.errors import BadData, BadValue, UnknownName, suggest
from bench.splits.stratified import Index, Labels, stratified_order

LABELLED = ("train", "val")  # the splits of the pool of labels, in its order
SELECTION_SEED = 0  # of max_train: the data does not change with the run's seed


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The settings that every dataset has: which of its images are used."""

    classes: tuple[str, ...] = setting((), "only these classes, labelled in this order; empty for all")
    max_train: int | None = setting(
        None, "at most this many training images, stratified, always the same ones", least=2
    )


def chosen_classes(names: Sequence[str], selection: Selection, where: str) -> tuple[str, ...]:
    """Return the names of the classes that are used, in the order of their labels.

    Args:
        names: of all classes the data has, in the order of its labels.
        selection: the dataset's settings.
        where: what an error starts with: the dataset's name.

    Raises:
        UnknownName: a class is asked for that the data does not have.
        BadValue: one class is asked for, or one of them twice, or fewer images than classes.
    """
    requested = selection.classes
    for name in requested:
        if name not in names:
            raise UnknownName(f"{where}: no class is named {name!r}.{suggest(name, names)}")
        if requested.count(name) > 1:
            raise BadValue(f"{where}.classes: {name!r} is there twice. Name each class once.")
    if len(requested) == 1:
        raise BadValue(f"{where}.classes: there is one class, {requested[0]!r}. Name at least two.")
    chosen = requested or tuple(names)
    if selection.max_train is not None and selection.max_train < len(chosen):
        raise BadValue(
            f"{where}.max_train: {selection.max_train} images cannot show {len(chosen)} classes. "
            f"Set it to at least {len(chosen)}."
        )
    return chosen


def choose(
    labels: Labels, names: Sequence[str], selection: Selection, where: str, split: str
) -> tuple[Index, Index]:
    """Return which images of a split are used, and their labels.

    Args:
        labels: (n,), in [0, len(names)).
        names: of all classes the data has.
        selection: the dataset's settings; its `max_train` is of the split `train` only.
        where: what an error starts with: the dataset's name.
        split: the name of the split.

    Returns:
        Ascending indices (m,), and labels (m,) that count in the order of the chosen classes.

    Raises:
        UnknownName: as `chosen_classes`.
        BadValue: as `chosen_classes`.
        BadData: a label is out of range.
    """
    refuse_outside(labels, len(names), where, split)
    label_of = {name: label for label, name in enumerate(chosen_classes(names, selection, where))}
    renamed = np.array([label_of.get(name, -1) for name in names], dtype=np.int64)[labels]
    index = np.flatnonzero(renamed >= 0)
    if split == "train" and selection.max_train is not None:
        index = index[_first(renamed[index], selection.max_train)]
    return index, renamed[index]


def labelled_splits(splits: Collection[str]) -> tuple[str, ...]:
    """Return which of a dataset's splits make up the pool of labels, in its order."""
    return tuple(split for split in LABELLED if split in splits)


def refuse_outside(labels: Labels, classes: int, where: str, split: str, least: int = 0) -> None:
    """Raise an error if a label, of (n,), is below `least` or is not below the number of classes.

    Raises:
        BadData: there is one.
    """
    outside = labels[(labels < least) | (labels >= classes)]
    if len(outside):
        raise BadData(
            f"{where}: a {split} label is {outside[0]}, but there are {classes} classes. "
            f"Use labels from 0 to {classes - 1}."
        )


def _first(labels: Index, most: int) -> Index:
    """Return at most `most` images, ascending: one a class first, then each class in proportion."""
    orders = stratified_order(labels, SELECTION_SEED, "max_train").values()
    ranks = [(np.arange(len(order)) > 0) * (np.arange(len(order)) + 0.5) / len(order) for order in orders]
    turn = np.argsort(np.concatenate(ranks), kind="stable")
    return np.sort(np.concatenate(list(orders))[turn[:most]])
