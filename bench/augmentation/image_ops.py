"""The operations of augmentation, on a batch at a time, with parameters of its own for each image.

Given the same parameters, each returns what torchvision.transforms.v2.functional does. Each is plain
arithmetic on the whole batch: on a CPU, comparing values and choosing by the result costs ten times a
product.

What is worked out of the parameters alone is worked out on the CPU, where they were drawn: so nothing waits
for the device that the images are on, and little is dispatched to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bench.augmentation.resampling import Taps, gaussian
from bench.augmentation.view import GREY, blur_radius

DARK = 128 / 255 - 2**-24  # the float32 before the threshold of BYOL and VICReg, 128 on bytes
CONTRAST, SATURATION, HUE = 1, 2, 3  # in `Draws.order`; brightness, 0, needs no case of its own
NEVER = 4  # the turn of an image that is not jittered
TINY = 1e-30  # instead of a chroma of 0


def change_some_(x: Tensor, at: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    """Change some rows of `x` in place.

    Args:
        x: (n, ...).
        at: (m,), int64, which rows, on the device of `x`.
        change: from the chosen rows to the new ones.
    """
    if len(at):
        x.index_copy_(0, at, change(x.index_select(0, at)))


def warp(x: Tensor, maps: Tensor) -> Tensor:
    """Return images (n, c, h, w) resampled by affine maps (n, 2, 3), black outside."""
    grid = F.affine_grid(maps, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def luminance(x: Tensor) -> Tensor:
    """Return (n, 1, ...), the ITU-R 601 luma of RGB images (n, 3, ...), or a grey image itself."""
    if x.shape[1] == GREY:
        return x
    red, green, blue = x.unbind(1)
    return (0.2989 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(1)


def make_grey(x: Tensor) -> Tensor:
    """Return images with their luminance as all channels."""
    return luminance(x).expand_as(x)


# ---- jitter


def hue_turn(order: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (n,), the turn in which each image's hue is shifted: 0 to 3, or `NEVER` if it is not jittered.

    Args:
        order: (n, 4), of `Draws`.
        chosen: (n,), bool: which images are jittered.
    """
    return np.where(chosen, (order == HUE).argmax(axis=1), NEVER)


def jitter_(x: Tensor, ends: Sequence[int], weights: Tensor, offsets: Tensor | None) -> None:
    """Change brightness, contrast, saturation and hue of images in place, in each image's own order.

    Images are sorted by the turn of their hue, so that each shift of hue works on a slice. Brightness,
    contrast and saturation are one blend of three turns, which all jittered images take together.

    Args:
        x: (n, c, h, w), in [0, 1], contiguous.
        ends: how many images have their hue shifted in a turn up to the first, the second, the third and the
            fourth: those of each turn come after one another, and those that are not jittered last.
        weights: (3 turns, 3 weights, n), of `blend_weights`.
        offsets: (n, 3), of `hue_offsets`; none where no hue is shifted.
    """
    jittered = x[: ends[-1]]
    blends = weights[:, :, : ends[-1], None, None].unbind(0)
    for turn, (start, end) in enumerate(pairwise([0, *ends])):
        if offsets is not None and start < end:
            shift_hue_(x[start:end], offsets[start:end])
        if turn < len(blends):
            blend_(jittered, *blends[turn].unbind(0))


def blend_weights(factors: NDArray[np.float32], order: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the weights of `blend_` in each of three turns, (3 turns, 3 weights, n).

    Args:
        factors: (n, 3), of brightness, contrast and saturation.
        order: (n, 4), of `Draws`.
    """
    kinds = order[order != HUE].reshape(-1, 3)
    factor = np.take_along_axis(factors, kinds, axis=1)
    by_grey, by_mean = ((1 - factor) * (kinds == kind) for kind in (SATURATION, CONTRAST))
    return np.stack([factor.T, by_grey.T, by_mean.T], axis=1)


def hue_offsets(shift: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far each channel's own hue lies from a hue of 0 that is shifted, (n, 3), in [-3, 3].

    Args:
        shift: (n,), as a share of the circle.
    """
    channels = np.arange(0, 6, 2, dtype=np.float32)
    offsets: NDArray[np.float32] = np.remainder(6 * shift[:, None] - channels + 3, np.float32(6)) - 3
    return offsets


def blend_(x: Tensor, keep: Tensor, by_grey: Tensor, by_mean: Tensor) -> None:
    """Change `x` in place to keep * x + by_grey * its grey image + by_mean * the mean grey, in [0, 1].

    Args:
        x: (n, c, h, w), in [0, 1], contiguous.
        keep: (n, 1, 1).
        by_grey: (n, 1, 1).
        by_mean: (n, 1, 1).
    """
    planes = x.flatten(2)
    grey = luminance(planes)
    reference = torch.addcmul(grey.mean(dim=2, keepdim=True) * by_mean, grey, by_grey)
    torch.addcmul(reference, planes, keep, out=planes)
    planes.clamp_(0, 1)


def shift_hue_(x: Tensor, offsets: Tensor) -> None:
    """Shift the hue (of HSV) of RGB images (n, 3, h, w) in place, by `hue_offsets` (n, 3).

    With the least channel at 0 and the largest at 1, each channel is the same function T of the distance
    between the hue and the channel's own hue, in sixths of the circle: 1 up to one, 0 from two on, straight
    between. The distance from red is 1 + green + blue - red. So no sector needs a case of its own.
    """
    red, green, blue = x.unbind(1)
    largest = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = largest - least
    from_red = (green + blue).sub_(red).add_(largest).sub_(least, alpha=2).div_(chroma.clamp(min=TINY))
    hue = torch.copysign(from_red, green - blue)  # in sixths, in [-3, 3], 0 is red
    distance = hue.unsqueeze(1) + offsets.view(-1, 3, 1, 1)
    share = distance.abs_().sub_(3).abs_().clamp_(1, 2)  # T + 1: the distance is in [-6, 6]
    torch.addcmul(least.sub_(chroma).unsqueeze(1), share, chroma.unsqueeze(1), out=x)


# ---- blur, solarise


def blur_taps(sigma: Tensor, side: int) -> Taps:
    """Return the taps that blur images of `side` pixels by Gaussians of `sigma` (n,) pixels.

    A sigma of 0 leaves an image as it is. The kernel covers 10 % of the side, an odd number of pixels, at
    least 3 (SimCLR, appendix A); borders are reflected.
    """
    return gaussian(sigma, side, blur_radius(side))


def solarise(x: Tensor) -> Tensor:
    """Return images (n, c, h, w) in [0, 1] with every value from 128 / 255 on inverted."""
    bright = F.threshold(x, DARK, 0.5)  # dark values become 0.5, and -2 * 0.5 + 1 is 0
    return bright.mul_(-2).add_(1).add_(x)
