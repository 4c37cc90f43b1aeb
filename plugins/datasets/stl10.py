"""STL-10: photographs of 96x96 pixels in 10 classes, 5,000 to train on, 8,000 to test on, 100,000 unlabelled.

Data: Coates, Ng and Lee 2011, "An analysis of single-layer networks in unsupervised feature learning".
torchvision downloads the archive; each file's MD5 is compared with the published one. Labels of
features are those of the 5,000, or of one of the ten published folds of 1,000 of them; methods without
labels are pretrained on the unlabelled images as well, some of which are of other classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torchvision.datasets.utils import check_integrity

from bench.api import (
    BadData,
    DataLocation,
    Dataset,
    DatasetInfo,
    Images,
    MissingData,
    PublishedData,
    Selection,
    choose,
    chosen_classes,
    digest,
    file_stamp,
    setting,
)

from .downloads import UNFETCHED, archive_parent, failed_download, unpacking
from .image_files.contents import refuse_changed
from .image_files.decoding import available_memory, refuse_too_large

SIDE = 96
IMAGE = 3 * SIDE * SIDE  # bytes
NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
ALL = "train+unlabeled"
SOURCE = torchvision.datasets.STL10


@dataclass(frozen=True, kw_only=True)
class Config(Selection):
    """Which of the images are used."""

    fold: int | None = setting(
        None, "published fold of 1,000 training images; none for all 5,000", least=0, most=9
    )
    unlabeled: bool = setting(
        default=True, doc="pretrain on the unlabelled images, too; max_train and classes leave them all"
    )


class STL10(Dataset):
    """Ten classes of animals and vehicles, 500 training images each, and many without a label."""

    Config: ClassVar[type] = Config
    reference: ClassVar[str] = "Coates et al. 2011, AISTATS, An analysis of single-layer networks"

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        super().__init__(name, config, location)
        self._root = archive_parent(location, SOURCE.base_folder)
        self._folder = self._root / SOURCE.base_folder
        self._classes = chosen_classes(NAMES, config, name)
        self._stamps: dict[Path, int] = {}
        self._fetch()
        self._refuse_other_classes()
        self._used = self._fold()
        self._labels = {split: self._read_labels(split) for split in self.splits}
        self._unlabeled = self._count("unlabeled")

    @property
    def pretrain(self) -> str:
        """The split to pretrain on."""
        return ALL if self.config.unlabeled else "train"

    @classmethod
    def about(cls, config: Any) -> DatasetInfo:
        """Return `info` without classes and notes; mean and deviation are of the 5,000 training images."""
        mean, std = (0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)
        return DatasetInfo(classes=(), channels=3, size=SIDE, mean=mean, std=std)

    @classmethod
    def published(cls, config: Any) -> PublishedData:
        """Return the images of each class; the digest of a fold is known from its file only."""
        counts = {"train": 500 if config.fold is None else 100, "test": 800}
        return PublishedData(
            classes=NAMES,
            counts={split: (count,) * len(NAMES) for split, count in counts.items()},
            unlabelled=100_000 if config.unlabeled else 0,
            fingerprint=_digest("") if config.fold is None else "",
        )

    @property
    def info(self) -> DatasetInfo:
        """What is known without decoding."""
        count = self._unlabeled
        notes = [f"pretraining uses the {count:,} unlabelled images, too"] if self.config.unlabeled else []
        if self.config.fold is not None:
            notes.append(f"the training images are the published fold {self.config.fold}")
        return replace(self.about(self.config), classes=self._classes, notes=tuple(notes))

    def fingerprint(self) -> str:
        """Return the digest of the published checksums, which the files were compared with, and the fold."""
        fold = "" if self._used is None else hashlib.sha256(self._used.astype("<i8").tobytes()).hexdigest()
        return _digest(fold)

    def content(self) -> str:
        """Return the digest of the published checksums, whatever the fold."""
        return _digest("")

    def labels(self, split: str) -> Sequence[int]:
        """Return the labels of `split`; of `train+unlabeled` they end in many -1."""
        labels = [int(label) for label in self._choose("train" if split == ALL else split)[1]]
        return labels + [-1] * self._unlabeled * (split == ALL)

    def load(self, split: str) -> Images:
        """Return the images of `split`: `train`, `test` or `train+unlabeled`."""
        labels = torch.tensor(self.labels(split), dtype=torch.int64)
        remedy = "Set dataset.unlabeled=false."
        refuse_too_large(len(labels), 3, SIDE, available_memory(), self.name, remedy)
        pixels = torch.empty((len(labels), 3, SIDE, SIDE), dtype=torch.uint8)
        index = self._choose("train" if split == ALL else split)[0]
        if split != "test" and self._used is not None:
            index = self._used[index]
        out = pixels.numpy()
        out[: len(index)] = self._pixels("test" if split == "test" else "train")[index]
        if split == ALL:
            out[len(index) :] = self._pixels("unlabeled")
        refuse_changed(self.name, self._stamps)
        return Images(pixels, labels)

    def _choose(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return choose(self._labels[split], NAMES, self.config, self.name, split)

    def _pixels(self, part: str) -> NDArray[np.uint8]:
        """Return the images of a file, (n, 3, 96, 96); they are stored column by column."""
        stored = np.memmap(self._folder / f"{part}_X.bin", np.uint8, mode="r")
        pixels: NDArray[np.uint8] = stored.reshape(-1, 3, SIDE, SIDE).transpose(0, 1, 3, 2)
        return pixels

    def _count(self, part: str) -> int:
        path = self._folder / f"{part}_X.bin"
        size: int = path.stat().st_size
        count, rest = divmod(size, IMAGE)
        if rest or not count:
            raise self._damage_error(path, f"its length is not that of images of {SIDE}x{SIDE}")
        return count

    def _read_labels(self, split: str) -> NDArray[np.int64]:
        path = self._folder / f"{split}_y.bin"
        labels = np.fromfile(path, dtype=np.uint8).astype(np.int64) - 1
        outside = labels[(labels < 0) | (labels >= len(NAMES))]
        if len(outside):
            raise self._damage_error(path, f"a label is {outside[0] + 1}; use 1 to {len(NAMES)}")
        if len(labels) != self._count(split):
            beside = f"there are {self._count(split)} images and {len(labels)} labels"
            raise self._damage_error(path, f"{beside}, they are not of one archive")
        return labels if self._used is None or split == "test" else labels[self._used]

    def _fold(self) -> NDArray[np.int64] | None:
        """Return the training images of the fold that is asked for."""
        if self.config.fold is None:
            return None
        path, count = self._folder / SOURCE.folds_list_file, self._count("train")
        try:
            line = path.read_text(encoding="ascii").splitlines()[self.config.fold]
            index = np.array([int(word) for word in line.split()], dtype=np.int64)
        except (OSError, LookupError, ValueError):
            raise self._damage_error(path, "it is not ten lines of numbers") from None
        if not len(index) or index.min() < 0 or index.max() >= count or len(set(index)) < len(index):
            raise self._damage_error(path, f"fold {self.config.fold} is not of {count} images, each once")
        return index

    def _refuse_other_classes(self) -> None:
        path = self._folder / SOURCE.class_names_file
        if path.is_file() and tuple(path.read_text(encoding="utf-8").split()) != NAMES:
            raise self._damage_error(path, "its classes are not those of STL-10")

    def _fetch(self) -> None:
        """Compare the files with their checksums; download what is missing, if that is allowed."""
        if not self._missing() or (self.location.download and self._download()):
            return
        remedy = f"Use --download, or set dataset.root to the folder that holds {SOURCE.base_folder}."
        raise MissingData(f"{self.name}: {self._folder} is not there or not complete. {remedy}")

    def _download(self) -> bool:
        try:
            with unpacking():
                SOURCE(self._root, split="test", download=True)
        except UNFETCHED as error:
            raise failed_download(self.name, self._root, error, SOURCE.filename) from None
        return not self._missing()

    def _missing(self) -> bool:
        """Return whether a file is not there.

        Raises:
            BadData: one that is there has another MD5 than was published.
        """
        paths = {self._folder / name: md5 for name, md5 in [*SOURCE.train_list, *SOURCE.test_list]}
        self._stamps = {path: file_stamp(path) for path in paths if path.is_file()}
        for path, stamp in self._stamps.items():
            if not _intact(path, paths[path], stamp):
                raise self._damage_error(path, "its MD5 is not the published one")
        return not all(path.is_file() for path in paths)

    def _damage_error(self, path: Path, why: str) -> BadData:
        remedy = f"Delete {self._folder} and use --download."
        return BadData(f"{self.name}: {path} is damaged: {why}. {remedy}")


def _digest(fold: str) -> str:
    return digest([*SOURCE.train_list, *SOURCE.test_list, fold])


@cache  # of 3 GB, which takes seconds: once for all settings of a grid
def _intact(path: Path, md5: str, stamp: int) -> bool:
    return bool(check_integrity(path, md5))
