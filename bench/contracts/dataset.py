"""What a dataset is: labelled images in splits, and what is known of them without decoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.config import check_fields
from bench.contracts.dataset_info import DatasetInfo, PublishedData
from bench.contracts.declared import DeclaredDataset
from bench.errors import BadData
from bench.system.memory import free_memory


@dataclass(frozen=True)
class Images:
    """Images of one split, in memory or in a file that is mapped into it.

    Args:
        pixels: (n, channels, h, w), uint8; not to be written to. Those of a folder that is streamed are
            decoded when rows of them are taken, and are no tensor before.
        labels: (n,), int64, -1 where there is none.
    """

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise ValueError(
                f"Images: pixels are {self.pixels.dtype} of shape {tuple(self.pixels.shape)}. "
                "Use uint8 of shape (n, c, h, w)."
            )
        if self.labels.shape != self.pixels.shape[:1]:
            sizes = f"{len(self.pixels)} images and labels of shape {tuple(self.labels.shape)}"
            raise ValueError(f"Images: there are {sizes}. Use a label an image.")

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, index: Tensor) -> Images:
        """Return the images at `index`, (m,) int64."""
        return Images(self.pixels[index], self.labels[index])

    def to(self, device: torch.device) -> Images:
        """Return the images on `device`."""
        return Images(self.pixels.to(device), self.labels.to(device))

    def resident(self, device: torch.device) -> Images:
        """Return the images on `device` if half of its free memory holds them, else where they are.

        On the CPU nothing is copied: what is in a mapped file stays there.
        """
        return self.to(device) if self.pixels.nbytes <= free_memory(device) // 2 else self


# Decodes a file as (h, w, channels), or says why it cannot. It asks how many pixels may become one, told the
# image's own height and width, and may return it that much smaller.
Read = Callable[[Path, Callable[[int, int], float]], "NDArray[np.uint8] | str"]


@dataclass(frozen=True)
class FileStream:
    """Images of one split that are decoded whenever they are seen, at a size of their own.

    Args:
        files: n of them; what holds no more than their names is best.
        labels: (n,), int64, -1 where there is none.
        read: decodes one, in another process: what pickle can send.
        refusal: makes the error of an image, by its index and why it cannot be decoded, or
            `bench.api.CHANGED`.
        stamps: (n,), int64, the `bench.api.file_stamp` of each when the fingerprint was made: one that has
            another when it has been decoded is refused. None: no file is watched.
    """

    files: Sequence[Path]
    labels: Tensor
    read: Read
    refusal: Callable[[int, str], BadData]
    stamps: Tensor | None = None

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True, kw_only=True)
class DataLocation:
    """Where a dataset's files are; never part of a key.

    Args:
        root: the folder given for this dataset, if one was.
        data_dir: where downloads and packed images are kept.
        download: what is missing may be downloaded.
        packed: decoded images are kept in a file, even where they would fit into memory.
    """

    root: Path | None = None
    data_dir: Path = Path("data")
    download: bool = False
    packed: bool = False


class Dataset(DeclaredDataset, ABC):
    """Labelled images in splits. Making one is cheap: nothing is decoded before `load`.

    Args:
        name: the name it was asked for by.
        config: a `Config` of its class.
        location: where its files are.

    Raises:
        BadData: the files are missing or cannot be used; raised by the constructor, so that it is
            known before any training.
    """

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        check_fields(config, name)
        self.name, self.config, self.location = name, config, location

    @classmethod
    def published(cls, config: Any) -> PublishedData | None:
        """Return what is published of the files; none: it depends on the user's own.

        Where the constructor raises `MissingData`, a dry run assumes it. It needs `about`, too.
        """
        return None

    @property
    @abstractmethod
    def info(self) -> DatasetInfo:
        """What is known without decoding."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a digest that changes whenever the images or labels do; cheap, for planning."""

    @abstractmethod
    def labels(self, split: str) -> Sequence[int]:
        """Return the labels of `split` in the order of `load`, without decoding an image."""

    @abstractmethod
    def load(self, split: str) -> Images:
        """Return the images of `split`: `train`, `test`, or `val` if `splits` names it."""

    def stream(self, split: str) -> FileStream | None:
        """Return the files to pretrain on instead of what `load` returns, in its order; none is none."""
        return None

    @property
    def title(self) -> str:
        """The name that people know the data by, which is in no key: the plugin's, or that of a folder."""
        return self.name

    @property
    def found(self) -> str:
        """What the files were taken for, in one line that a run begins with; empty where that is known."""
        return ""

    def content(self) -> str:
        """Return a digest of the data that does not change with what is selected of it, such as a fold.

        Data with another one is another data set: what is trained on one and evaluated on the other is a
        transfer.
        """
        return self.fingerprint()

    def groups(self, split: str) -> Sequence[int] | None:
        """Return the group of each image of `split`, in the order of `load`; none: each stands alone.

        Images of one group are nearly alike: frames of one film, pictures of one patient. They have one
        number, in whichever split they are, and are never on two sides of a draw. Of `train` and `val` both
        have groups or neither; `test` may have none where they are not known.
        """
        return None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there are: `train` and `test` always, `val` where the data has one."""
        return ("train", "test")

    @property
    def pretrain(self) -> str:
        """The split to pretrain on: `train`, or one that `load` and `labels` know beside `splits`.

        Its labels may be -1 where there is none; such a split is never evaluated on.
        """
        return "train"
