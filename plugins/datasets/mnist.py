"""MNIST and KMNIST: 70,000 handwritten characters of 28x28 pixels, 10,000 of them to test on.

Data: LeCun et al. 1998, "Gradient-based learning applied to document recognition", and Clanuwat et
al. 2018, arXiv:1812.01718. torchvision downloads the archives, compares their MD5 and unpacks them;
the unpacked files have no published checksum, so it is their content that is in the fingerprint.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torchvision.datasets.mnist import read_image_file, read_label_file

from bench.api import BadData, Dataset, DatasetInfo, Images, Place, Selection, choose, chosen_classes

from .archives import archive_parent, failed_download

SIDE = 28
IMAGES_MAGIC, HEADER = 2051, struct.Struct(">4I")  # of an IDX file of bytes: magic, count, rows, columns
PREFIX = {"train": "train", "test": "t10k"}


class MNIST(Dataset):
    """Ten handwritten digits, about 6,000 training images each."""

    Config: ClassVar[type] = Selection
    reference: ClassVar[str] = "LeCun et al. 1998, Gradient-based learning applied to document recognition"
    source: ClassVar[type[torchvision.datasets.MNIST]] = torchvision.datasets.MNIST
    names: ClassVar[tuple[str, ...]] = tuple(map(str, range(10)))
    mean: ClassVar[tuple[float, ...]] = (0.1307,)  # of the training images
    std: ClassVar[tuple[float, ...]] = (0.3081,)

    def __init__(self, name: str, config: Any, place: Place) -> None:
        super().__init__(name, config, place)
        self._root = archive_parent(place, self.source.__name__, "raw")
        self._raw = self._root / self.source.__name__ / "raw"
        self._classes = chosen_classes(self.names, config, name)
        self._fetch()
        self._labels = {"test": self._read_labels("test")}

    @property
    def info(self) -> DatasetInfo:
        """What is known without decoding."""
        return DatasetInfo(
            classes=self._classes,
            channels=1,
            size=SIDE,
            mean=self.mean,
            std=self.std,
            flip=False,
            colour=False,
        )

    def fingerprint(self) -> str:
        """Return the digest of the four files."""
        return self._digest

    def labels(self, split: str) -> Sequence[int]:
        """Return the labels of `split`."""
        return [int(label) for label in self._chosen(split)[1]]

    def load(self, split: str) -> Images:
        """Return the images of `split`."""
        index, labels = self._chosen(split)
        pixels = read_image_file(str(self._file(split, "images")))
        return Images(pixels[torch.from_numpy(index)][:, None], torch.from_numpy(labels))

    @cached_property
    def _digest(self) -> str:
        found = hashlib.sha256()
        for path in self._files():
            found.update(path.read_bytes())
        return found.hexdigest()

    def _chosen(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if split not in self._labels:
            self._labels[split] = self._read_labels(split)
        return choose(self._labels[split], self.names, self.config, self.name, split)

    def _file(self, split: str, what: str) -> Path:
        return self._raw / f"{PREFIX[split]}-{what}-idx{3 if what == 'images' else 1}-ubyte"

    def _files(self) -> list[Path]:
        return [self._file(split, what) for split in PREFIX for what in ("images", "labels")]

    def _fetch(self) -> None:
        """Download what is missing, if that is allowed."""
        if all(path.is_file() for path in self._files()):
            return
        if not self.place.download:
            remedy = f"Use --download, or set dataset.root to the folder that holds {self.source.__name__}."
            raise BadData(f"{self.name}: {self._raw} is not there or not complete. {remedy}")
        try:
            with contextlib.redirect_stdout(sys.stderr):
                self.source(self._root, download=True)
        except (RuntimeError, OSError, EOFError) as error:  # no network, another MD5, cut short
            raise failed_download(self.name, self._raw, error, "the four files") from None

    def _read_labels(self, split: str) -> NDArray[np.int64]:
        """Return all labels of a split, which are those of its images as far as can be told."""
        path = self._file(split, "labels")
        try:
            labels: NDArray[np.int64] = read_label_file(str(path)).numpy()
        except (OSError, AssertionError, LookupError, RuntimeError, TypeError, ValueError):
            raise self._damaged(path, "it is no IDX file of labels") from None
        if not len(labels) or labels.max() >= len(self.names):
            found = f"a label is {labels.max()}" if len(labels) else "it is empty"
            raise self._damaged(path, f"{found}, of {len(self.names)} classes")
        images = self._count(split)
        if images != len(labels):
            beside = f"there are {images} images and {len(labels)} labels"
            raise self._damaged(path, f"{beside}, they are not of one archive")
        return labels

    def _count(self, split: str) -> int:
        """Return how many images the file of a split has, from its header and its length."""
        path = self._file(split, "images")
        with path.open("rb") as file:
            start = file.read(HEADER.size)
        magic, count, *sides = HEADER.unpack(start) if len(start) == HEADER.size else (0, 0)
        if (magic, *sides) != (IMAGES_MAGIC, SIDE, SIDE):
            raise self._damaged(path, f"it is no IDX file of {SIDE}x{SIDE} images")
        if path.stat().st_size != HEADER.size + count * SIDE * SIDE:
            raise self._damaged(path, f"its length is not that of the {count} images it promises")
        return int(count)

    def _damaged(self, path: Path, why: str) -> BadData:
        remedy = f"Delete {self._raw} and use --download."
        return BadData(f"{self.name}: {path} is damaged: {why}. {remedy}")


class KMNIST(MNIST):
    """Ten cursive kana, 6,000 training images each."""

    reference: ClassVar[str] = "Clanuwat et al. 2018, arXiv:1812.01718"
    source: ClassVar[type[torchvision.datasets.MNIST]] = torchvision.datasets.KMNIST
    names: ClassVar[tuple[str, ...]] = tuple(torchvision.datasets.KMNIST.classes)
    mean: ClassVar[tuple[float, ...]] = (0.1918,)  # of the training images
    std: ClassVar[tuple[float, ...]] = (0.3483,)
