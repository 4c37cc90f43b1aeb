"""Random crops, drawn before it is known how large an image is, and its box once that is known.

The distribution is that of torchvision's RandomResizedCrop.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TRIES = 10  # of torchvision's RandomResizedCrop.get_params


def draw_crops(n: int, least: float, most: float, ratio: float, generator: torch.Generator) -> Tensor:
    """Return (n, 22): ten shares of the area, ten aspect ratios, and how far down and across, in [0, 1).

    Args:
        n: number of images.
        least: smallest share of the area.
        most: largest share of the area.
        ratio: largest aspect ratio, and its inverse.
        generator: on the CPU.
    """
    share = torch.rand(n, TRIES, generator=generator) * (most - least) + least
    ratios = torch.exp((torch.rand(n, TRIES, generator=generator) * 2 - 1) * math.log(ratio))
    return torch.cat([share, ratios, torch.rand(n, 2, generator=generator)], dim=1)


def boxes_of(crops: Tensor, ratio: float | Tensor, height: int, width: int) -> Tensor:
    """Return (n, 4), top, left, height, width: of the first try that fits, else the largest at the centre.

    Args:
        crops: (n, 22), as of `draw_crops`.
        ratio: as of `draw_crops`, of all or of each, (n,) float64.
        height: of the images, in pixels.
        width: of the images, in pixels.
    """
    share, ratios, place = crops.split([TRIES, TRIES, 2], dim=1)
    area = height * width * share
    w, h = torch.round(torch.sqrt(area * ratios)), torch.round(torch.sqrt(area / ratios))

    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    any_fits = fits.any(dim=1)
    most = torch.as_tensor(ratio, dtype=torch.float64)
    widest = torch.round(height * most).clamp(1, width).float()
    tallest = torch.round(width * most).clamp(1, height).float()
    w = torch.where(any_fits, w.gather(1, first)[:, 0], widest)
    h = torch.where(any_fits, h.gather(1, first)[:, 0], tallest)
    top = torch.where(any_fits, torch.floor(place[:, 0] * (height - h + 1)), (height - h) // 2)
    left = torch.where(any_fits, torch.floor(place[:, 1] * (width - w + 1)), (width - w) // 2)
    return torch.stack([top, left, h, w], dim=1)
