"""Decode files and crop them in worker processes: every view of an image from one decoding, in order.

All that is random is drawn by the process that trains and sent along with the names of the files, so
that the pixels depend neither on the number of workers nor on which of them is first. A piece is a few
images of a batch; workers are ahead of the training by two batches, or by two pieces each if that is more.
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
from bench.system.processes import end_with_parent

PIECE = 32  # images: at two views of 224 pixels 9 MB
AHEAD = 2  # batches
KILLED = ("exited unexpectedly", "is killed by signal")  # what torch says of a worker's end


@dataclass(frozen=True)
class Piece:
    """Some images of a batch, and what is made of them.

    Args:
        files: names of n of them.
        crops: (views, n, 22), float32, as of `bench.augmentation.crops.draw_crops`.
    """

    files: Sequence[str]
    crops: NDArray[np.float32]


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be decoded.

    Args:
        place: in its piece.
        why: in words.
    """

    place: int
    why: str


@dataclass(frozen=True)
class Cropper(Dataset[Any]):
    """What a worker does.

    Args:
        read: decodes a file.
        ratios: largest aspect ratio of a crop, one a view.
        size: side of the crops, in pixels.
    """

    read: Read
    ratios: tuple[float, ...]
    size: int

    def __getitem__(self, piece: Piece) -> Tensor | Unreadable:
        """Return the crops (views, n, channels, size, size), uint8, or the first that cannot be made."""
        made = []
        for place, file in enumerate(piece.files):
            crops = crop_image(self.read, Path(file), piece.crops[:, place], self.ratios, self.size)
            if isinstance(crops, str):
                return Unreadable(place, crops)
            made.append(crops)
        return torch.stack(made, dim=1).contiguous()


def crop_image(
    read: Read, file: Path, crops: NDArray[np.float32], ratios: Sequence[float], size: int
) -> Tensor | str:
    """Return the crops of one image, (views, channels, size, size), uint8, or why it cannot be decoded.

    Args:
        read: decodes it.
        file: of the image.
        crops: (views, 22), as of `bench.augmentation.crops.draw_crops`.
        ratios: largest aspect ratio of a crop, one a view.
        size: side of the crops, in pixels.
    """
    boxes = torch.empty(0)
    own = (0, 0)

    def shrink(height: int, width: int) -> float:
        """Return how many pixels become one in the smallest crop."""
        nonlocal boxes, own
        own = height, width
        most = torch.tensor(ratios, dtype=torch.float64)
        boxes = choose_boxes(torch.from_numpy(crops), most, height, width)
        return float(boxes[:, 2:].min()) / size

    pixels = read(file, shrink)
    if isinstance(pixels, str):
        return pixels
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # a pixel's channels side by side: resized faster
    scale = torch.tensor([image.shape[2] / own[0], image.shape[3] / own[1]]).repeat(2)
    return torch.cat([_resize(image, box, size) for box in (boxes * scale).round().int().tolist()])


def _resize(image: Tensor, box: Sequence[int], size: int) -> Tensor:
    """Return a box of an image (1, channels, h, w) as (1, channels, size, size)."""
    top, left, height, width = box
    part = image[:, :, top : top + max(1, height), left : left + max(1, width)]
    return F.interpolate(part, (size, size), mode="bilinear", antialias=True, align_corners=False)


def split_pieces(images: int) -> list[slice]:
    """Return the rows of each piece of a batch."""
    return [slice(start, min(start + PIECE, images)) for start in range(0, images, PIECE)]


def crop_in_workers(
    cropper: Cropper, asked: Iterable[Piece], batch_size: int, workers: int, what: str
) -> Generator[Tensor | Unreadable, None, None]:
    """Yield what becomes of each piece, in order.

    Args:
        cropper: does it.
        asked: the pieces; taken from as far ahead as workers work ahead.
        batch_size: images.
        workers: processes; with none, it is this process that decodes.
        what: is trained, for errors.

    Raises:
        CellError: a process was killed.
    """
    several: dict[str, Any] = {}
    if workers:
        ahead = math.ceil(AHEAD * len(split_pieces(batch_size)) / workers)
        several = {
            "prefetch_factor": max(2, ahead),
            "multiprocessing_context": _fresh_processes(),
            "worker_init_fn": end_with_parent,
        }
    loader = DataLoader(
        cropper,
        batch_size=None,
        sampler=asked,
        num_workers=workers,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # else torch draws from the one that the training draws from
        **several,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if not any(said in str(error) for said in KILLED):
            raise
        raise CellError(
            f"{what}: a process that decodes was killed. Is there memory enough, and in /dev/shm?"
        ) from error


def _fresh_processes() -> Any:
    """Return how workers are started: from a process that has loaded torch once and has no threads.

    A fork of a process with threads or a GPU may hang.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _as_it_is(made: Any) -> Any:
    return made
