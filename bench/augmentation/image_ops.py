"""The operations of augmentation, on a batch at a time, with parameters of its own for each image.

Given the same parameters, each returns what torchvision.transforms.v2.functional does. Each is plain
arithmetic on the whole batch: on a CPU, comparing values and choosing by the result costs ten times a
product.

Which images an operation changes is read from the parameters. These are best left on the CPU, where they
were drawn: then nothing waits for the device that the images are on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.augmentation.resampling import Taps, gaussian, triangle
from bench.augmentation.view import GREY, blur_radius
from bench.system.device import to_device

DARK = 128 / 255 - 2**-24  # the float32 before the threshold of BYOL and VICReg, 128 on bytes
CONTRAST, SATURATION, HUE = 1, 2, 3  # in `Draws.order`; brightness, 0, needs no case of its own
NEVER = 4  # the turn of an image that is not jittered
TINY = 1e-30  # instead of a chroma of 0


def change_some_(x: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Change some rows of `x` in place.

    Args:
        x: (n, ...).
        chosen: (n,), bool.
        change: from the chosen rows and their indices (m,), both on the device of `x`, to the new rows.
    """
    index = chosen.nonzero()[:, 0]
    if len(index):
        at = to_device(index, x.device)
        x.index_copy_(0, at, change(x.index_select(0, at), at))


def crop_taps(box: Tensor, flip: Tensor, height: int, width: int, size: int) -> tuple[Taps, Taps]:
    """Return the taps that crop a box from each image, resize it bilinearly with antialiasing and mirror it.

    Args:
        box: (n, 4), top, left, height and width, in pixels.
        flip: (n,), bool: which images are mirrored.
        height: of the images, in pixels.
        width: of the images, in pixels.
        size: side of the result, in pixels.

    Returns:
        The taps of the rows, and those of the columns.
    """
    rows = triangle(box[:, 0], box[:, 2], height, size)
    return rows, triangle(box[:, 1], box[:, 3], width, size, flip)


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


# ---- jitter


def hue_turn(order: Tensor, chosen: Tensor) -> Tensor:
    """Return (n,), the turn in which each image's hue is shifted: 0 to 3, or `NEVER` if it is not jittered.

    Args:
        order: (n, 4), of `Draws`.
        chosen: (n,), bool: which images are jittered.
    """
    return torch.where(chosen, (order == HUE).int().argmax(dim=1), NEVER)


def jitter_(x: Tensor, turn: Tensor, weights: Tensor, hue: Tensor | None) -> None:
    """Change brightness, contrast, saturation and hue of images in place, in each image's own order.

    Images are sorted by the turn of their hue, so that each shift of hue works on a slice. Brightness,
    contrast and saturation are one blend of three turns, which all jittered images take together.

    Args:
        x: (n, c, h, w), in [0, 1], contiguous.
        turn: (n,), of `hue_turn`, ascending, on the CPU.
        weights: (n, 3, 3), of `blend_weights`.
        hue: (n,), shift as a share of the circle; none where no hue is shifted.
    """
    ends = [0, *turn.bincount(minlength=NEVER).cumsum(0).tolist()]
    for number in range(NEVER):
        rows = slice(ends[number], ends[number + 1])
        if hue is not None and rows.start < rows.stop:
            shift_hue_(x[rows], hue[rows])
        if number < 3:
            blend_(x[: ends[4]], *weights[: ends[4], number].unbind(1))


def blend_weights(factors: Tensor, order: Tensor) -> Tensor:
    """Return the weights of `blend_` in each of three turns, (n, 3 turns, 3 weights).

    Args:
        factors: (n, 3), of brightness, contrast and saturation.
        order: (n, 4), of `Draws`.
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
    """Shift the hue (of HSV) of RGB images (n, 3, h, w) in place, by `shift` (n,) of the circle.

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
    channels = torch.arange(0, 6, 2, device=x.device)
    offset = torch.remainder(6 * shift.unsqueeze(1) - channels + 3, 6) - 3  # in [-3, 3]
    distance = hue.unsqueeze(1) + offset.view(-1, 3, 1, 1)
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
