"""Augmentation: per sample, a batch at a time, on whatever device the images are.

Every image of a batch gets parameters of its own (one draw a batch is a common bug of batched
transforms). Parameters are drawn on the CPU from a generator, so that they are the same on every
device; applying them is then a fixed function: `augment = apply(draw)`.

Crop, antialiased resize and flip are two batched matrix products with resampling weights a sample.
The distributions are those of torchvision's RandomResizedCrop, RandomHorizontalFlip, ColorJitter,
RandomGrayscale, GaussianBlur, RandomSolarize and RandomAffine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.config import setting

CROP_TRIES = 10  # of torchvision's RandomResizedCrop.get_params
SOLARISE_FROM = 128 / 255


class Symmetries(Protocol):
    """What of a dataset decides which augmentation keeps the label."""

    @property
    def channels(self) -> int: ...
    @property
    def flip(self) -> bool: ...
    @property
    def colour(self) -> bool: ...


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

    def label_preserving(self, data: Symmetries) -> View:
        """Return the view without what would change a label of `data`, or do nothing to grey images."""
        view = self if data.flip else replace(self, flip=0.0)
        if data.colour and data.channels > 1:
            return view
        return replace(view, saturation=0.0, hue=0.0, grey=0.0)


# ---- drawing


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The parameters of a batch, an entry (or row) an image.

    Args:
        box: (n, 4), top, left, height, width of the crop in pixels.
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

    def to(self, device: torch.device) -> Draws:
        """Return the draws on `device`."""
        if device.type == "cpu":
            return self
        moved = {name: value.to(device, non_blocking=True) for name, value in vars(self).items()}
        return Draws(**moved)


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
    return Draws(
        box=_draw_boxes(view, n, height, width, generator),
        flip=chance(view.flip),
        factors=factors,
        hue=uniform(-view.hue, view.hue),
        order=torch.rand(n, 4, generator=generator).argsort(dim=1),
        jitter=chance(view.jitter),
        grey=chance(view.grey),
        sigma=torch.where(chance(view.blur), sigma, torch.zeros(())),
        solarise=chance(view.solarise),
        affine=chance(view.affine),
        maps=_affine_maps(
            angle=uniform(-view.rotate, view.rotate) * (math.pi / 180),
            shift=uniform(-view.translate, view.translate, 2) * 2,
            zoom=uniform(1 - view.zoom, 1 + view.zoom),
            shear=uniform(-view.shear, view.shear) * (math.pi / 180),
        ),
    )


def _draw_boxes(view: View, n: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Return (n, 4) crops: the first of ten tries that fits, else the largest centred one."""
    tries = (n, CROP_TRIES)
    low, high = sorted((view.crop_min, view.crop_max))
    area = height * width * (torch.rand(tries, generator=generator) * (high - low) + low)
    spread = math.log(view.crop_ratio)
    ratio = torch.exp((torch.rand(tries, generator=generator) * 2 - 1) * spread)
    w = torch.round(torch.sqrt(area * ratio)).clamp_(min=1)
    h = torch.round(torch.sqrt(area / ratio)).clamp_(min=1)
    place = torch.rand(n, 2, generator=generator)

    fits = (w <= width) & (h <= height)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    any_fits = fits.any(dim=1)
    widest = min(width, max(1, round(height * view.crop_ratio)))
    tallest = min(height, max(1, round(width * view.crop_ratio)))
    w = torch.where(any_fits, w.gather(1, first)[:, 0], torch.tensor(float(widest)))
    h = torch.where(any_fits, h.gather(1, first)[:, 0], torch.tensor(float(tallest)))
    top = torch.where(any_fits, torch.floor(place[:, 0] * (height - h + 1)), (height - h) // 2)
    left = torch.where(any_fits, torch.floor(place[:, 1] * (width - w + 1)), (width - w) // 2)
    return torch.stack([top, left, h, w], dim=1)


def _affine_maps(angle: Tensor, shift: Tensor, zoom: Tensor, shear: Tensor) -> Tensor:
    """Return (n, 2, 3) maps from output to input: rotate, shear and zoom about the centre, shift."""
    cos, sin, tan = torch.cos(angle), torch.sin(angle), torch.tan(shear)
    forward = torch.stack(
        [
            torch.stack([cos, -sin - cos * tan], dim=1),
            torch.stack([sin, cos - sin * tan], dim=1),
        ],
        dim=1,
    ) * zoom.view(-1, 1, 1)
    inverse = torch.linalg.inv(forward)
    return torch.cat([inverse, -inverse @ shift.unsqueeze(2)], dim=2)


# ---- applying


def augment(pixels: Tensor, view: View, size: int, generator: torch.Generator) -> Tensor:
    """Return one view of each image.

    Args:
        pixels: (n, channels, h, w), uint8, on any device.
        view: the recipe.
        size: side of the result, in pixels.
        generator: on the CPU.

    Returns:
        (n, channels, size, size), float32 in [0, 1].
    """
    n, _, height, width = pixels.shape
    return apply(pixels, draw(view, n, height, width, generator).to(pixels.device), view, size)


def apply(pixels: Tensor, draws: Draws, view: View, size: int) -> Tensor:
    """Return the images with the parameters of `draws`; what `view` switches off is not computed."""
    x = pixels.float().div_(255)
    if view.affine:
        x = _where(draws.affine, x, lambda some: warp(some, draws.maps[draws.affine]))
    x = crop_resize_flip(x, draws.box, draws.flip, size)
    if view.jitter:
        x = _where(
            draws.jitter,
            x,
            lambda some: jitter(
                some, draws.factors[draws.jitter], draws.hue[draws.jitter], draws.order[draws.jitter]
            ),
        )
    if view.grey and x.shape[1] == 3:
        x = torch.where(draws.grey.view(-1, 1, 1, 1), luminance(x), x)
    if view.blur:
        x = blur(x, draws.sigma)
    if view.solarise:
        x = torch.where(draws.solarise.view(-1, 1, 1, 1) & (x >= SOLARISE_FROM), 1 - x, x)
    return x


def _where(chosen: Tensor, x: Tensor, change) -> Tensor:  # type: ignore[no-untyped-def]
    """Return `x` with `change` made to the chosen rows only."""
    index = chosen.nonzero()[:, 0]
    return x.index_copy(0, index, change(x[index])) if len(index) else x


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
    if x.shape[1] == 1:
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
        reference = torch.where(turn == 2, grey, mean * (turn == 1))  # noqa: PLR2004
        x = torch.lerp(reference, x, factor).clamp_(0, 1)
        if x.shape[1] == 3:  # noqa: PLR2004
            now = (kind == 3) & (hue != 0)  # noqa: PLR2004
            x = _where(now, x, lambda some, now=now: shift_hue(some, hue[now]))
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
    radius = min(max(1, side // 20), side - 1)
    offsets = torch.arange(-radius, radius + 1, device=x.device)
    safe = torch.where(sigma > 0, sigma, torch.ones_like(sigma)).unsqueeze(1)
    kernel = torch.exp(-0.5 * (offsets / safe) ** 2)
    kernel = torch.where((sigma > 0).unsqueeze(1), kernel, (offsets == 0).float())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    at = torch.arange(side, device=x.device).unsqueeze(1) + offsets
    at = at.abs()
    at = torch.where(at >= side, 2 * (side - 1) - at, at)
    spread = F.one_hot(at, side).to(x.dtype)  # (side, kernel, side)
    matrix = torch.einsum("nk,ikj->nij", kernel, spread).unsqueeze(1)
    return matrix @ x @ matrix.transpose(2, 3)


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
    centre = torch.tensor(mean, device=x.device).view(1, -1, 1, 1)
    spread = torch.tensor(std, device=x.device).view(1, -1, 1, 1)
    return ((x - centre) / spread).contiguous(memory_format=torch.channels_last)
