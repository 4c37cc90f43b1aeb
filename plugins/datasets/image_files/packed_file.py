"""Keep decoded images in a file that is mapped into memory: made once, whole or not at all.

    FOLDER/<key>.bin     n x channels x side x side bytes
    FOLDER/<key>.json    the shape, and a digest of some of the images: written last, and it decides

The file is made as `<key>.part` under a lock and renamed. The system reads of it what is looked at,
and gives its memory back when something else needs it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from bench.api import BadData

from .decoding import space_evenly

DIGESTED = 64  # images of which the content is compared: all would take minutes in a large file

Shape = tuple[int, int, int, int]  # images, channels, side, side


@dataclass(frozen=True)
class Pack:
    """A file of images.

    Args:
        folder: of all such files.
        key: of what decides the pixels.
    """

    folder: Path
    key: str

    @property
    def file(self) -> Path:
        """The images."""
        return self.folder / f"{self.key}.bin"

    @property
    def manifest(self) -> Path:
        """What the file is."""
        return self.folder / f"{self.key}.json"

    def pixels(self, shape: Shape, fill: Callable[[Path], None]) -> Tensor:
        """Return the images from the file, which is made if it is not there or is damaged.

        Other processes that want the same file wait until it is made.

        Args:
            shape: of the images.
            fill: writes them into a file of the right size; its errors leave no file.

        Returns:
            (n, channels, side, side), uint8, on the CPU. Writing to it ends the process.

        Raises:
            BadData: the folder cannot be written to, or the disk is full.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f"{self.key}.lock"):
                if not self._is_whole(shape):
                    self._make(shape, fill)
                return map_file(self.file, shape)
        except OSError as error:
            reason = error.strerror or error
            raise BadData(
                f"{self.folder}: decoded images cannot be kept there ({reason}). Set another --data-dir."
            ) from error

    def _is_whole(self, shape: Shape) -> bool:
        try:
            right = self.file.stat().st_size == math.prod(shape)
            said = json.loads(self.manifest.read_text())
            said = {"key": self.key, **said}  # which older ones do not say
            return right and said == self._describe(shape)
        except (OSError, ValueError, TypeError, RecursionError):
            return False

    def _describe(self, shape: Shape) -> dict[str, object]:
        return {"key": self.key, **_describe(self.file, shape)}

    def _make(self, shape: Shape, fill: Callable[[Path], None]) -> None:
        self.manifest.unlink(missing_ok=True)
        part = self.file.with_suffix(".part")  # of a process that was killed it is overwritten
        try:
            with part.open("wb") as file:
                file.truncate(math.prod(shape))
            fill(part)
            _sync(part)
            os.replace(part, self.file)
        finally:
            part.unlink(missing_ok=True)
        draft = self.manifest.with_suffix(".draft")
        draft.write_text(json.dumps(self._describe(shape)) + "\n")
        _sync(draft)
        os.replace(draft, self.manifest)


def map_file(file: Path, shape: Shape) -> Tensor:
    """Return a file's bytes as a tensor that is read when it is looked at.

    `torch.from_file` would do, but without `shared` the system refuses it what is larger than memory,
    and with it a slip could write into the file.
    """
    array = np.memmap(file, dtype=np.uint8, mode="r", shape=shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def refuse_no_room(folder: Path, need: int, where: str) -> None:
    """Refuse images that do not fit on the disk.

    Args:
        folder: where they are to be packed; need not exist.
        need: bytes.
        where: what the error starts with: the dataset's name.

    Raises:
        BadData: they take more than is free.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if need > free:
        raise BadData(
            f"{where}: its decoded images are packed into {folder}, they take {need / 2**30:.3g} GiB, "
            f"{free / 2**30:.3g} GiB are free there. Set --data-dir to a larger disk, or a smaller "
            "dataset.size or dataset.max_train."
        )


def _describe(file: Path, shape: Shape) -> dict[str, object]:
    some = map_file(file, shape)[space_evenly(shape[0], DIGESTED)]
    return {"shape": list(shape), "some": hashlib.sha256(some.numpy().tobytes()).hexdigest()}


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
