"""Every operation does what torchvision does, given the same parameters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TVF

from bench.augmentation.draws import affine_maps
from bench.augmentation.image_ops import (
    HUE,
    blend_weights,
    blur_taps,
    hue_offsets,
    hue_turn,
    jitter_,
    luminance,
    shift_hue_,
    solarise,
    warp,
)
from bench.augmentation.resampling import crop_weights, resample

ORDERS = sorted(itertools.permutations(range(4)), key=lambda order: order.index(HUE))


def images(n: int, channels: int, height: int, width: int) -> Tensor:
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0))


def crop_resize_flip(x: Tensor, box: Tensor, flip: Tensor, size: int) -> Tensor:
    mirrored = torch.stack([torch.zeros_like(flip), flip])
    rows, columns = crop_weights(box[:, :2].T, box[:, 2:].T, mirrored, *x.shape[2:], size)
    return resample(x, rows, columns)


def jitter(x: Tensor, factors: Tensor, hue: Tensor) -> Tensor:
    """Return what `jitter_` makes of images in all orders."""
    changed, order = x.clone(), np.array(ORDERS)
    turn = hue_turn(order, np.ones(len(x), dtype=bool))
    ends = np.bincount(turn, minlength=4).cumsum().tolist()
    weights = torch.from_numpy(blend_weights(factors.numpy(), order))
    offsets = torch.from_numpy(hue_offsets(hue.numpy())) if x.shape[1] == 3 else None
    jitter_(changed, ends, weights, offsets)
    return changed


def shift_hue(x: Tensor, shift: Tensor) -> Tensor:
    changed = x.clone()
    shift_hue_(changed, torch.from_numpy(hue_offsets(shift.numpy())))
    return changed


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    taps = blur_taps(sigma, x.shape[2])
    return resample(x, taps, taps)


@pytest.mark.parametrize(
    ("height", "width", "box", "size"),
    [
        (40, 57, (3, 5, 30, 44), 16),  # shrinks: the filter is wider than a pixel
        (40, 57, (0, 0, 40, 57), 64),  # grows
        (57, 40, (7, 2, 50, 9), 24),  # shrinks down, grows across
        (8, 8, (2, 3, 1, 1), 8),  # of one pixel
        (32, 32, (0, 0, 32, 32), 32),
        (120, 90, (11, 13, 97, 61), 8),
    ],
)
@pytest.mark.parametrize("flip", [False, True])
def test_crop_resize_and_flip_is_torchvisions(
    height: int, width: int, box: tuple[int, int, int, int], size: int, *, flip: bool
) -> None:
    x = images(2, 3, height, width)
    result = crop_resize_flip(x, torch.tensor([box, box]).float(), torch.tensor([flip, flip]), size)
    expected = TVF.resized_crop(x, *box, [size, size], antialias=True)
    expected = TVF.horizontal_flip(expected) if flip else expected

    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


def test_each_image_of_a_batch_has_its_own_box_and_flip() -> None:
    x = images(3, 3, 30, 20)
    boxes, flips = [(0, 0, 9, 9), (10, 3, 20, 14), (1, 2, 28, 5)], [True, False, True]
    result = crop_resize_flip(x, torch.tensor(boxes).float(), torch.tensor(flips), 12)

    for row, box, flip, crop in zip(x, boxes, flips, result, strict=True):
        expected = TVF.resized_crop(row, *box, [12, 12], antialias=True)
        expected = TVF.horizontal_flip(expected) if flip else expected
        torch.testing.assert_close(crop, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_torchvisions_in_every_order(channels: int) -> None:
    x = images(24, channels, 9, 7)
    generator = torch.Generator().manual_seed(1)
    factors = torch.rand(24, 3, generator=generator) * 1.8
    hue = torch.rand(24, generator=generator) - 0.5
    result = jitter(x, factors, hue)

    for i, order in enumerate(ORDERS):
        one = x[i]
        for kind in order:
            if kind == 0:
                one = TVF.adjust_brightness(one, float(factors[i, 0]))
            elif kind == 1:
                one = TVF.adjust_contrast(one, float(factors[i, 1]))
            elif kind == 2:
                one = TVF.adjust_saturation(one, float(factors[i, 2]))
            else:
                one = TVF.adjust_hue(one, float(hue[i]))
        torch.testing.assert_close(result[i], one, atol=2e-5, rtol=0)


def test_jitter_in_two_orders_gives_two_images() -> None:
    x = images(1, 3, 8, 8).expand(24, -1, -1, -1)
    result = jitter(x, torch.tensor([[1.6, 0.5, 0.3]] * 24), torch.full((24,), 0.1))

    assert len(torch.unique(result.flatten(1), dim=0)) > 20


@pytest.mark.parametrize("shift", [-0.5, -0.2, -0.01, 0.1, 0.33, 0.5])
def test_a_hue_shift_is_torchvisions(shift: float) -> None:
    corners = torch.tensor(list(itertools.product([0.0, 0.5, 1.0], repeat=3))).T.reshape(1, 3, 3, 9)
    x = torch.cat([images(1, 3, 3, 9), corners])  # greys, primaries and ties of two channels among them

    torch.testing.assert_close(
        shift_hue(x, torch.full((2,), shift)), TVF.adjust_hue(x, shift), atol=1e-5, rtol=0
    )


def test_a_hue_shift_of_the_whole_circle_changes_nothing() -> None:
    x = images(2, 3, 8, 8)

    torch.testing.assert_close(shift_hue(x, torch.tensor([1.0, -1.0])), x, atol=1e-5, rtol=0)


def test_luminance_is_torchvisions_grey() -> None:
    x = images(2, 3, 8, 8)

    torch.testing.assert_close(luminance(x), TVF.rgb_to_grayscale(x), atol=1e-6, rtol=0)
    assert torch.equal(luminance(x[:, :1]), x[:, :1])


@pytest.mark.parametrize(("side", "kernel"), [(8, 3), (32, 3), (64, 7), (96, 9), (224, 23)])
def test_blur_is_torchvisions_with_a_kernel_of_a_tenth_of_the_side(side: int, kernel: int) -> None:
    x, sigmas = images(3, 1, side, side), torch.tensor([0.1, 0.9, 2.0])
    result = blur(x, sigmas)

    for row, sigma, blurred in zip(x, sigmas, result, strict=True):
        expected = TVF.gaussian_blur(row, [kernel, kernel], [float(sigma)])
        torch.testing.assert_close(blurred, expected, atol=1e-5, rtol=0)


def test_blur_of_sigma_zero_leaves_an_image_as_it_is() -> None:
    x = images(2, 3, 32, 32)
    result = blur(x, torch.tensor([0.0, 2.0]))

    assert torch.equal(result[0], x[0])
    assert not torch.allclose(result[1], x[1], atol=1e-2)


def test_solarise_is_torchvisions() -> None:
    x = torch.arange(256).view(1, 1, 16, 16) / 255

    assert torch.equal(solarise(x), TVF.solarize(x, 128 / 255))
    assert int((solarise(x) != x).sum()) == 128


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 50), (51, 20)])
@pytest.mark.parametrize(
    ("degrees", "pixels", "zoom", "shear"),
    [
        (30.0, (0, 0), 1.0, 0.0),
        (-15.0, (0, 0), 1.0, 0.0),
        (0.0, (3, -2), 1.0, 0.0),
        (0.0, (0, 0), 1.3, 0.0),
        (0.0, (0, 0), 1.0, 20.0),
        (-25.0, (4, 5), 0.8, -12.0),
    ],
)
def test_an_affine_map_is_torchvisions(
    height: int, width: int, degrees: float, pixels: tuple[int, int], zoom: float, shear: float
) -> None:
    x = images(1, 3, height, width)
    maps = affine_maps(
        angle=torch.deg2rad(torch.tensor([degrees])),
        shift=torch.tensor([[2 * pixels[0] / width, 2 * pixels[1] / height]]),
        zoom=torch.tensor([zoom]),
        shear=torch.deg2rad(torch.tensor([shear])),
        aspect=height / width,
    )
    expected = TVF.affine(
        x, degrees, list(pixels), zoom, [shear, 0.0], interpolation=InterpolationMode.BILINEAR
    )

    torch.testing.assert_close(warp(x, maps), expected, atol=1e-4, rtol=0)
