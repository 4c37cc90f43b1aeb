"""Augmentation: what is drawn for an image is done to it alone, as torchvision does it, from a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TVF

from bench.augmentation.apply import apply, augment
from bench.augmentation.clean import resize
from bench.augmentation.draws import Draws, draw
from bench.augmentation.image_ops import warp
from bench.augmentation.named_ops import NAMES
from bench.augmentation.view import View, blur_radius

OFF = View(crop_min=1.0, crop_ratio=1.0, flip=0.0, jitter=0.0, grey=0.0, blur=0.0, solarise=0.0, affine=0.0)
EVERYTHING = View(blur=1.0, solarise=1.0, affine=1.0, grey=0.5, jitter=1.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(n: int, channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    return torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=seeded(9))


def only(**changes: float) -> View:
    return dataclasses.replace(OFF, **changes)


# ---- each image for itself


CONTINUOUS: dict[str, dict[str, float]] = {
    "crop": {"crop_min": 0.08},
    "brightness": {"jitter": 1.0, "contrast": 0, "saturation": 0, "hue": 0},
    "contrast": {"jitter": 1.0, "brightness": 0, "saturation": 0, "hue": 0},
    "saturation": {"jitter": 1.0, "brightness": 0, "contrast": 0, "hue": 0},
    "hue": {"jitter": 1.0, "brightness": 0, "contrast": 0, "saturation": 0},
    "blur": {"blur": 1.0},
    "rotate": {"affine": 1.0, "translate": 0, "zoom": 0, "shear": 0},
    "translate": {"affine": 1.0, "rotate": 0, "zoom": 0, "shear": 0},
    "zoom": {"affine": 1.0, "rotate": 0, "translate": 0, "shear": 0},
    "shear": {"affine": 1.0, "rotate": 0, "translate": 0, "zoom": 0},
}


@pytest.mark.parametrize("changes", CONTINUOUS.values(), ids=CONTINUOUS)
def test_one_image_many_times_in_a_batch_comes_out_different_each_time(changes: dict[str, float]) -> None:
    same = pixels(1).expand(12, -1, -1, -1)
    result = augment(same, only(**changes), 32, seeded())

    assert len(torch.unique(result.flatten(1), dim=0)) == 12


@pytest.mark.parametrize("name", ["flip", "grey", "solarise", "blur", "jitter", "affine"])
def test_an_image_that_an_operation_passes_by_is_left_bit_for_bit(name: str) -> None:
    x = pixels(16)
    result, clean = augment(x, only(**{name: 0.5}), 32, seeded()), resize(x, 32)
    same = (result == clean).flatten(1).all(dim=1)

    assert 2 < int(same.sum()) < 14


def test_what_is_off_is_off_exactly() -> None:
    x = pixels(8)

    assert torch.equal(augment(x, OFF, 32, seeded()), x.float() / 255)


@pytest.mark.parametrize("name", ["flip", "grey", "solarise", "blur", "jitter", "affine"])
def test_what_is_on_for_all_changes_all(name: str) -> None:
    x = pixels(16)
    result, clean = augment(x, only(**{name: 1.0}), 32, seeded()), resize(x, 32)

    assert bool((result != clean).flatten(1).any(dim=1).all())


def test_a_mirrored_image_is_mirrored() -> None:
    x = pixels(4)

    assert torch.equal(augment(x, only(flip=1.0), 32, seeded()), resize(x, 32).flip(3))


def test_a_grey_image_has_three_channels_alike() -> None:
    red, green, blue = augment(pixels(4), only(grey=1.0), 32, seeded()).unbind(1)

    assert torch.equal(red, green)
    assert torch.equal(green, blue)


def test_the_same_seed_gives_the_same_views_and_another_seed_others() -> None:
    x = pixels(6)
    first, again, other = (augment(x, EVERYTHING, 24, seeded(seed)) for seed in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    augment(pixels(4), EVERYTHING, 24, seeded())

    assert torch.equal(torch.get_rng_state(), before)


def test_the_images_given_are_not_changed() -> None:
    x = pixels(4)
    before = x.clone()
    augment(x, EVERYTHING, 32, seeded())

    assert torch.equal(x, before)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(8, 8, 8), (28, 28, 28), (32, 32, 224), (50, 37, 32), (37, 90, 64), (224, 224, 96), (1, 1, 8)],
)
def test_a_view_is_float32_in_0_to_1_of_the_size_asked_for(
    channels: int, height: int, width: int, size: int
) -> None:
    result = augment(pixels(4, channels, height, width), EVERYTHING, size, seeded())

    assert result.shape == (4, channels, size, size)
    assert result.dtype == torch.float32
    assert 0 <= float(result.min()) <= float(result.max()) <= 1
    assert height == 1 or float(result.std()) > 0


@pytest.mark.parametrize("view", [OFF, View(jitter=0.0), View(blur=1.0, jitter=0.0)])
def test_a_white_image_does_not_become_whiter_than_white(view: View) -> None:
    white = torch.full((8, 3, 45, 31), 255, dtype=torch.uint8)
    result = augment(white, view, 32, seeded())

    assert float(result.max()) <= 1
    torch.testing.assert_close(result, torch.ones_like(result))


# ---- applying


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (40, 31, 24), (20, 20, 48)])
def test_a_view_is_what_torchvision_makes_of_the_same_parameters(height: int, width: int, size: int) -> None:
    view = View(blur=0.5)  # solarising has a threshold, on either side of which rounding may put a pixel
    x = pixels(64, 3, height, width)
    draws = draw(view, 64, height, width, seeded())
    kernel = [2 * blur_radius(size) + 1] * 2

    for i, result in enumerate(apply(x, draws, view, size)):
        box = [int(value) for value in draws.box[i]]
        expected = TVF.resized_crop(x[i].float() / 255, *box, [size, size], antialias=True)
        expected = TVF.horizontal_flip(expected) if draws.flip[i] else expected
        expected = jitter_like_torchvision(expected, draws, i) if draws.jitter[i] else expected
        expected = TVF.rgb_to_grayscale(expected, 3) if draws.grey[i] else expected
        sigma = float(draws.sigma[i])
        expected = TVF.gaussian_blur(expected, kernel, [sigma]) if sigma else expected
        torch.testing.assert_close(result, expected, atol=3e-5, rtol=0)


def jitter_like_torchvision(x: Tensor, draws: Draws, i: int) -> Tensor:
    changes = (TVF.adjust_brightness, TVF.adjust_contrast, TVF.adjust_saturation, TVF.adjust_hue)
    amounts = [*draws.factors[i].tolist(), float(draws.hue[i])]
    for kind in draws.order[i].tolist():
        x = changes[kind](x, amounts[kind])
    return x


@pytest.mark.parametrize("size", [32, 224])
def test_a_batch_comes_out_as_its_images_do_one_by_one(size: int) -> None:
    x = pixels(9)
    draws = draw(EVERYTHING, 9, 32, 32, seeded())
    alone = [apply(x[i : i + 1], draws.rows(slice(i, i + 1)), EVERYTHING, size) for i in range(9)]

    torch.testing.assert_close(apply(x, draws, EVERYTHING, size), torch.cat(alone), atol=1e-6, rtol=0)


def test_an_empty_batch_comes_out_empty() -> None:
    assert augment(pixels(0), EVERYTHING, 24, seeded()).shape == (0, 3, 24, 24)


COMMUTE = {("flip", "jitter"), ("flip", "grey"), ("grey", "blur")}


def composed(x: Tensor, draws: Draws, order: Sequence[str]) -> Tensor:
    """Return a view of one image of which each operation is torchvision's, in an order."""
    kernel = [2 * blur_radius(32) + 1] * 2
    done: dict[str, Callable[[Tensor], Tensor]] = {
        "crop": lambda x: TVF.resized_crop(x, *draws.box[0].astype(int).tolist(), [32, 32], antialias=True),
        "flip": TVF.horizontal_flip,
        "jitter": lambda x: jitter_like_torchvision(x, draws, 0),
        "grey": lambda x: TVF.rgb_to_grayscale(x, 3),
        "blur": lambda x: TVF.gaussian_blur(x, kernel, [float(draws.sigma[0])]),
        "solarise": lambda x: TVF.solarize(x, 128 / 255),
    }
    for name in order:
        x = done[name](x)
    return x


