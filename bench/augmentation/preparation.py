"""Work out of a batch's draws all that does not need its images, on the CPU, and send it in two copies.

A host that trains small images on a GPU is busy with dispatching: so little is left to dispatch, and what is
prepared here can be prepared while the batch before it trains. Which images an operation changes is known
here, so nothing is read back from a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.augmentation.draws import Draws
from bench.augmentation.image_ops import NEVER, blend_weights, hue_offsets, hue_turn
from bench.augmentation.view import RGB, View
from bench.system.device import to_device

BLOCK = 2**20  # values that a CPU works on at a time: few enough that its cache still holds some of them


@dataclass(frozen=True)
class Packed:
    """Several arrays in one, so that they are sent to a device in one copy.

    Args:
        values: of all, in one dimension, on the CPU.
        shapes: of each.
    """

    values: Tensor
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, arrays: Sequence[NDArray[Any]], dtype: type[np.generic]) -> Packed:
        """Return arrays as one of a type."""
        joined = np.concatenate([array.ravel() for array in arrays], dtype=dtype, casting="unsafe")
        return cls(torch.from_numpy(joined), tuple(array.shape for array in arrays))

    def on(self, device: torch.device) -> list[Tensor]:
        """Return the arrays on a device."""
        parts = to_device(self.values, device).split([np.prod(shape, dtype=int) for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]


class Index(NamedTuple):
    """Rows of a block, int64.

    Args:
        image: (m,), where the image of each row is.
        back: (m,), where each row of the result is in the block.
        affine: which rows have an affine map; likewise the others.
        flip: which are mirrored.
        grey: which become grey.
        blur: which are blurred.
        solarise: which are solarised.
    """

    image: Any
    back: Any
    affine: Any
    flip: Any
    grey: Any
    blur: Any
    solarise: Any


class Numbers(NamedTuple):
    """What a batch is changed by, float32.

    Args:
        start: (2, n), where the crops start, down and across, in pixels.
        length: (2, n), of the crops, likewise.
        mirrored: (2, n), 1 across where an image is mirrored, else 0.
        weights: (3, 3, n), of `blend_weights`.
        offsets: (n, 3), of `hue_offsets`.
        sigma: (n,), of the blur, in pixels.
        maps: (n, 2, 3), of the affine maps.
    """

    start: Any
    length: Any
    mirrored: Any
    weights: Any
    offsets: Any
    sigma: Any
    maps: Any


@dataclass(frozen=True)
class Block:
    """Images that are augmented at a time, sorted by the turn in which their hue is shifted.

    Args:
        rows: of the batch, sorted.
        ends: how many have their hue shifted up to each turn.
        index: an `Index`.
    """

    rows: slice
    ends: tuple[int, ...]
    index: Packed


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What is known of the n results of a batch before its images are touched, on the CPU.

    Args:
        view: the recipe that was drawn from.
        images: m, channels, height and width.
        size: side of the results, in pixels.
        blocks: all of the batch in one for an accelerator; for a CPU, what it works on at a time.
        whole: each crop is its whole image at its own size.
        shifts_hue: some are shifted.
        numbers: `Numbers`, sorted as the blocks are.
    """

    view: View
    images: torch.Size
    size: int
    blocks: tuple[Block, ...]
    whole: bool
    shifts_hue: bool
    numbers: Packed


def prepare(draws: Draws, view: View, images: torch.Size, size: int, device: torch.device) -> Preparation:
    """Return what is known of a batch once its parameters are drawn.

    Args:
        draws: of n results.
        view: the recipe that was drawn from.
        images: m, channels, height and width; n is m or a multiple of it, result i is of image i % m.
        size: side of the results, in pixels.
        device: where the images are.
    """
    count, channels, height, width = images
    n = len(draws.flip)
    fitting = max(1, BLOCK // (channels * max(height * width, size * size)))
    block = fitting if device.type == "cpu" else max(1, n)
    turn = hue_turn(draws.order, draws.jitter)
    order = np.argsort(np.arange(n) // block * (NEVER + 1) + turn, kind="stable")  # by turn within a block
    draws, turn = draws.rows(order), turn[order]
    numbers = Numbers(
        start=draws.box[:, :2].T,
        length=draws.box[:, 2:].T,
        mirrored=np.stack([np.zeros_like(draws.flip), draws.flip]),
        weights=blend_weights(draws.factors, draws.order),
        offsets=hue_offsets(draws.hue),
        sigma=draws.sigma,
        maps=draws.maps,
    )
    return Preparation(
        view=view,
        images=images,
        size=size,
        blocks=tuple(
            _make_block(draws, turn, order, count, slice(first, min(first + block, n)))
            for first in range(0, n, block)
        ),
        whole=height == width == size and bool((draws.box == np.array([0, 0, size, size])).all()),
        shifts_hue=channels == RGB and bool(draws.hue.any()),
        numbers=Packed.of(numbers, np.float32),
    )


def _make_block(
    draws: Draws, turn: NDArray[np.int64], order: NDArray[np.int64], images: int, rows: slice
) -> Block:
    """Return a block of a batch.

    Args:
        draws: sorted.
        turn: (n,), in which an image's hue is shifted, sorted.
        order: (n,), the rows by which they were sorted.
        images: how many there are.
        rows: of the batch, sorted.
    """
    index = Index(
        image=order[rows] % images,
        back=order[rows].argsort(),
        affine=np.flatnonzero(draws.affine[rows]),
        flip=np.flatnonzero(draws.flip[rows]),
        grey=np.flatnonzero(draws.grey[rows]),
        blur=np.flatnonzero(draws.sigma[rows] > 0),
        solarise=np.flatnonzero(draws.solarise[rows]),
    )
    counts = np.bincount(turn[rows], minlength=NEVER)[:NEVER]
    return Block(rows, tuple(accumulate(counts.tolist())), Packed.of(index, np.int64))
