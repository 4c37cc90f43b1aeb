"""MNIST and KMNIST: 70,000 handwritten characters of 28x28 pixels, 10,000 of them to test on.

Data: LeCun et al. 1998, "Gradient-based learning applied to document recognition", and Clanuwat et
al. 2018, arXiv:1812.01718. torchvision downloads the archives, compares their MD5 and unpacks them.
It has no checksum of the unpacked files: where an archive lies beside its file, they are compared, and
MNIST's files have a known digest. A subset may be used, and is noted; its content is in the fingerprint.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torchvision.datasets.mnist import read_image_file, read_label_file
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
    file_stamp,
)

from .downloads import UNFETCHED, archive_parent, failed_download, unpacking
from .image_files.contents import refuse_changed

SIDE = 28
IMAGES_MAGIC, HEADER = 2051, struct.Struct(">4I")  # of an IDX file of bytes: magic, count, rows, columns
TRAILER = struct.Struct("<2I")  # of a gzip archive: CRC-32 and length of what is packed
PREFIX = {"train": "train", "test": "t10k"}
PUBLISHED = {"train": 60_000, "test": 10_000}  # images
MNIST_SHA256 = {  # of the unpacked files; torchvision has the checksums of the archives only
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


MNIST_DIGEST = (
    "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a"  # of all four, one after another
)


class MNIST(Dataset):
    """Ten handwritten digits, about 6,000 training images each."""

    Config: ClassVar[type] = Selection
    reference: ClassVar[str] = "LeCun et al. 1998, Gradient-based learning applied to document recognition"
    source: ClassVar[type[torchvision.datasets.MNIST]] = torchvision.datasets.MNIST
    names: ClassVar[tuple[str, ...]] = tuple(map(str, range(10)))
    counts: ClassVar[Mapping[str, tuple[int, ...]]] = {  # images of each class, as published
        "train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    }
    digest_of_files: ClassVar[str] = MNIST_DIGEST  # as published, where it is known
    mean: ClassVar[tuple[float, ...]] = (0.1307,)  # of the training images
    std: ClassVar[tuple[float, ...]] = (0.3081,)

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        super().__init__(name, config, location)
        self._root = archive_parent(location, self.source.__name__, "raw")
        self._raw = self._root / self.source.__name__ / "raw"
        self._classes = chosen_classes(self.names, config, name)
        self._fetch()
        self._stamps = {path: file_stamp(path) for path in self._files()}
        self._labels = {split: self._read_labels(split) for split in PREFIX}
        for split in PREFIX:
            for what in ("images", "labels"):
                self._refuse_other_file(split, what)

    @classmethod
    def about(cls, config: Any) -> DatasetInfo:
        """Return `info` without classes and notes."""
        return DatasetInfo(
            classes=(), channels=1, size=SIDE, mean=cls.mean, std=cls.std, flip=False, colour=False
        )

    @classmethod
    def published(cls, config: Any) -> PublishedData:
        """Return the images of each class."""
        return PublishedData(classes=cls.names, counts=cls.counts, fingerprint=cls.digest_of_files)

    @property
    def info(self) -> DatasetInfo:
        """What is known without decoding."""
        return replace(self.about(self.config), classes=self._classes, notes=self._notes())

    def fingerprint(self) -> str:
        """Return the digest of the four files."""
        return self._digest

    def labels(self, split: str) -> Sequence[int]:
        """Return the labels of `split`."""
        return [int(label) for label in self._choose(split)[1]]

    def load(self, split: str) -> Images:
        """Return the images of `split`."""
        index, labels = self._choose(split)
        pixels = read_image_file(str(self._file(split, "images")))
        refuse_changed(self.name, self._stamps)
        return Images(pixels[torch.from_numpy(index)][:, None], torch.from_numpy(labels))

    @cached_property
    def _digest(self) -> str:
        content = hashlib.sha256()
        for path in self._files():
            content.update(path.read_bytes())
        return content.hexdigest()

    def _choose(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return choose(self._labels[split], self.names, self.config, self.name, split)

    def _notes(self) -> tuple[str, ...]:
        counts = {split: len(labels) for split, labels in self._labels.items()}
        if counts == PUBLISHED:
            return ()
        present, published = (
            f"{c['train']:,} training and {c['test']:,} test images" for c in (counts, PUBLISHED)
        )
        return (f"the files have {present}; those of {self.source.__name__} as published have {published}",)

    def _file(self, split: str, what: str) -> Path:
        return self._raw / f"{PREFIX[split]}-{what}-idx{3 if what == 'images' else 1}-ubyte"

    def _files(self) -> list[Path]:
        return [self._file(split, what) for split in PREFIX for what in ("images", "labels")]

    def _fetch(self) -> None:
        """Download what is missing, if that is allowed."""
        if all(path.is_file() for path in self._files()):
            return
        if not self.location.download:
            remedy = f"Use --download, or set dataset.root to the folder that holds {self.source.__name__}."
            raise MissingData(f"{self.name}: {self._raw} is not there or not complete. {remedy}")
        try:
            with unpacking():
                self.source(self._root, download=True)
        except UNFETCHED as error:
            raise failed_download(self.name, self._raw, error, "the four files") from None

    def _read_labels(self, split: str) -> NDArray[np.int64]:
        """Return all labels of a split, which are those of its images as far as can be told."""
        path = self._file(split, "labels")
        try:
            labels: NDArray[np.int64] = read_label_file(str(path)).numpy()
        except (OSError, AssertionError, LookupError, RuntimeError, TypeError, ValueError):
            raise self._damage_error(path, "it is no IDX file of labels") from None
        if not len(labels) or labels.max() >= len(self.names):
            problem = f"a label is {labels.max()}" if len(labels) else "it is empty"
            raise self._damage_error(path, f"{problem}, of {len(self.names)} classes")
        images = self._count(split)
        if images != len(labels):
            beside = f"there are {images} images and {len(labels)} labels"
            raise self._damage_error(path, f"{beside}, they are not of one archive")
        return labels

    def _count(self, split: str) -> int:
        """Return how many images the file of a split has, from its header and its length."""
        path = self._file(split, "images")
        with path.open("rb") as file:
            start = file.read(HEADER.size)
        magic, count, *sides = HEADER.unpack(start) if len(start) == HEADER.size else (0, 0)
        if (magic, *sides) != (IMAGES_MAGIC, SIDE, SIDE):
            raise self._damage_error(path, f"it is no IDX file of {SIDE}x{SIDE} images")
        if path.stat().st_size != HEADER.size + count * SIDE * SIDE:
            raise self._damage_error(path, f"its length is not that of the {count} images it promises")
        return int(count)

    def _refuse_other_file(self, split: str, what: str) -> None:
        """Compare a file with its archive, if that is there, and with what is known of MNIST's."""
        path = self._file(split, what)
        content = path.read_bytes()
        archive = path.with_name(f"{path.name}.gz")
        if archive.is_file():
            if not check_integrity(archive, dict(self.source.resources)[archive.name]):
                raise self._damage_error(archive, "its MD5 is not the published one")
            if TRAILER.unpack(archive.read_bytes()[-TRAILER.size :]) != (zlib.crc32(content), len(content)):
                raise self._damage_error(path, f"it is not what {archive.name} beside it holds")
        digest = hashlib.sha256(content).hexdigest()
        if self.source is torchvision.datasets.MNIST:
            if len(self._labels[split]) == PUBLISHED[split] and digest != MNIST_SHA256[path.name]:
                raise self._damage_error(path, "its SHA-256 is not that of MNIST's file, which is as long")
        elif digest in MNIST_SHA256.values():
            raise self._damage_error(path, "it is a file of MNIST")

    def _damage_error(self, path: Path, why: str) -> BadData:
        remedy = f"Delete {self._raw} and use --download."
        return BadData(f"{self.name}: {path} is damaged: {why}. {remedy}")


class KMNIST(MNIST):
    """Ten cursive kana, 6,000 training images each."""

    reference: ClassVar[str] = "Clanuwat et al. 2018, arXiv:1812.01718"
    source: ClassVar[type[torchvision.datasets.MNIST]] = torchvision.datasets.KMNIST
    names: ClassVar[tuple[str, ...]] = tuple(torchvision.datasets.KMNIST.classes)
    counts: ClassVar[Mapping[str, tuple[int, ...]]] = {"train": (6000,) * 10, "test": (1000,) * 10}
    digest_of_files: ClassVar[str] = ""
    mean: ClassVar[tuple[float, ...]] = (0.1918,)  # in common use for its training images
    std: ClassVar[tuple[float, ...]] = (0.3483,)
