"""What augmentation does to images, each with parameters of its own, a batch at a time.

Crop, antialiased resize and flip are two batched matrix products with resampling weights a sample;
every other operation is a few batched ones. Given the same parameters, each returns what
torchvision.transforms.v2.functional does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

GREY, RGB = 1, 3  # channels
SOLARISE_FROM = 128 / 255  # the threshold of BYOL and VICReg, on bytes
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def change_some(x: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return `x` with some rows changed and the others as they are.

    Args:
        x: (n, ...).
        chosen: (n,), bool.
        change: maps the chosen rows and their indices (m,) to what replaces them.
    """
    index = chosen.nonzero()[:, 0]
    return x.index_copy(0, index, change(x[index], index)) if len(index) else x


def crop_resize_flip(x: Tensor, box: Tensor, flip: Tensor, size: int) -> Tensor:
    """Return each image's box, resized bilinearly with antialiasing and mirrored where asked.

    Args:
        x: (n, c, h, w), float.
        box: (n, 4), top, left, height, width in pixels.
        flip: (n,), bool.
        size: side of the result.
    """
    rows = _resampling(box[:, 0], box[:, 2], x.shape[2], size)
    columns = _resampling(box[:, 1], box[:, 3], x.shape[3], size)
    columns = torch.where(flip.view(-1, 1, 1), columns.flip(1), columns)
    return torch.matmul(torch.matmul(rows.unsqueeze(1), x), columns.unsqueeze(1).transpose(2, 3))


def _resampling(start: Tensor, length: Tensor, source: int, size: int) -> Tensor:
    """Return (n, size, source) weights of a triangle filter over [start, start + length).

    Where it shrinks, the filter is as wide as an output pixel: what Pillow and torchvision's
    antialias=True do. Weights outside of the crop are dropped and the rest normalised.
    """
    at = torch.arange(source, device=start.device, dtype=torch.float32) + 0.5
    out = torch.arange(size, device=start.device, dtype=torch.float32) + 0.5
    scale = (length / size).view(-1, 1, 1)
    start, end = start.view(-1, 1, 1), (start + length).view(-1, 1, 1)
    centre = start + out.view(1, -1, 1) * scale
    weight = (1 - (at - centre).abs() / scale.clamp(min=1)).clamp_(min=0)
    weight *= (at > start) & (at < end)
    return weight / weight.sum(dim=2, keepdim=True)


def warp(x: Tensor, maps: Tensor) -> Tensor:
    """Return images resampled by affine maps (n, 2, 3), black outside."""
    grid = F.affine_grid(maps, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def luminance(x: Tensor) -> Tensor:
    """Return (n, 1, h, w), the ITU-R 601 luma of RGB images, or a grey image itself."""
    if x.shape[1] == GREY:
        return x
    red, green, blue = x.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def jitter(x: Tensor, factors: Tensor, hue: Tensor, order: Tensor) -> Tensor:
    """Return images with their brightness, contrast, saturation and hue changed, in their own order.

    The first three are one blend, factor * x + (1 - factor) * reference, whose reference is black,
    the mean grey or the grey image: so a slot of the order is one blend for the whole batch, and a
    hue shift for those whose turn it is.

    Args:
        x: (n, c, h, w), in [0, 1].
        factors: (n, 3).
        hue: (n,).
        order: (n, 4), a permutation of brightness 0, contrast 1, saturation 2, hue 3.
    """
    padded = torch.cat([factors, torch.ones_like(factors[:, :1])], dim=1)
    for slot in range(4):
        kind = order[:, slot]
        factor = padded.gather(1, kind.unsqueeze(1)).view(-1, 1, 1, 1)
        grey = luminance(x)
        mean = grey.mean(dim=(2, 3), keepdim=True)
        turn = kind.view(-1, 1, 1, 1)
        reference = torch.where(turn == SATURATION, grey, mean * (turn == CONTRAST))
        x = torch.lerp(reference, x, factor).clamp_(0, 1)
        if x.shape[1] == RGB:
            x = change_some(x, (kind == HUE) & (hue != 0), lambda some, at: shift_hue(some, hue[at]))
    return x


def shift_hue(x: Tensor, shift: Tensor) -> Tensor:
    """Return RGB images (n, 3, h, w) with the hue of HSV moved by `shift` (n,) of the circle."""
    value, where = x.max(dim=1)
    chroma = value - x.amin(dim=1)
    red, green, blue = x.unbind(1)
    safe = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    sector = torch.where(
        where == 0,
        (green - blue) / safe,
        torch.where(where == 1, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = sector + 6 * shift.view(-1, 1, 1)
    channels = []
    for offset in (5.0, 3.0, 1.0):  # red, green, blue: the closed form of HSV to RGB
        k = torch.remainder(sector + offset, 6)
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, dim=1)


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Return images (n, c, s, s) blurred by Gaussians of `sigma` (n,) pixels; 0 leaves one as it is.

    The kernel covers 10 % of the side, an odd number of pixels, at least 3 (SimCLR, appendix A);
    borders are reflected.
    """
    side = x.shape[2]
    radius = blur_radius(side)
    offsets = torch.arange(-radius, radius + 1, device=x.device)
    safe = torch.where(sigma > 0, sigma, torch.ones_like(sigma)).unsqueeze(1)
    kernel = torch.exp(-0.5 * (offsets / safe) ** 2)
    kernel = torch.where((sigma > 0).unsqueeze(1), kernel, (offsets == 0).float())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    at = (torch.arange(side, device=x.device).unsqueeze(1) + offsets).abs()
    at = torch.where(at >= side, 2 * (side - 1) - at, at)
    spread = F.one_hot(at, side).to(x.dtype)  # (side, kernel, side)
    matrix = torch.einsum("nk,ikj->nij", kernel, spread).unsqueeze(1)
    return matrix @ x @ matrix.transpose(2, 3)


def blur_radius(side: int) -> int:
    """Return how far the kernel of `blur` reaches on images of `side` pixels."""
    return min(max(1, side // 20), side - 1)


def solarise(x: Tensor) -> Tensor:
    """Return images in [0, 1] with every value from 128 / 255 on inverted."""
    return torch.where(x >= SOLARISE_FROM, 1 - x, x)
