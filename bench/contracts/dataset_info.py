"""What is known of a dataset without decoding it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ROOT = "root"  # a setting of every dataset that says where it is, not what it is
NAME = "name"  # a setting of every dataset that says what people call it, not what it is


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What is known of a dataset without decoding it.

    Args:
        classes: the classes' names, in the order of their labels.
        channels: 1 or 3.
        size: native side in pixels; of mixed sizes, the side the images are loaded at.
        mean: a value a channel, in [0, 1]; none is measured on the training images.
        std: as `mean`.
        flip: a mirrored image keeps its label.
        colour: a changed colour keeps its label.
        groups: what images of one group share, in the plural, e.g. tracks or patients; empty where
            `Dataset.groups` gives none.
        notes: what a reader of a record must know, e.g. how a split was made.
        images: how many there are where `Batch.index` is a place. The harness fills it in where a method is
            planned and made; 0 is not counted, and a dataset leaves it so.
    """

    classes: tuple[str, ...]
    channels: int
    size: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    flip: bool = True
    colour: bool = True
    groups: str = ""
    notes: tuple[str, ...] = ()
    images: int = 0


@dataclass(frozen=True, kw_only=True)
class PublishedData:
    """What is published of a dataset's files, for a plan that is made without them.

    Args:
        classes: the names of all classes, in the order of their labels.
        counts: images of each class by split: `train`, `val` where there is one, and `test`.
        unlabelled: images without a label that are pretrained on beside `train`.
        fingerprint: what `Dataset.fingerprint` returns of the published files; empty if only they tell.
    """

    classes: Sequence[str]
    counts: Mapping[str, Sequence[int]]
    unlabelled: int = 0
    fingerprint: str = ""
