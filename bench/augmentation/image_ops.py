"""What augmentation does to images, each with parameters of its own, a batch at a time.

Every operation is a few batched ones in plain arithmetic: on a CPU a comparison and the choice it
leads to cost ten times a product. Given the same parameters, each returns what
torchvision.transforms.v2.functional does.

Which images an operation is for is decided where the parameters are. Left on the CPU, where they were
drawn, they are read without waiting for the device the images are on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.augmentation.resampling import Taps, gaussian, triangle
from bench.augmentation.view import GREY

DARK = 128 / 255 - 2**-24  # the float32 before the threshold of BYOL and VICReg, 128 on bytes
CONTRAST, SATURATION, HUE = 1, 2, 3  # brightness, 0, blends with black
NEVER = 4  # the turn of what is not jittered
TINY = 1e-30  # instead of a chroma of 0


def change_some_(x: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Change some rows of `x` in place.

    Args:
        x: (n, ...).
        chosen: (n,), bool.
        change: maps the chosen rows and their indices (m,) on the device of `x` to what replaces them.
    """
    index = chosen.nonzero()[:, 0]
    if len(index):
        at = index.to(x.device, non_blocking=True)
        x.index_copy_(0, at, change(x.index_select(0, at), at))


def crop_taps(box: Tensor, flip: Tensor, height: int, width: int, size: int) -> tuple[Taps, Taps]:
    """Return what makes each image's box, resized bilinearly with antialiasing, mirrored where asked.

    Args:
        box: (n, 4), top, left, height, width in pixels.
        flip: (n,), bool.
        height: of the images.
        width: of the images.
        size: side of the result.

    Returns:
        Those of rows and those of columns.
    """
    rows = triangle(box[:, 0], box[:, 2], height, size)
    return rows, triangle(box[:, 1], box[:, 3], width, size, flip)


def warp(x: Tensor, maps: Tensor) -> Tensor:
    """Return images resampled by affine maps (n, 2, 3), black outside."""
    grid = F.affine_grid(maps, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def luminance(x: Tensor) -> Tensor:
    """Return (n, 1, ...), the ITU-R 601 luma of RGB images (n, 3, ...), or a grey image itself."""
    if x.shape[1] == GREY:
        return x
    red, green, blue = x.unbind(1)
    return (0.2989 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(1)


# ---- jitter


def hue_turn(order: Tensor, chosen: Tensor) -> Tensor:
    """Return (n,), when it is the turn of each image's hue: 0 to 3, or `NEVER` if it is not jittered.

    Args:
        order: (n, 4), a permutation of brightness 0, contrast 1, saturation 2, hue 3.
        chosen: (n,), bool: the others are left as they are.
    """
    return torch.where(chosen, (order == HUE).int().argmax(dim=1), NEVER)


def jitter_(x: Tensor, turn: Tensor, weights: Tensor, hue: Tensor | None) -> None:
    """Change brightness, contrast, saturation and hue of images in place, each in its own order.

    Images come in the order in which it is the turn of their hue, so that each shift of hue is of
    a slice; brightness, contrast and saturation are one blend, which takes three turns of all.

    Args:
        x: (n, c, h, w), in [0, 1], contiguous.
        turn: (n,), of `hue_turn`, ascending, on the CPU.
        weights: (n, 3, 3), of `blend_weights`.
        hue: (n,), shift as a share of the circle; None if none is to be shifted.
    """
    ends = [0, *turn.bincount(minlength=NEVER).cumsum(0).tolist()]
    for number in range(NEVER):
        now = slice(ends[number], ends[number + 1])
        if hue is not None and now.start < now.stop:
            shift_hue_(x[now], hue[now])
        if number < 3:
            blend_(x[: ends[4]], *weights[: ends[4], number].unbind(1))


def blend_weights(factors: Tensor, order: Tensor) -> Tensor:
    """Return (n, 3 turns, 3) weights: of the image, of its grey image, of the mean grey.

    Args:
        factors: (n, 3), of brightness, contrast and saturation.
        order: as of `hue_turn`.
    """
    kinds = order[order != HUE].view(-1, 3)
    factor = factors.gather(1, kinds)
    return torch.stack([factor, (1 - factor) * (kinds == SATURATION), (1 - factor) * (kinds == CONTRAST)], 2)


def blend_(x: Tensor, keep: Tensor, by_grey: Tensor, by_mean: Tensor) -> None:
    """Change `x` in place to keep * x + by_grey * its grey image + by_mean * the mean grey, in [0, 1].

    Args:
        x: (n, c, h, w), in [0, 1], contiguous.
        keep: (n,).
        by_grey: (n,).
        by_mean: (n,).
    """
    keep, by_grey, by_mean = (weight.view(-1, 1, 1) for weight in (keep, by_grey, by_mean))
    planes = x.flatten(2)
    grey = luminance(planes)
    reference = torch.addcmul(grey.mean(dim=2, keepdim=True) * by_mean, grey, by_grey)
    torch.addcmul(reference, planes, keep, out=planes)
    planes.clamp_(0, 1)


def shift_hue_(x: Tensor, shift: Tensor) -> None:
    """Move the hue of HSV of RGB images (n, 3, h, w), in place, by `shift` (n,) of the circle.

    With the least of the three at 0 and the largest at 1, a channel is one function T of how far the
    hue is from the channel's own, in sixths of the circle: 1 within one, 0 beyond two, straight
    between; and 1 + green + blue - red is how far it is from red. Hence no case for each sector.
    """
    red, green, blue = x.unbind(1)
    value, least = (choose(choose(red, green), blue) for choose in (torch.maximum, torch.minimum))
    chroma = value - least
    away = (green + blue).sub_(red).add_(value).sub_(least, alpha=2).div_(chroma.clamp(min=TINY))
    sector = torch.copysign(away, green - blue)  # in [-3, 3], 0 is red
    channels = torch.arange(0, 6, 2, device=x.device)
    offset = torch.remainder(6 * shift.unsqueeze(1) - channels + 3, 6) - 3  # in [-3, 3]
    apart = sector.unsqueeze(1) + offset.view(-1, 3, 1, 1)
    share = apart.abs_().sub_(3).abs_().clamp_(1, 2)  # T + 1: apart is in [-6, 6]
    torch.addcmul(least.sub_(chroma).unsqueeze(1), share, chroma.unsqueeze(1), out=x)


# ---- blur, solarise


def blur_taps(sigma: Tensor, side: int) -> Taps:
    """Return what blurs images of `side` pixels by Gaussians of `sigma` (n,) pixels; 0 leaves one as it is.

    The kernel covers 10 % of the side, an odd number of pixels, at least 3 (SimCLR, appendix A);
    borders are reflected.
    """
    return gaussian(sigma, side, blur_radius(side))


def blur_radius(side: int) -> int:
    """Return how far the kernel of a blur reaches on images of `side` pixels."""
    return min(max(1, side // 20), side - 1)


def solarise(x: Tensor) -> Tensor:
    """Return images in [0, 1] with every value from 128 / 255 on inverted."""
    bright = F.threshold(x, DARK, 0.5)  # what is dark is 0.5, which inverting leaves as it is
    return bright.mul_(-2).add_(1).add_(x)
