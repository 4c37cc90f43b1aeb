"""Draw the parameters of augmentation, for each image of a batch its own.

One draw a batch is a common bug of batched transforms. Parameters are drawn on the CPU, from a generator,
so that they are the same whatever device the images are on.

The distributions are those of torchvision's RandomResizedCrop, RandomHorizontalFlip, ColorJitter,
RandomGrayscale, GaussianBlur, RandomSolarize and RandomAffine, whose translation is in whole pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.augmentation.crops import choose_boxes, draw_crops
from bench.augmentation.view import View


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
        maps: (n, 2, 3), from output to input coordinates in [-1, 1].
    """

    crop: Tensor
    box: Tensor
    flip: Tensor
    factors: Tensor
    hue: Tensor
    order: Tensor
    jitter: Tensor
    grey: Tensor
    sigma: Tensor
    solarise: Tensor
    affine: Tensor
    maps: Tensor

    @classmethod
    def join(cls, parts: Sequence[Draws]) -> Draws:
        """Return the draws of several batches as those of one."""
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])})

    def rows(self, index: slice | Tensor) -> Draws:
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

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    def chance(p: float) -> Tensor:
        return torch.rand(n, generator=generator) < p

    strengths = (view.brightness, view.contrast, view.saturation)
    factors = torch.stack([uniform(max(0.0, 1 - s), 1 + s) for s in strengths], dim=1)
    sigma = uniform(view.blur_min, view.blur_max)
    crop = draw_crops(n, view.crop_min, view.crop_max, view.crop_ratio, generator)
    return Draws(
        crop=crop,
        box=choose_boxes(crop, view.crop_ratio, height, width),
        flip=chance(view.flip),
        factors=factors,
        hue=uniform(-view.hue, view.hue),
        order=torch.rand(n, 4, generator=generator).argsort(dim=1),
        jitter=chance(view.jitter),
        grey=chance(view.grey),
        sigma=torch.where(chance(view.blur), sigma, torch.zeros(())),
        solarise=chance(view.solarise),
        affine=chance(view.affine),
        maps=affine_maps(
            angle=uniform(-view.rotate, view.rotate) * (math.pi / 180),
            shift=uniform(-view.translate, view.translate, 2) * 2,
            zoom=uniform(1 - view.zoom, 1 + view.zoom),
            shear=uniform(-view.shear, view.shear) * (math.pi / 180),
            aspect=height / width,
        ),
    )


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
