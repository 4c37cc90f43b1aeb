"""CIFAR-10 and CIFAR-100: 60,000 colour photographs of 32x32 pixels, 10,000 of them to test on.

Data: Krizhevsky 2009, "Learning multiple layers of features from tiny images". The archives are
read, checked and downloaded by torchvision; each file's MD5 is compared before it is unpickled.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
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
)

from .downloads import UNFETCHED, archive_parent, failed_download, unpacking

COUNTS = {"train": 50_000, "test": 10_000}  # images, as many of each class
TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HUNDRED = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
    lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
    pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal
    shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
    telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


class CIFAR10(Dataset):
    """Ten classes of animals and vehicles, 5,000 training images each."""

    Config: ClassVar[type] = Selection
    reference: ClassVar[str] = "Krizhevsky 2009, Learning multiple layers of features from tiny images"
    source: ClassVar[type[torchvision.datasets.CIFAR10]] = torchvision.datasets.CIFAR10
    names: ClassVar[Sequence[str]] = TEN  # as published; of files that are here their own are taken
    mean: ClassVar[tuple[float, ...]] = (0.4914, 0.4822, 0.4465)  # of the training images
    std: ClassVar[tuple[float, ...]] = (0.2470, 0.2435, 0.2616)

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        super().__init__(name, config, location)
        self._root = archive_parent(location, self.source.base_folder)
        test = self._open("test", download=location.download)
        self._names = tuple(test.classes)
        self._labels = {"test": np.asarray(test.targets)}
        self._classes = chosen_classes(self._names, config, name)

    @classmethod
    def about(cls, config: Any) -> DatasetInfo:
        """Return all of `info` but the classes."""
        return DatasetInfo(classes=(), channels=3, size=32, mean=cls.mean, std=cls.std)

    @classmethod
    def published(cls, config: Any) -> PublishedData:
        """Return what the archives have: 50,000 and 10,000 images, as many of each class."""
        each = {split: (count // len(cls.names),) * len(cls.names) for split, count in COUNTS.items()}
        return PublishedData(classes=cls.names, counts=each, fingerprint=cls._digest())

    @property
    def info(self) -> DatasetInfo:
        """What is known without decoding."""
        return replace(self.about(self.config), classes=self._classes)

    def fingerprint(self) -> str:
        """Return the digest of the published checksums, which the files were compared with."""
        return self._digest()

    def labels(self, split: str) -> Sequence[int]:
        """Return the labels of `split`."""
        if split not in self._labels:
            self._labels[split] = np.asarray(self._open(split).targets)
        return [int(label) for label in self._choose(split)[1]]

    def load(self, split: str) -> Images:
        """Return the images of `split`."""
        data = self._open(split)
        self._labels[split] = np.asarray(data.targets)
        index, labels = self._choose(split)
        pixels = torch.from_numpy(data.data[index]).permute(0, 3, 1, 2).contiguous()
        return Images(pixels, torch.from_numpy(labels))

    @classmethod
    def _digest(cls) -> str:
        return digest([*cls.source.train_list, *cls.source.test_list, cls.source.meta["md5"]])

    def _choose(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return choose(self._labels[split], self._names, self.config, self.name, split)

    def _open(self, split: str, *, download: bool = False) -> torchvision.datasets.CIFAR10:
        train = {"train": True, "test": False}[split]
        try:
            with unpacking(), warnings.catch_warnings():
                # the archives are from 2009: their way to pickle a dtype is deprecated in numpy 2.4
                warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
                return self.source(self._root, train=train, download=download)
        except UNFETCHED as error:  # of torchvision: not found, damaged, no network
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> BadData:
        """Return the error about what is wrong with the files, and what to do."""
        folder = self._root / self.source.base_folder
        meta = [self.source.meta["filename"], self.source.meta["md5"]]
        for name, md5 in [*self.source.train_list, *self.source.test_list, meta]:
            path = folder / name
            if path.is_file() and not check_integrity(path, md5):
                remedy = f"Delete {folder} and use --download."
                return BadData(f"{self.name}: {path} is damaged, its MD5 is not the published one. {remedy}")
        if self.location.download:
            return failed_download(self.name, self._root, error, self.source.filename)
        remedy = f"Use --download, or set dataset.root to the folder that holds {self.source.base_folder}."
        return MissingData(f"{self.name}: {folder} is not there or not complete. {remedy}")


class CIFAR100(CIFAR10):
    """A hundred classes, 500 training images each."""

    source: ClassVar[type[torchvision.datasets.CIFAR10]] = torchvision.datasets.CIFAR100
    names: ClassVar[Sequence[str]] = tuple(HUNDRED.split())
    mean: ClassVar[tuple[float, ...]] = (0.5071, 0.4865, 0.4409)  # of the training images
    std: ClassVar[tuple[float, ...]] = (0.2673, 0.2564, 0.2762)
