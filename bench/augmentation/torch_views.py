"""Make the views of a batch with torch's operations, on whatever device its images are."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from bench.augmentation.image_ops import blur_taps, change_some_, jitter_, make_grey, solarise, warp
from bench.augmentation.preparation import Index, Numbers, Preparation
from bench.augmentation.resampling import crop_weights, resample
from bench.augmentation.view import RGB


def make_by_torch(pixels: Tensor, prepared: Preparation) -> Tensor:
    """Return what `bench.augmentation.apply.apply_prepared` returns, of images on any device."""
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
