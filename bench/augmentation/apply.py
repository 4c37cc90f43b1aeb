"""Augment a batch of images at once, on whatever device they are."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from bench.augmentation.draws import Draws, draw
from bench.augmentation.image_ops import blur_taps, change_some_, jitter_, make_grey, solarise, warp
from bench.augmentation.preparation import Index, Numbers, Preparation, prepare
from bench.augmentation.resampling import crop_weights, resample
from bench.augmentation.view import RGB, View


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
    channels, height, width = pixels.shape[1:]
    numbers = Numbers(*prepared.numbers.on(pixels.device))
    size = prepared.size
    crops = None if prepared.whole else crop_weights(*numbers[:3], height, width, size)
    blurs = blur_taps(numbers.sigma, size) if prepared.view.blur else None
    out = torch.empty(len(numbers.sigma), channels, size, size, device=pixels.device)
    for block in prepared.blocks:
        rows, index = block.rows, Index(*block.index.on(pixels.device))
        x = pixels.index_select(0, index.image).float().div_(255)
        if len(index.affine):
            change_some_(x, index.affine, partial(warp, maps=numbers.maps[rows][index.affine]))
        if crops is None:
            change_some_(x, index.flip, partial(torch.flip, dims=(3,)))
        else:
            x = resample(x, *(taps[rows] for taps in crops))
        if block.ends[-1]:
            offsets = numbers.offsets[rows] if prepared.shifts_hue else None
            jitter_(x, block.ends, numbers.weights[:, :, rows], offsets)
        if channels == RGB:
            change_some_(x, index.grey, make_grey)
        if blurs is not None:
            taps = blurs[rows][index.blur]
            change_some_(x, index.blur, partial(resample, rows=taps, columns=taps))
        change_some_(x, index.solarise, solarise)
        x.clamp_(0, 1)  # weights that add up to 1 do so only nearly
        torch.index_select(x, 0, index.back, out=out[rows])
    return out
