"""Images without augmentation, as a backbone takes them."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.augmentation.image_ops import luminance


def resize(pixels: Tensor, size: int) -> Tensor:
    """Return images without augmentation, brought to a side of `size` pixels with antialiasing.

    Args:
        pixels: (n, c, h, w), uint8.
        size: of the result, in pixels.

    Returns:
        (n, c, size, size), float32 in [0, 1].
    """
    x = pixels.float().div_(255)
    if x.shape[2:] == (size, size):
        return x
    return F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)


def match_channels(x: Tensor, channels: int) -> Tensor:
    """Return images with the channels a backbone expects: grey is repeated, colour becomes its luminance.

    Args:
        x: (n, 1 or 3, h, w).
        channels: 1 or 3.
    """
    if x.shape[1] == channels:
        return x
    return x.expand(-1, channels, -1, -1) if x.shape[1] == 1 else luminance(x)


def normalise(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return `(x - mean) / std` of images (n, c, h, w), in the memory layout that suits convolutions.

    Args:
        x: (n, c, h, w), float32.
        mean: c values.
        std: c values.
    """
    centre, spread = _constants(mean, std, x.device)
    return ((x - centre) / spread).contiguous(memory_format=torch.channels_last)


@functools.lru_cache
def _constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return both as (1, channels, 1, 1) on `device`, copied once: a copy waits for the device."""
    centre, spread = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, std))
    return centre, spread
