"""Draw the parameters of augmentation, for each image of a batch its own.

One draw a batch is a common bug of batched transforms. Parameters are drawn on the CPU, from a generator,
so that they are the same whatever device the images are on; and worked out by NumPy, whose calls cost a
host a fraction of torch's on arrays this small.

The distributions are those of torchvision's RandomResizedCrop, RandomHorizontalFlip, ColorJitter,
RandomGrayscale, GaussianBlur, RandomSolarize and RandomAffine, whose translation is in whole pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.augmentation.crops import NUMBERS, choose_boxes, draw_crops
from bench.augmentation.view import View

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
TOTAL = NUMBERS + 20  # random numbers an image


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The parameters of a batch, a row an image. A bool says whether an operation is applied.

    Args:
        crop: (n, 22), of `bench.augmentation.crops.draw_crops`; it fits images of any size.
        box: (n, 4), top, left, height and width of that crop, in pixels.
        flip: (n,), bool.
        factors: (n, 3), of brightness, contrast and saturation; 1 changes nothing.
        hue: (n,), shift as a share of the circle.
        order: (n, 4), brightness 0, contrast 1, saturation 2 and hue 3 in the order they are applied in.
        jitter: (n,), bool.
        grey: (n,), bool.
        sigma: (n,), of the blur in pixels; 0 is no blur.
        solarise: (n,), bool.
        affine: (n,), bool.
        maps: (n, 2, 3), from output to input coordinates in [-1, 1]; 0 where a view has no affine map.
    """

    crop: Floats
    box: Floats
    flip: Bools
    factors: Floats
    hue: Floats
    order: NDArray[np.int64]
    jitter: Bools
    grey: Bools
    sigma: Floats
    solarise: Bools
    affine: Bools
    maps: Floats

    @classmethod
    def join(cls, parts: Sequence[Draws]) -> Draws:
        """Return the draws of several batches as those of one."""
        if len(parts) == 1:
            return parts[0]
        names = vars(parts[0])
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def rows(self, index: slice | NDArray[Any]) -> Draws:
        """Return the draws of the images at `index`."""
        return Draws(**{name: value[index] for name, value in vars(self).items()})


def draw(view: View, n: int, height: int, width: int, generator: torch.Generator) -> Draws:
    """Draw the parameters of `n` images of `height` x `width` pixels.

    Args:
        view: the recipe.
        n: number of images.
        height: of the images, in pixels.
        width: of the images, in pixels.
        generator: to draw from, on the CPU. How much is drawn does not depend on height and width.
    """
    left = torch.rand(n * TOTAL, generator=generator).numpy()

    def take(count: int) -> Floats:
        nonlocal left
        taken, left = left[: n * count], left[n * count :]
        return taken

    def uniform(low: float, high: float) -> Floats:
        numbers: Floats = take(1) * np.float32(high - low) + np.float32(low)
        return numbers

    def chance(p: float) -> Bools:
        happens: Bools = take(1) < np.float32(p)
        return happens

    strengths = (view.brightness, view.contrast, view.saturation)
    factors = np.stack([uniform(max(0.0, 1 - s), 1 + s) for s in strengths], axis=1)
    sigma = uniform(view.blur_min, view.blur_max)
    crop = draw_crops(take(NUMBERS), view.crop_min, view.crop_max, view.crop_ratio)
    return Draws(
        crop=crop,
        box=choose_boxes(crop, view.crop_ratio, height, width),
        flip=chance(view.flip),
        factors=factors,
        hue=uniform(-view.hue, view.hue),
        order=take(4).reshape(n, 4).argsort(axis=1, kind="stable"),
        jitter=chance(view.jitter),
        grey=chance(view.grey),
        sigma=sigma * chance(view.blur),
        solarise=chance(view.solarise),
        affine=chance(view.affine),
        maps=_draw_maps(view, take(5), height / width),
    )


def _draw_maps(view: View, numbers: Floats, aspect: float) -> Floats:
    """Return the affine maps (n, 2, 3) of n * 5 random numbers."""
    n = len(numbers) // 5
    if not view.affine:
        return np.zeros((n, 2, 3), dtype=np.float32)
    angle, shift, zoom, shear = torch.from_numpy(numbers).split([n, 2 * n, n, n])

    def within(numbers: Tensor, low: float, high: float) -> Tensor:
        return numbers * (high - low) + low

    return affine_maps(
        angle=within(angle, -view.rotate, view.rotate) * (math.pi / 180),
        shift=within(shift.view(n, 2), -view.translate, view.translate) * 2,
        zoom=within(zoom, 1 - view.zoom, 1 + view.zoom),
        shear=within(shear, -view.shear, view.shear) * (math.pi / 180),
        aspect=aspect,
    ).numpy()


def affine_maps(angle: Tensor, shift: Tensor, zoom: Tensor, shear: Tensor, aspect: float) -> Tensor:
    """Return maps (n, 2, 3) from output to input that shear, rotate and zoom about the centre, then shift.

    Args:
        angle: (n,), clockwise, in radians.
        shift: (n, 2), right and down, in half sides.
        zoom: (n,), a factor.
        shear: (n,), along the rows, in radians.
        aspect: height over width. A right angle in pixels is not one in coordinates of [-1, 1].
    """
    cos, sin, tan = torch.cos(angle), torch.sin(angle), torch.tan(shear)
    forward = torch.stack(
        [
            torch.stack([cos, -sin - cos * tan], dim=1),
            torch.stack([sin, cos - sin * tan], dim=1),
        ],
        dim=1,
    ) * zoom.view(-1, 1, 1)
    inverse = torch.linalg.inv(forward) * torch.tensor([[1.0, aspect], [1 / aspect, 1.0]])
    return torch.cat([inverse, -inverse @ shift.unsqueeze(2)], dim=2)