def share_apart(a: Tensor, b: Tensor) -> float:
    """Return the share of values that differ: rounding puts few on another side of solarising's threshold."""
    return float(((a - b).abs() > 1e-3).double().mean())


@pytest.mark.parametrize("left_out", ["grey", "jitter", "blur", "nothing"])
def test_operations_are_done_in_the_order_of_the_published_codes(left_out: str) -> None:
    """BYOL's and MoCo v3's: crop, flip, colour, grey, blur, solarise; two that commute may be in either."""
    chances = {"flip": 1.0, "jitter": 1.0, "grey": 1.0, "blur": 1.0, "solarise": 1.0}
    view = View(**{name: 0.0 if name == left_out else p for name, p in chances.items()})
    names = [name for name in NAMES if name not in ("affine", left_out)]
    x = pixels(12)
    drawn = [draw(view, 1, 32, 32, seeded(i)) for i in range(12)]
    found = [apply(x[i : i + 1], drawn[i], view, 32)[0] for i in range(12)]

    def apart(order: Sequence[str]) -> float:
        return sum(share_apart(found[i], composed(x[i] / 255, drawn[i], order)) for i in range(12)) / 12

    assert apart(names) < 0.01
    for place, pair in enumerate(pairwise(names)):
        swapped = [*names[:place], pair[1], pair[0], *names[place + 2 :]]
        assert apart(swapped) > 0.03 or pair in COMMUTE, pair


def test_an_affine_map_comes_before_the_crop() -> None:
    view = View(affine=1.0, flip=0.0, jitter=0.0, grey=0.0)
    x, draws = pixels(8, height=40, width=40), draw(view, 8, 40, 40, seeded())
    warped = warp(x / 255, torch.from_numpy(draws.maps))
    boxes = draws.box.astype(int).tolist()
    expected = [
        TVF.resized_crop(x, *box, [32, 32], antialias=True) for x, box in zip(warped, boxes, strict=True)
    ]

    torch.testing.assert_close(apply(x, draws, view, 32), torch.stack(expected), atol=1e-4, rtol=0)
