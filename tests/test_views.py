"""Views: parameters are drawn for each image, with torchvision's distributions, from a seed."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import transforms
from torchvision.transforms.v2 import functional as TVF

from bench.config import build
from bench.errors import BadValue
from bench.imageops import blur_radius
from bench.views import Draws, View, affine_maps, apply, augment, draw, match_channels, normalise, resize

OFF = View(crop_min=1.0, crop_ratio=1.0, flip=0.0, jitter=0.0, grey=0.0, blur=0.0, solarise=0.0, affine=0.0)
EVERYTHING = View(blur=1.0, solarise=1.0, affine=1.0, grey=0.5, jitter=1.0)


@dataclass(frozen=True)
class Data:
    channels: int = 3
    flip: bool = True
    colour: bool = True


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(n: int, channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    return torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=seeded(9))


def only(**changes: float) -> View:
    return dataclasses.replace(OFF, **changes)


def drawn(view: View, n: int = 20_000, height: int = 32, width: int = 32) -> Draws:
    return draw(view, n, height, width, seeded())


def assert_same_distribution(ours: Tensor, theirs: Tensor) -> None:
    """Two-sample Kolmogorov-Smirnov; the bound is passed by one pair of equal ones in a thousand."""
    points = torch.cat([ours, theirs]).double().unique()
    shares = [torch.searchsorted(v.double().sort()[0], points, right=True) / len(v) for v in (ours, theirs)]
    bound = 1.95 * (1 / len(ours) + 1 / len(theirs)) ** 0.5

    assert float((shares[0] - shares[1]).abs().max()) < bound


# ---- distributions


@pytest.mark.parametrize(
    ("height", "width"),
    [(32, 32), (8, 8), (60, 40), (30, 200)],  # the last falls back to a centred crop now and then
)
def test_boxes_are_drawn_as_random_resized_crop_draws_them(height: int, width: int) -> None:
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    crop = transforms.RandomResizedCrop.get_params
    theirs = torch.tensor([crop(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]).float()
    ours = drawn(View(), height=height, width=width).box

    for column in range(4):
        assert_same_distribution(ours[:, column], theirs[:, column])
    assert_same_distribution(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3])
    assert_same_distribution(ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2])


@pytest.mark.parametrize(("height", "width"), [(10, 200), (200, 10)])
def test_a_crop_that_never_fits_is_the_largest_centred_one(height: int, width: int) -> None:
    ours = drawn(View(crop_min=0.9), 50, height, width).box
    theirs = transforms.RandomResizedCrop.get_params(
        torch.empty(3, height, width), [0.9, 1.0], [3 / 4, 4 / 3]
    )

    assert {tuple(box) for box in ours.tolist()} == {tuple(map(float, theirs))}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (33, 7), (224, 300)])
def test_every_box_is_inside_its_image(height: int, width: int) -> None:
    top, left, h, w = drawn(View(), 5000, height, width).box.unbind(1)

    assert bool(((top >= 0) & (left >= 0) & (h >= 1) & (w >= 1)).all())
    assert bool(((top + h <= height) & (left + w <= width)).all())


@pytest.mark.parametrize(("strength", "hue"), [(0.4, 0.1), (0.8, 0.2), (1.5, 0.5)])
def test_factors_fill_the_ranges_of_color_jitter(strength: float, hue: float) -> None:
    theirs = transforms.ColorJitter(strength, strength, strength, hue)
    found = drawn(View(brightness=strength, contrast=strength, saturation=strength, hue=hue))

    for column, wanted in enumerate((theirs.brightness, theirs.contrast, theirs.saturation)):
        uniform = torch.linspace(*wanted, 20_000)
        assert_same_distribution(found.factors[:, column], uniform)
        assert wanted[0] <= float(found.factors[:, column].min())
        assert float(found.factors[:, column].max()) <= wanted[1]
    assert_same_distribution(found.hue, torch.linspace(*theirs.hue, 20_000))


def test_every_order_of_jitter_is_as_likely() -> None:
    orders = Counter(map(tuple, drawn(View(), 24_000).order.tolist()))
    squares = sum((orders[order] - 1000) ** 2 / 1000 for order in itertools.permutations(range(4)))

    assert sum(orders.values()) == 24_000
    assert len(orders) == 24
    assert squares < 55  # chi squared of 23 degrees of freedom: one in five thousand


@pytest.mark.parametrize("name", ["flip", "jitter", "grey", "solarise", "affine"])
@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_an_operation_happens_as_often_as_it_is_told_to(name: str, p: float) -> None:
    chosen = getattr(drawn(only(**{name: p})), name).float()

    assert float(chosen.mean()) == pytest.approx(p, abs=0.015 if 0 < p < 1 else 0)


def test_blur_happens_as_often_and_as_strongly_as_it_is_told_to() -> None:
    sigma = drawn(only(blur=0.5)).sigma
    blurred = sigma[sigma > 0]

    assert len(blurred) / len(sigma) == pytest.approx(0.5, abs=0.015)
    assert_same_distribution(blurred, torch.linspace(0.1, 2.0, 20_000))


def test_affine_maps_are_drawn_as_random_affine_draws_them() -> None:
    torch.manual_seed(0)
    side = 2000  # theirs move by whole pixels
    draws = [
        transforms.RandomAffine.get_params([-15, 15], [0.1, 0.1], [0.9, 1.1], [-10, 10], [side, side])
        for _ in range(4000)
    ]
    angle, shift, zoom, shear = (torch.tensor(values) for values in zip(*draws, strict=True))
    theirs = affine_maps(
        angle=torch.deg2rad(angle),
        shift=2 * shift / side,
        zoom=zoom,
        shear=torch.deg2rad(shear[:, 0]),
        aspect=1.0,
    )
    ours = drawn(View(affine=1.0)).maps

    for row, column in itertools.product(range(2), range(3)):
        assert_same_distribution(ours[:, row, column], theirs[:, row, column])


def test_draws_of_one_image_are_independent_of_each_other() -> None:
    found = drawn(View(blur=0.5, solarise=0.5, affine=0.5))
    columns = [found.flip, found.jitter, found.grey, found.solarise, found.affine, found.hue, found.sigma]
    table = torch.stack([*(c.float() for c in columns), *found.factors.T, *found.box.T[2:3]])
    correlation = torch.corrcoef(table) - torch.eye(len(table))

    assert float(correlation.abs().max()) < 0.035


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
    found = augment(same, only(**changes), 32, seeded())

    assert len(torch.unique(found.flatten(1), dim=0)) == 12


@pytest.mark.parametrize("name", ["flip", "grey", "solarise", "blur", "jitter", "affine"])
def test_an_image_that_an_operation_passes_by_is_left_bit_for_bit(name: str) -> None:
    x = pixels(16)
    found, clean = augment(x, only(**{name: 0.5}), 32, seeded()), resize(x, 32)
    same = (found == clean).flatten(1).all(dim=1)

    assert 2 < int(same.sum()) < 14


def test_what_is_off_is_off_exactly() -> None:
    x = pixels(8)

    assert torch.equal(augment(x, OFF, 32, seeded()), x.float() / 255)


@pytest.mark.parametrize("name", ["flip", "grey", "solarise", "blur", "jitter", "affine"])
def test_what_is_on_for_all_changes_all(name: str) -> None:
    x = pixels(16)
    found, clean = augment(x, only(**{name: 1.0}), 32, seeded()), resize(x, 32)

    assert bool((found != clean).flatten(1).any(dim=1).all())


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
    found = augment(pixels(4, channels, height, width), EVERYTHING, size, seeded())

    assert found.shape == (4, channels, size, size)
    assert found.dtype == torch.float32
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert height == 1 or float(found.std()) > 0


@pytest.mark.parametrize("view", [OFF, View(jitter=0.0), View(blur=1.0, jitter=0.0)])
def test_a_white_image_does_not_become_whiter_than_white(view: View) -> None:
    white = torch.full((8, 3, 45, 31), 255, dtype=torch.uint8)
    found = augment(white, view, 32, seeded())

    assert float(found.max()) <= 1
    torch.testing.assert_close(found, torch.ones_like(found))


# ---- applying


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (40, 31, 24), (20, 20, 48)])
def test_a_view_is_what_torchvision_makes_of_the_same_parameters(height: int, width: int, size: int) -> None:
    view = View(blur=0.5)  # solarising has a threshold, on either side of which rounding may put a pixel
    x = pixels(64, 3, height, width)
    draws = draw(view, 64, height, width, seeded())
    kernel = [2 * blur_radius(size) + 1] * 2

    for i, found in enumerate(apply(x, draws, view, size)):
        box = [int(value) for value in draws.box[i]]
        wanted = TVF.resized_crop(x[i].float() / 255, *box, [size, size], antialias=True)
        wanted = TVF.horizontal_flip(wanted) if draws.flip[i] else wanted
        wanted = theirs_jittered(wanted, draws, i) if draws.jitter[i] else wanted
        wanted = TVF.rgb_to_grayscale(wanted, 3) if draws.grey[i] else wanted
        sigma = float(draws.sigma[i])
        wanted = TVF.gaussian_blur(wanted, kernel, [sigma]) if sigma else wanted
        torch.testing.assert_close(found, wanted, atol=3e-5, rtol=0)


def theirs_jittered(x: Tensor, draws: Draws, i: int) -> Tensor:
    changes = (TVF.adjust_brightness, TVF.adjust_contrast, TVF.adjust_saturation, TVF.adjust_hue)
    amounts = [*draws.factors[i].tolist(), float(draws.hue[i])]
    for kind in draws.order[i].tolist():
        x = changes[kind](x, amounts[kind])
    return x


@pytest.mark.parametrize("size", [32, 224])
def test_a_batch_comes_out_as_its_images_do_one_by_one(size: int) -> None:
    x = pixels(9)
    draws = draw(EVERYTHING, 9, 32, 32, seeded())
    alone = [apply(one, its, EVERYTHING, size) for one, its in zip(x.split(1), draws.split(1), strict=True)]

    torch.testing.assert_close(apply(x, draws, EVERYTHING, size), torch.cat(alone), atol=1e-6, rtol=0)


def test_an_empty_batch_comes_out_empty() -> None:
    assert augment(pixels(0), EVERYTHING, 24, seeded()).shape == (0, 3, 24, 24)


# ---- what keeps a label


def test_a_view_of_digits_is_not_mirrored_and_has_no_colour() -> None:
    view = View(affine=0.5, blur=0.5).label_preserving(Data(channels=1, flip=False, colour=False))
    found = drawn(view)

    assert not bool(found.flip.any() | found.grey.any() | found.hue.any())
    assert bool((found.factors[:, 2] == 1).all())
    assert (view.brightness, view.contrast, view.affine, view.blur) == (0.8, 0.8, 0.5, 0.5)


@pytest.mark.parametrize("data", [Data(colour=False), Data(channels=1), Data(channels=1, colour=False)])
def test_colour_is_left_alone_where_it_tells_classes_apart_or_is_not_there(data: Data) -> None:
    view = View().label_preserving(data)

    assert (view.saturation, view.hue, view.grey) == (0, 0, 0)
    assert (view.flip, view.jitter, view.brightness) == (0.5, 0.8, 0.8)


@pytest.mark.parametrize(("data", "kept"), [(Data(), 0.3), (Data(channels=1), 0.3), (Data(colour=False), 0)])
def test_solarising_counts_as_colour_on_three_channels(data: Data, kept: float) -> None:
    assert View(solarise=0.3).label_preserving(data).solarise == kept


def test_a_view_of_photographs_is_left_as_it_is() -> None:
    assert View().label_preserving(Data()) == View()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crop_min": 0.5, "crop_max": 0.3}, r"views.crop_min: 0.5 is more than crop_max \(0.3\)"),
        ({"blur_min": 3}, r"views.blur_min: 3 is more than blur_max \(2\)"),
    ],
)
def test_a_range_upside_down_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadValue, match=said):
        build(View, changes, "views")


# ---- without augmentation


def test_a_clean_image_of_the_right_size_is_only_scaled() -> None:
    x = pixels(3)

    assert torch.equal(resize(x, 32), x.float() / 255)


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 20), (32, 32, 64), (50, 37, 24)])
def test_a_clean_image_is_resized_with_antialiasing(height: int, width: int, size: int) -> None:
    x = pixels(3, 3, height, width)
    wanted = TVF.resize(x.float() / 255, [size, size], antialias=True)

    torch.testing.assert_close(resize(x, size), wanted, atol=1e-5, rtol=0)
    assert resize(x, size).dtype == torch.float32


def test_channels_are_matched_to_the_backbones() -> None:
    grey, colour = resize(pixels(2, 1), 32), resize(pixels(2, 3), 32)
    weights = torch.tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)

    assert torch.equal(match_channels(grey, 1), grey)
    assert torch.equal(match_channels(colour, 3), colour)
    assert torch.equal(match_channels(grey, 3), grey.repeat(1, 3, 1, 1))
    torch.testing.assert_close(match_channels(colour, 1), (colour * weights).sum(dim=1, keepdim=True))


def test_normalising_is_by_channel_and_in_the_layout_convolutions_like() -> None:
    x = resize(pixels(2), 32)
    found = normalise(x, (0.1, 0.2, 0.3), (0.5, 1.0, 2.0))

    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 1.0), (0.3, 2.0)]):
        torch.testing.assert_close(found[:, channel], (x[:, channel] - mean) / std)
    assert found.is_contiguous(memory_format=torch.channels_last)
