"""Augment a batch of images at once, on whatever device they are."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.augmentation.compiled_views import make_compiled
from bench.augmentation.draws import Draws, draw
from bench.augmentation.preparation import Preparation, prepare
from bench.augmentation.torch_views import make_by_torch
from bench.augmentation.view import View


def augment(pixels: Tensor, view: View, size: int, generator: torch.Generator) -> Tensor:
    """Return one view of each image, with parameters that are drawn for it.

    Args:
        pixels: (n, channels, h, w), uint8, on any device.
        view: the recipe.
        size: side of the result, in pixels. The view's own size does not count here.
        generator: to draw from, on the CPU.

    Returns:
        (n, channels, size, size), float32 in [0, 1].
    """
    n, _, height, width = pixels.shape
    return apply(pixels, draw(view, n, height, width, generator), view, size)


def apply(pixels: Tensor, draws: Draws, view: View, size: int) -> Tensor:
    """Return the images changed by the parameters of `draws`; what `view` switches off is not computed.

    Args:
        pixels: (m, channels, h, w), uint8, on any device.
        draws: of n results, m or a multiple of it: result i is of image i % m.
        view: the recipe that was drawn from.
        size: side of the result, in pixels. The view's own size does not count here.

    Returns:
        (n, channels, size, size), float32 in [0, 1].
    """
    return apply_prepared(pixels, prepare(draws, view, pixels.shape, size, pixels.device))


def apply_prepared(pixels: Tensor, prepared: Preparation) -> Tensor:
    """Return what `apply` returns, of images (m, channels, h, w) of which all else is prepared."""
    views = make_compiled(pixels, prepared)
    return make_by_torch(pixels, prepared) if views is None else views
