"""Random crops: drawn before the size of an image is known, turned into a box once it is.

The distribution is that of torchvision's RandomResizedCrop.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

TRIES = 10  # of torchvision's RandomResizedCrop.get_params
NUMBERS = 2 * TRIES + 2  # that a crop takes


def draw_crops(numbers: NDArray[np.float32], least: float, most: float, ratio: float) -> NDArray[np.float32]:
    """Turn random numbers into crops of images of any size.

    Args:
        numbers: n * 22, uniform in [0, 1), in one dimension.
        least: smallest share of the area.
        most: largest share of the area.
        ratio: largest aspect ratio; the smallest is its inverse.

    Returns:
        (n, 22): shares of the area for ten tries, their aspect ratios, and how far down and how far across
        the crop is put, both in [0, 1).
    """
    n = len(numbers) // NUMBERS
    shares, ratios, position = np.split(numbers, [TRIES * n, 2 * TRIES * n])
    exponents = (ratios * 2 - 1) * np.float32(math.log(ratio))
    return np.concatenate(
        [
            (shares * np.float32(most - least) + np.float32(least)).reshape(n, TRIES),
            torch.from_numpy(exponents).exp().numpy().reshape(n, TRIES),  # NumPy's rounds otherwise
            position.reshape(n, 2),
        ],
        axis=1,
    )


def choose_boxes(
    crops: NDArray[np.float32], ratio: float | NDArray[np.float64], height: int, width: int
) -> NDArray[np.float32]:
    """Return the box of each crop: of the first try that fits, else the largest box at the centre.

    Args:
        crops: (n, 22), of `draw_crops`.
        ratio: that the crops were drawn with, one for all or (n,).
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        (n, 4): top, left, height and width, in pixels.
    """
    shares, ratios, position = np.split(crops, [TRIES, 2 * TRIES], axis=1)
    area = np.float32(height * width) * shares
    w, h = np.rint(np.sqrt(area * ratios)), np.rint(np.sqrt(area / ratios))

    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.argmax(axis=1)[:, None]
    any_fits = fits.any(axis=1)
    largest_ratio = np.asarray(ratio, dtype=np.float64)
    widest = np.rint(height * largest_ratio).clip(1, width).astype(np.float32)
    tallest = np.rint(width * largest_ratio).clip(1, height).astype(np.float32)
    w = np.where(any_fits, np.take_along_axis(w, first, axis=1)[:, 0], widest)
    h = np.where(any_fits, np.take_along_axis(h, first, axis=1)[:, 0], tallest)
    down, across = (np.float32(height) - h), (np.float32(width) - w)
    top = np.where(any_fits, np.floor(position[:, 0] * (down + 1)), down // 2)
    left = np.where(any_fits, np.floor(position[:, 1] * (across + 1)), across // 2)
    return np.stack([top, left, h, w], axis=1)
