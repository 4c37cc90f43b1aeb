"""Images that are nowhere stored: they are decoded whenever they are looked at."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from bench.contracts.dataset import Images

AHEAD = 64  # images that are decoded at once, for each thread


class LazyPixels:
    """Images as a tensor (n, channels, side, side), uint8, of which only rows can be taken.

    What is taken in order, as features are made, is decoded some images ahead.

    Args:
        shape: of the images, (n, channels, side, side).
        decode: is given the places of m images, and returns them, (m, channels, side, side), uint8.
        ahead: images that are decoded at once.
    """

    dtype, device, ndim = torch.uint8, torch.device("cpu"), 4

    def __init__(
        self, shape: Sequence[int], decode: Callable[[Sequence[int]], Tensor], ahead: int | None = None
    ) -> None:
        self.shape, self.decode = torch.Size(shape), decode
        self.ahead = ahead or AHEAD * torch.get_num_threads()
        self._block = functools.lru_cache(maxsize=1)(self._decode_block)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """What they would take, in bytes."""
        return self.shape.numel()

    def to(self, device: torch.device) -> LazyPixels:
        """Return them as they are: what is taken of them is decoded on the CPU, whoever is to have it."""
        return self

    def split(self, count: int) -> Iterator[Tensor]:
        """Yield `count` images at a time."""
        return (self[start : start + count] for start in range(0, len(self), count))

    def __getitem__(self, rows: Any) -> Tensor:
        """Return the images of a slice, or at the places in a tensor (m,) int64."""
        if not isinstance(rows, slice):
            return self.decode(rows.tolist())
        start, stop, _ = rows.indices(len(self))
        blocks = range(start // self.ahead, -(-stop // self.ahead))
        parts = [self._block(number)[self._within(number, start, stop)] for number in blocks]
        return torch.cat(parts) if parts else torch.empty(0, *self.shape[1:], dtype=self.dtype)

    def _within(self, number: int, start: int, stop: int) -> slice:
        first = number * self.ahead
        return slice(max(0, start - first), stop - first)

    def _decode_block(self, number: int) -> Tensor:
        first = number * self.ahead
        return self.decode(range(first, min(first + self.ahead, len(self))))


def lazy_images(labels: Tensor, pixels: LazyPixels) -> Images:
    """Return images that are decoded whenever rows of them are taken.

    Args:
        labels: (n,), int64, -1 where there is none.
        pixels: of as many images.
    """
    return Images(cast("Tensor", pixels), labels)
