"""Decode files and crop them in worker processes: all views of an image from one decoding, in order.

All that is random is drawn by the process that trains, and sent with the names of the files: so the
pixels depend neither on the number of workers nor on which of them is first. A piece is a few images of a
batch. Workers are ahead of the training by two batches, or by two pieces each if that is more.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.augmentation.crops import choose_boxes
from bench.contracts.dataset import Read
from bench.errors import CellError
from bench.system.file_stamps import CHANGED, file_stamp
from bench.system.processes import end_with_parent

PIECE = 32  # images: at two views of 224 pixels 9 MB
AHEAD = 2  # batches
KILLED = ("exited unexpectedly", "is killed by signal")  # in torch's messages about a worker that ended


@dataclass(frozen=True)
class Piece:
    """Some images of a batch, and the crops to make of them.

    Args:
        files: names of n files.
        crops: (views, n, 22), float32, of `bench.augmentation.crops.draw_crops`.
        stamps: of each file as it is to be; none where they are not watched.
    """

    files: Sequence[str]
    crops: NDArray[np.float32]
    stamps: Sequence[int] = ()


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be decoded, or has changed.

    Args:
        position: of the image in its piece.
        reason: in words.
    """

    position: int
    reason: str


Crops = list[Tensor]  # of a piece: an element a view, (n, channels, side, side), uint8


@dataclass(frozen=True)
class Cropper(Dataset[Any]):
    """Makes the crops of a piece.

    Args:
        read: decodes a file.
        ratios: largest aspect ratio of the crops of each view.
        sizes: side of the crops of each view, in pixels.
    """

    read: Read
    ratios: tuple[float, ...]
    sizes: tuple[int, ...]

    def __getitem__(self, piece: Piece) -> Crops | Unreadable:
        """Return the crops of a piece, or its first image that cannot be decoded or has changed."""
        images = []
        for position, file in enumerate(piece.files):
            crops = crop_image(self.read, Path(file), piece.crops[:, position], self.ratios, self.sizes)
            # after it was read: what is still the same now was the same then
            if piece.stamps and file_stamp(file) != piece.stamps[position]:
                return Unreadable(position, CHANGED)
            if isinstance(crops, str):
                return Unreadable(position, crops)
            images.append(crops)
        return join_crops(images)


def join_crops(images: Sequence[Crops]) -> Crops:
    """Return the crops of several images, (1, channels, side, side) each, joined view by view.

    All are parts of one block of memory. What a worker sends is a shared block with an open file each,
    and many views of many pieces would be more files than a process may open.
    """
    shapes = [(len(images), *crop.shape[1:]) for crop in images[0]]
    counts = [math.prod(shape) for shape in shapes]
    block = torch.empty(sum(counts), dtype=images[0][0].dtype)
    views = [part.view(shape) for part, shape in zip(block.split(counts), shapes, strict=True)]
    for view, crops in zip(views, zip(*images, strict=True), strict=True):
        torch.cat(crops, out=view)
    return views


def crop_image(
    read: Read, file: Path, crops: NDArray[np.float32], ratios: Sequence[float], sizes: Sequence[int]
) -> Crops | str:
    """Return the crops of one image, or why it cannot be decoded.

    Args:
        read: decodes it.
        file: of the image.
        crops: (views, 22), of `bench.augmentation.crops.draw_crops`.
        ratios: largest aspect ratio, one a view.
        sizes: side of the crop in pixels, one a view.

    Returns:
        An element a view, (1, channels, side, side), uint8.
    """
    boxes = np.empty((0, 4), dtype=np.float32)
    whole = (0, 0)

    def shrink(height: int, width: int) -> float:
        """Return how many pixels may become one: as many as in the crop that needs most detail."""
        nonlocal boxes, whole
        whole = height, width
        boxes = choose_boxes(crops, np.array(ratios, dtype=np.float64), height, width)
        sides = boxes[:, 2:].min(axis=1).tolist()
        return float(min(side / size for side, size in zip(sides, sizes, strict=True)))

    pixels = read(file, shrink)
    if isinstance(pixels, str):
        return pixels
    # channels side by side in memory, as they were decoded: they are resized faster so
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    scale = np.array([image.shape[2] / whole[0], image.shape[3] / whole[1]] * 2, dtype=np.float32)
    scaled = np.rint(boxes * scale).astype(int).tolist()
    return [_resize(image, box, size) for box, size in zip(scaled, sizes, strict=True)]


def _resize(image: Tensor, box: Sequence[int], size: int) -> Tensor:
    """Return a box of an image (1, channels, h, w) as (1, channels, size, size)."""
    top, left, height, width = box
    part = image[:, :, top : top + max(1, height), left : left + max(1, width)]
    return F.interpolate(part, (size, size), mode="bilinear", antialias=True, align_corners=False)


def split_pieces(images: int) -> list[slice]:
    """Return the rows of each piece of a batch."""
    return [slice(start, min(start + PIECE, images)) for start in range(0, images, PIECE)]


def crop_in_workers(
    cropper: Cropper, pieces: Iterable[Piece], batch_size: int, workers: int, title: str
) -> Generator[Crops | Unreadable, None, None]:
    """Yield the crops of each piece, in order.

    Args:
        cropper: makes them.
        pieces: taken from as far ahead as the workers work ahead.
        batch_size: images.
        workers: number of processes; with none, this process decodes.
        title: names the training in errors.

    Raises:
        CellError: a worker was killed.
    """
    options: dict[str, Any] = {}
    if workers:
        ahead = math.ceil(AHEAD * len(split_pieces(batch_size)) / workers)
        options = {
            "prefetch_factor": max(2, ahead),
            "multiprocessing_context": _choose_start_method(),
            "worker_init_fn": end_with_parent,
        }
    loader = DataLoader(
        cropper,
        batch_size=None,
        sampler=pieces,
        num_workers=workers,
        collate_fn=_keep,
        generator=torch.Generator(),  # else torch draws from the one that the training draws from
        **options,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if not any(phrase in str(error) for phrase in KILLED):
            raise
        raise CellError(
            f"{title}: a process that decodes was killed. Is there enough memory, and space in /dev/shm?"
        ) from error


def _choose_start_method() -> Any:
    """Return how workers are started: from a process that has loaded torch once and has no threads.

    A fork of a process with threads or a GPU may hang.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _keep(crops: Any) -> Any:
    return crops
