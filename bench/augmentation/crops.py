"""Random crops: drawn before the size of an image is known, turned into a box once it is.

The distribution is that of torchvision's RandomResizedCrop.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TRIES = 10  # of torchvision's RandomResizedCrop.get_params


def draw_crops(n: int, least: float, most: float, ratio: float, generator: torch.Generator) -> Tensor:
    """Draw crops of images of any size.

    Args:
        n: number of images.
        least: smallest share of the area.
        most: largest share of the area.
        ratio: largest aspect ratio; the smallest is its inverse.
        generator: to draw from, on the CPU.

    Returns:
        (n, 22): shares of the area for ten tries, their aspect ratios, and how far down and how far across
        the crop is put, both in [0, 1).
    """
    shares = torch.rand(n, TRIES, generator=generator) * (most - least) + least
    ratios = torch.exp((torch.rand(n, TRIES, generator=generator) * 2 - 1) * math.log(ratio))
    return torch.cat([shares, ratios, torch.rand(n, 2, generator=generator)], dim=1)


def choose_boxes(crops: Tensor, ratio: float | Tensor, height: int, width: int) -> Tensor:
    """Return the box of each crop: of the first try that fits, else the largest box at the centre.

    Args:
        crops: (n, 22), of `draw_crops`.
        ratio: that the crops were drawn with, one for all or (n,), float64.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        (n, 4): top, left, height and width, in pixels.
    """
    shares, ratios, position = crops.split([TRIES, TRIES, 2], dim=1)
    area = height * width * shares
    w, h = torch.round(torch.sqrt(area * ratios)), torch.round(torch.sqrt(area / ratios))

    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    any_fits = fits.any(dim=1)
    largest_ratio = torch.as_tensor(ratio, dtype=torch.float64)
    widest = torch.round(height * largest_ratio).clamp(1, width).float()
    tallest = torch.round(width * largest_ratio).clamp(1, height).float()
    w = torch.where(any_fits, w.gather(1, first)[:, 0], widest)
    h = torch.where(any_fits, h.gather(1, first)[:, 0], tallest)
    top = torch.where(any_fits, torch.floor(position[:, 0] * (height - h + 1)), (height - h) // 2)
    left = torch.where(any_fits, torch.floor(position[:, 1] * (width - w + 1)), (width - w) // 2)
    return torch.stack([top, left, h, w], dim=1)
