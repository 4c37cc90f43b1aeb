"""Stored images that are nowhere stored: they are decoded whenever they are looked at."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .decoding import CHUNK, MOST_PIXELS, Failures, decode_all
from .layout import Paths
from .packed_file import Shape


class LazyPixels:
    """Images of a folder, as a tensor (n, channels, side, side), uint8, of which only rows can be taken.

    What is taken in order, as features are made, is decoded some images ahead.

    Args:
        paths: n files.
        shape: of the images.
        refuse: is told which images were decoded, by their indices, and which of them could not be; raises
            the error about those, and about files that have changed.
        most: pixels of an image that is decoded.
    """

    dtype, device, ndim = torch.uint8, torch.device("cpu"), 4

    def __init__(
        self,
        paths: Paths,
        shape: Shape,
        refuse: Callable[[Sequence[int], Failures], None],
        most: int = MOST_PIXELS,
    ) -> None:
        self.most = most
        self.paths, self.shape, self.refuse = paths, torch.Size(shape), refuse
        self.ahead = CHUNK * torch.get_num_threads()
        self._block = functools.lru_cache(maxsize=1)(self._decode_block)

    def __len__(self) -> int:
        return len(self.paths)

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
            return self._decode(rows.tolist())
        start, stop, _ = rows.indices(len(self))
        blocks = range(start // self.ahead, -(-stop // self.ahead))
        parts = [self._block(number)[self._within(number, start, stop)] for number in blocks]
        return torch.cat(parts) if parts else torch.empty(0, *self.shape[1:], dtype=self.dtype)

    def _within(self, number: int, start: int, stop: int) -> slice:
        first = number * self.ahead
        return slice(max(0, start - first), stop - first)

    def _decode_block(self, number: int) -> Tensor:
        first = number * self.ahead
        return self._decode(range(first, min(first + self.ahead, len(self))))

    def _decode(self, indices: Sequence[int]) -> Tensor:
        some = Paths(self.paths.root, [self.paths.names[index] for index in indices])
        pixels = np.empty((len(some), *self.shape[1:]), dtype=np.uint8)
        failures: Mapping[int, str] = decode_all(
            some, self.shape[1], self.shape[2], out=pixels, most=self.most
        )
        self.refuse(indices, {indices[i]: why for i, why in failures.items()})
        return torch.from_numpy(pixels)
