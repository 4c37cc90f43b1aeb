"""Views: recipes of augmentation, and what is drawn for each image of a batch; bench/augment.py applies it.

Every image of a batch gets parameters of its own (one draw a batch is a common bug of batched
transforms). Parameters are drawn on the CPU from a generator, so that they are the same on every
device.

The distributions are those of torchvision's RandomResizedCrop, RandomHorizontalFlip, ColorJitter,
RandomGrayscale, GaussianBlur, RandomSolarize and RandomAffine, whose translation is in whole pixels.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.augmentation.crops import boxes_of, draw_crops
from bench.augmentation.image_ops import RGB, luminance
from bench.config import setting
from bench.errors import BadValue


class Symmetries(Protocol):
    """What of a dataset decides which augmentation keeps the label."""

    @property
    def channels(self) -> int:
        """1 or 3."""

    @property
    def flip(self) -> bool:
        """A mirrored image keeps its label."""

    @property
    def colour(self) -> bool:
        """A changed colour keeps its label."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One augmentation recipe; the defaults are SimCLR's for ImageNet without its blur."""

    crop_min: float = setting(0.08, "smallest share of the area a crop keeps", above=0, most=1)
    crop_max: float = setting(1.0, "largest share of the area a crop keeps", above=0, most=1)
    crop_ratio: float = setting(4 / 3, "largest aspect ratio of a crop, and its inverse", least=1)
    flip: float = setting(0.5, "probability of a mirrored image", least=0, most=1)
    jitter: float = setting(0.8, "probability of colour jitter", least=0, most=1)
    brightness: float = setting(0.8, "factor within 1 ± this", least=0)
    contrast: float = setting(0.8, "factor within 1 ± this", least=0)
    saturation: float = setting(0.8, "factor within 1 ± this", least=0)
    hue: float = setting(0.2, "shift within ± this share of the circle", least=0, most=0.5)
    grey: float = setting(0.2, "probability of a grey image", least=0, most=1)
    blur: float = setting(0.0, "probability of a Gaussian blur over 10 % of the side", least=0, most=1)
    blur_min: float = setting(0.1, "smallest sigma, in pixels", above=0)
    blur_max: float = setting(2.0, "largest sigma, in pixels", above=0)
    solarise: float = setting(0.0, "probability of inverting what is bright", least=0, most=1)
    affine: float = setting(0.0, "probability of an affine map", least=0, most=1)
    rotate: float = setting(15.0, "of the affine map: within ± degrees", least=0, most=180)
    translate: float = setting(0.1, "of the affine map: within ± this share of the side", least=0, most=1)
    zoom: float = setting(0.1, "of the affine map: factor within 1 ± this", least=0, most=0.9)
    shear: float = setting(10.0, "of the affine map: within ± degrees", least=0, most=60)

    def __post_init__(self) -> None:
        for low, high in (("crop_min", "crop_max"), ("blur_min", "blur_max")):
            least, most = getattr(self, low), getattr(self, high)
            if least > most:
                raise BadValue(f"views.{low}: {least:g} is more than {high} ({most:g}). Set both.")

    def label_preserving(self, data: Symmetries) -> View:
        """Return the view without what would change a label of `data`, or do nothing to grey images."""
        view = self if data.flip else replace(self, flip=0.0)
        if data.channels == RGB and not data.colour:
            view = replace(view, solarise=0.0)  # of each channel by itself: red becomes black
        if data.channels == RGB and data.colour:
            return view
        return replace(view, saturation=0.0, hue=0.0, grey=0.0)


# ---- drawing


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The parameters of a batch, an entry (or row) an image.

    Args:
        crop: (n, 22), as of `bench.augmentation.crops.draw_crops`, of images of any size.
        box: (n, 4), top, left, height, width of that crop in pixels.
        flip: (n,), bool.
        factors: (n, 3), brightness, contrast, saturation; 1 changes nothing.
        hue: (n,), shift as a share of the circle.
        order: (n, 4), a permutation: which of brightness, contrast, saturation, hue comes when.
        jitter: (n,), bool.
        grey: (n,), bool.
        sigma: (n,), of the blur in pixels, 0 for none.
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

    def rows(self, some: slice | Tensor) -> Draws:
        """Return the draws of some of the images."""
        return Draws(**{name: value[some] for name, value in vars(self).items()})


def draw(view: View, n: int, height: int, width: int, generator: torch.Generator) -> Draws:
    """Return the parameters of `n` images of `height` x `width` pixels.

    Args:
        view: the recipe.
        n: number of images.
        height: of the images, in pixels.
        width: of the images, in pixels.
        generator: on the CPU.
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
        box=boxes_of(crop, view.crop_ratio, height, width),
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
    """Return (n, 2, 3) maps from output to input: shear, rotate and zoom about the centre, then shift.

    Args:
        angle: (n,), clockwise, in radians.
        shift: (n, 2), right and down, in half sides.
        zoom: (n,), factor.
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


# ---- without augmentation


def resize(pixels: Tensor, size: int) -> Tensor:
    """Return (n, c, size, size), float32 in [0, 1]: the clean images at the backbone's resolution."""
    x = pixels.float().div_(255)
    if x.shape[2:] == (size, size):
        return x
    return F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)


def match_channels(x: Tensor, channels: int) -> Tensor:
    """Return `x` with the channels a backbone expects: grey repeated, colour as its luminance."""
    if x.shape[1] == channels:
        return x
    return x.expand(-1, channels, -1, -1) if x.shape[1] == 1 else luminance(x)


def normalise(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return `(x - mean) / std` a channel, laid out as convolutions like it best."""
    centre, spread = _constants(mean, std, x.device)
    return ((x - centre) / spread).contiguous(memory_format=torch.channels_last)


@functools.lru_cache
def _constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return both as (1, channels, 1, 1) on `device`: copied once, for a copy waits for the device."""
    centre, spread = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, std))
    return centre, spread
