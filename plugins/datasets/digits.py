"""Handwritten digits of 8x8 pixels, which come with scikit-learn: the run that needs no download.

Data: Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits", UCI; the 1,797 images
of `sklearn.datasets.load_digits`, which are the test part of the original. It has no split of its
own, so a fifth of each class, always the same, is the test split here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from bench.api import (
    BadData,
    DataLocation,
    Dataset,
    DatasetInfo,
    Images,
    Selection,
    choose,
    chosen_classes,
    stratified_holdout,
)

NAMES = tuple(map(str, range(10)))
TEST_SHARE = 0.2  # our choice
SPLIT_SEED = 0
BRIGHTEST = 16  # of the original: the count of set bits in a 4x4 block


class Digits(Dataset):
    """Grey digits, 8x8: about 1,437 to train on and 360 to test on."""

    Config: ClassVar[type] = Selection
    reference: ClassVar[str] = "Alpaydin and Kaynak 1998, UCI Optical Recognition of Handwritten Digits"

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        super().__init__(name, config, location)
        if location.root is not None:
            raise BadData(
                f"{name}: dataset.root is {location.root}, but these images come with scikit-learn. "
                "Leave it out, or choose --dataset image_folder."
            )
        self._classes = chosen_classes(NAMES, config, name)

    @classmethod
    def about(cls, config: Any) -> DatasetInfo:
        """Return `info` without classes and notes."""
        return DatasetInfo(classes=(), channels=1, size=8, flip=False, colour=False)

    @property
    def info(self) -> DatasetInfo:
        """What is known without decoding."""
        return replace(
            self.about(self.config),
            classes=self._classes,
            notes=("the test split is a fifth of each class, drawn with seed 0",),
        )

    def fingerprint(self) -> str:
        """Return the digest of all pixels and labels."""
        pixels, labels = self._all
        return hashlib.sha256(pixels.tobytes() + labels.astype("<i8").tobytes()).hexdigest()

    def labels(self, split: str) -> Sequence[int]:
        """Return the labels of `split`."""
        return [int(label) for label in self._choose(split)[1]]

    def load(self, split: str) -> Images:
        """Return the images of `split`."""
        index, labels = self._choose(split)
        return Images(torch.from_numpy(self._all[0][index]), torch.from_numpy(labels))

    @cached_property
    def _all(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        values, labels = load_digits(return_X_y=True)
        pixels = np.rint(values.reshape(-1, 1, 8, 8) * (255 / BRIGHTEST)).astype(np.uint8)
        return pixels, labels.astype(np.int64)

    def _choose(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        labels = self._all[1]
        train, test = stratified_holdout(labels, TEST_SHARE, SPLIT_SEED)
        part = {"train": train, "test": test}[split]
        index, chosen = choose(labels[part], NAMES, self.config, self.name, split)
        return part[index], chosen
