"""A dataset whose files are not here, as it is published: for a plan that makes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.contracts.dataset import DataLocation, Dataset, Images
from bench.contracts.dataset_info import DatasetInfo, PublishedData
from bench.errors import MissingData
from bench.splits.order import Index
from bench.splits.selection import Selection, choose, chosen_classes

ALL = "train and unlabelled"  # the split to pretrain on where there are images without a label


class AbsentData(Dataset):
    """What is known of published files that are not here; no image of them can be loaded.

    Args:
        name: the dataset's.
        config: its settings.
        about: what is known of it without the files.
        published: what they have.
    """

    def __init__(self, name: str, config: Any, about: DatasetInfo, published: PublishedData) -> None:
        super().__init__(name, config, DataLocation())
        self._published = published
        self._selection = config if isinstance(config, Selection) else Selection()
        classes = chosen_classes(published.classes, self._selection, name)
        self._info = replace(about, classes=classes, groups="")

    @property
    def info(self) -> DatasetInfo:
        """What is known without decoding."""
        return self._info

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there are."""
        return tuple(self._published.counts)

    @property
    def pretrain(self) -> str:
        """The split to pretrain on."""
        return ALL if self._published.unlabelled else "train"

    @property
    def found(self) -> str:
        """What is assumed, in one line."""
        counts = {split: sum(counts) for split, counts in self._published.counts.items()}
        parts = [f"{count:,} {split}" for split, count in counts.items()]
        if self._published.unlabelled:
            parts.append(f"{self._published.unlabelled:,} unlabelled")
        images = f"{', '.join(parts[:-1])} and {parts[-1]} images of {len(self._published.classes)} classes"
        unknown = "" if self._published.fingerprint else "; what was made of them before cannot be looked up"
        return f"its files are not here, so {images} are assumed, as published{unknown}"

    def fingerprint(self) -> str:
        """Return the digest of the published files, or a text that no digest is."""
        return self._published.fingerprint or "files that are not here"

    def labels(self, split: str) -> Sequence[int]:
        """Return as many labels of each class as are published."""
        if split == ALL:
            return [*self.labels("train"), *[-1] * self._published.unlabelled]
        counts = self._published.counts[split]
        every: Index = np.repeat(np.arange(len(counts)), counts)
        names = self._published.classes
        return [int(label) for label in choose(every, names, self._selection, self.name, split)[1]]

    def load(self, split: str) -> Images:
        """Refuse: there are no files.

        Raises:
            MissingData: always.
        """
        raise MissingData(f"{self.name}: its files are not here. Use --download.")
