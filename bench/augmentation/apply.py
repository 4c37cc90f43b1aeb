"""Augment a batch of images at once, on whatever device they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.augmentation.draws import Draws, draw
from bench.augmentation.image_ops import (
    NEVER,
    blend_weights,
    blur_taps,
    change_some_,
    crop_taps,
    hue_turn,
    jitter_,
    luminance,
    solarise,
    warp,
)
from bench.augmentation.resampling import Taps, resample
from bench.augmentation.view import RGB, View
from bench.system.device import to_device

# Values that a CPU works on at a time: few enough that its cache still holds some of them.
BLOCK = 2**20


def augment(pixels: Tensor, view: View, size: int, generator: torch.Generator) -> Tensor:
    """Return one view of each image, with parameters that are drawn for it.

    Args:
        pixels: (n, channels, h, w), uint8, on any device.
        view: the recipe.
        size: side of the result, in pixels. The view's own size does not count here.
        generator: to draw from, on the CPU.

    Returns:
        (n, channels, size, size), float32 in [0, 1].
    """
    n, _, height, width = pixels.shape
    return apply(pixels, draw(view, n, height, width, generator), view, size)


def apply(pixels: Tensor, draws: Draws, view: View, size: int) -> Tensor:
    """Return the images changed by the parameters of `draws`; what `view` switches off is not computed.

    Args:
        pixels: (n, channels, h, w), uint8, on any device.
        draws: best on the CPU, whatever device the images are on: then nothing waits for the device.
        view: the recipe that was drawn from.
        size: side of the result, in pixels. The view's own size does not count here.

    Returns:
        (n, channels, size, size), float32 in [0, 1].
    """
    n, channels, height, width = pixels.shape
    fitting = max(1, BLOCK // (channels * max(height * width, size * size)))
    block = max(1, min(n, fitting) if pixels.device.type == "cpu" else n)
    turn = hue_turn(draws.order, draws.jitter & (view.jitter > 0))
    order = (torch.arange(n) // block * (NEVER + 1) + turn).argsort()  # by turn within a block
    sources, back = (to_device(x, pixels.device) for x in (order, order.argsort()))
    prepared = _Prepared.of(draws.rows(order), turn[order], view, pixels, size)
    out = torch.empty(n, channels, size, size, device=pixels.device)
    for start in range(0, n, block):
        rows = slice(start, start + block)
        x = _apply(pixels.index_select(0, sources[rows]), prepared.rows(rows), view)
        x.clamp_(0, 1)  # weights that add up to 1 do so only nearly
        torch.index_select(x, 0, back[rows] - start, out=out[rows])
    return out


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """What is computed of a batch's draws before its images are touched, a row an image.

    The first six are on the CPU, the others where the images are.

    Args:
        turn: (n,), of `hue_turn`.
        affine: (n,), bool, which images are changed; likewise the next four.
        grey: (n,), bool.
        blur: (n,), bool.
        solarise: (n,), bool.
        flip: (n,), bool.
        maps: (n, 2, 3), of `affine_maps`.
        rows_taps: of the crops; none where each crop is its whole image at its own size.
        columns_taps: likewise; they mirror the images that are flipped.
        blur_taps: none where nothing is blurred.
        weights: (n, 3, 3), of `blend_weights`.
        hue: (n,), shift; none where no hue is shifted.
    """

    turn: Tensor
    affine: Tensor
    grey: Tensor
    blur: Tensor
    solarise: Tensor
    flip: Tensor
    maps: Tensor
    rows_taps: Taps | None
    columns_taps: Taps | None
    blur_taps: Taps | None
    weights: Tensor
    hue: Tensor | None

    @classmethod
    def of(cls, draws: Draws, turn: Tensor, view: View, pixels: Tensor, size: int) -> _Prepared:
        _, channels, height, width = pixels.shape
        needed = (draws.box, draws.flip, draws.maps, draws.sigma, draws.hue)
        box, flip, maps, sigma, hue = (to_device(x, pixels.device) for x in needed)
        whole = height == width == size and bool(
            (draws.box == draws.box.new_tensor([0, 0, size, size])).all()
        )
        rows, columns = (None, None) if whole else crop_taps(box, flip, height, width, size)
        shifts_hue = channels == RGB and view.jitter > 0 and bool(draws.hue.any())
        return cls(
            turn=turn,
            affine=draws.affine,
            grey=draws.grey,
            blur=draws.sigma > 0,
            solarise=draws.solarise,
            flip=draws.flip,
            maps=maps,
            rows_taps=rows,
            columns_taps=columns,
            blur_taps=blur_taps(sigma, size) if view.blur else None,
            weights=to_device(blend_weights(draws.factors, draws.order), pixels.device),
            hue=hue if shifts_hue else None,
        )

    def rows(self, index: slice) -> _Prepared:
        """Return what belongs to some of the images."""
        present = {name: value for name, value in vars(self).items() if value is not None}
        return replace(self, **{name: value[index] for name, value in present.items()})


def _apply(pixels: Tensor, prepared: _Prepared, view: View) -> Tensor:
    """Return what `apply` makes of a block, within [0, 1] but for rounding."""
    x = pixels.float().div_(255)
    if view.affine:
        change_some_(x, prepared.affine, lambda chosen, at: warp(chosen, prepared.maps[at]))
    if prepared.rows_taps is not None and prepared.columns_taps is not None:
        x = resample(x, prepared.rows_taps, prepared.columns_taps)
    else:
        change_some_(x, prepared.flip, lambda chosen, _: chosen.flip(3))
    if view.jitter:
        jitter_(x, prepared.turn, prepared.weights, prepared.hue)
    if view.grey and x.shape[1] == RGB:
        change_some_(x, prepared.grey, lambda chosen, _: luminance(chosen).expand_as(chosen))
    if (taps := prepared.blur_taps) is not None:
        change_some_(x, prepared.blur, lambda chosen, at: resample(chosen, taps[at], taps[at]))
    if view.solarise:
        change_some_(x, prepared.solarise, lambda chosen, _: solarise(chosen))
    return x
