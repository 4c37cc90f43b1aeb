"""Draw views of images to look at: for a preview and for a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from bench.augmentation.apply import augment
from bench.augmentation.view import RGB, View
from bench.keys import seed_of


def draw_views(
    pixels: Tensor, views: Iterable[tuple[int, View]], image_size: int, draws: int, seed: int
) -> Iterator[Tensor]:
    """Yield the draws of each view at its own size: (draws, n, 3, side, side), float32 in [0, 1].

    Args:
        pixels: (n, channels, h, w), uint8, on the CPU.
        views: each with its number, which its draws depend on.
        image_size: side of a view that has no size of its own, in pixels.
        draws: of each view.
        seed: of the draws.
    """
    for number, view in views:
        side = view.side(image_size)
        seeds = (seed_of(seed, "preview", number, turn) for turn in range(draws))
        drawn = [augment(pixels, view, side, torch.Generator().manual_seed(seed)) for seed in seeds]
        yield to_colour(torch.stack(drawn))


def to_colour(x: Tensor) -> Tensor:
    """Return images (..., channels, side, side) with three channels."""
    return x.expand(*x.shape[:-3], RGB, *x.shape[-2:])
