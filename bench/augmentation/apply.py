"""Augmentation: per sample, a batch at a time, on whatever device the images are: `augment = apply(draw)`."""

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

# Values of a batch that a CPU works on at a time, some of which its cache then still has.
BLOCK = 2**20


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
    return apply(pixels, draw(view, n, height, width, generator), view, size)


def apply(pixels: Tensor, draws: Draws, view: View, size: int) -> Tensor:
    """Return the images with the parameters of `draws`; what `view` switches off is not computed.

    Args:
        pixels: as of `augment`.
        draws: best on the CPU, whatever device the images are on: then nothing waits for the device.
        view: what was drawn from.
        size: as of `augment`.
    """
    n, channels, height, width = pixels.shape
    fit = max(1, BLOCK // (channels * max(height * width, size * size)))
    count = max(1, min(n, fit) if pixels.device.type == "cpu" else n)
    turn = hue_turn(draws.order, draws.jitter & (view.jitter > 0))
    sequence = (torch.arange(n) // count * (NEVER + 1) + turn).argsort()  # by turn within a block
    places, back = (to_device(x, pixels.device) for x in (sequence, sequence.argsort()))
    ready = _Ready.of(draws.rows(sequence), turn[sequence], view, pixels, size)
    out = torch.empty(n, channels, size, size, device=pixels.device)
    for start in range(0, n, count):
        some = slice(start, start + count)
        x = _apply(pixels.index_select(0, places[some]), ready.of_some(some), view)
        x.clamp_(0, 1)  # weights that add up to 1 do so only nearly
        torch.index_select(x, 0, back[some] - start, out=out[some])
    return out


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """What is worked out of a batch's draws before its images are touched, an entry an image.

    Args:
        turn: (n,), of `hue_turn`, on the CPU, as are the five that say which images are changed.
        affine: (n,), bool.
        grey: (n,), bool.
        blur: (n,), bool.
        solarise: (n,), bool.
        flip: (n,), bool.
        maps: (n, 2, 3), where the images are, as is the rest.
        rows: of the crops; None where each is its whole image at its own size.
        columns: likewise; they mirror some.
        taps: of the blur; None without.
        weights: of `blend_weights`.
        hue: (n,); None if none is to be shifted.
    """

    turn: Tensor
    affine: Tensor
    grey: Tensor
    blur: Tensor
    solarise: Tensor
    flip: Tensor
    maps: Tensor
    rows: Taps | None
    columns: Taps | None
    taps: Taps | None
    weights: Tensor
    hue: Tensor | None

    @classmethod
    def of(cls, draws: Draws, turn: Tensor, view: View, pixels: Tensor, size: int) -> _Ready:
        _, channels, height, width = pixels.shape
        here = (draws.box, draws.flip, draws.maps, draws.sigma, draws.hue)
        box, flip, maps, sigma, hue = (to_device(x, pixels.device) for x in here)
        whole = height == width == size and bool(
            (draws.box == draws.box.new_tensor([0, 0, size, size])).all()
        )
        rows, columns = (None, None) if whole else crop_taps(box, flip, height, width, size)
        shifts = channels == RGB and view.jitter > 0 and bool(draws.hue.any())
        return cls(
            turn=turn,
            affine=draws.affine,
            grey=draws.grey,
            blur=draws.sigma > 0,
            solarise=draws.solarise,
            flip=draws.flip,
            maps=maps,
            rows=rows,
            columns=columns,
            taps=blur_taps(sigma, size) if view.blur else None,
            weights=to_device(blend_weights(draws.factors, draws.order), pixels.device),
            hue=hue if shifts else None,
        )

    def of_some(self, some: slice) -> _Ready:
        """Return what belongs to some of the images."""
        parts = ((name, part) for name, part in vars(self).items() if part is not None)
        return replace(self, **{name: part[some] for name, part in parts})


def _apply(pixels: Tensor, ready: _Ready, view: View) -> Tensor:
    """Return what `apply` does to a block, within [0, 1] but for rounding."""
    x = pixels.float().div_(255)
    if view.affine:
        change_some_(x, ready.affine, lambda some, at: warp(some, ready.maps[at]))
    if ready.rows is not None and ready.columns is not None:
        x = resample(x, ready.rows, ready.columns)
    else:
        change_some_(x, ready.flip, lambda some, _: some.flip(3))
    if view.jitter:
        jitter_(x, ready.turn, ready.weights, ready.hue)
    if view.grey and x.shape[1] == RGB:
        change_some_(x, ready.grey, lambda some, _: luminance(some).expand_as(some))
    if (taps := ready.taps) is not None:
        change_some_(x, ready.blur, lambda some, at: resample(some, taps[at], taps[at]))
    if view.solarise:
        change_some_(x, ready.solarise, lambda some, _: solarise(some))
    return x
