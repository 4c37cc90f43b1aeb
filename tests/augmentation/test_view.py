"""Views: parameters are draw_many for each image, with torchvision's distributions."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import transforms
from torchvision.transforms.v2 import functional as TVF

from bench.augmentation.clean import match_channels, normalise, resize
from bench.augmentation.draws import affine_maps, draw
from bench.augmentation.view import View
from bench.config import build
from bench.errors import BadValue

OFF = View(crop_min=1.0, crop_ratio=1.0, flip=0.0, jitter=0.0, grey=0.0, blur=0.0, solarise=0.0, affine=0.0)


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


def draw_many(view: View, n: int = 20_000, height: int = 32, width: int = 32) -> Any:
    """Return what is drawn, as tensors."""
    drawn = draw(view, n, height, width, seeded())
    return SimpleNamespace(**{name: torch.from_numpy(values) for name, values in vars(drawn).items()})


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
    ours = draw_many(View(), height=height, width=width).box

    for column in range(4):
        assert_same_distribution(ours[:, column], theirs[:, column])
    assert_same_distribution(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3])
    assert_same_distribution(ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2])


@pytest.mark.parametrize(("height", "width"), [(10, 200), (200, 10)])
def test_a_crop_that_never_fits_is_the_largest_centred_one(height: int, width: int) -> None:
    ours = draw_many(View(crop_min=0.9), 50, height, width).box
    theirs = transforms.RandomResizedCrop.get_params(
        torch.empty(3, height, width), [0.9, 1.0], [3 / 4, 4 / 3]
    )

    assert {tuple(box) for box in ours.tolist()} == {tuple(map(float, theirs))}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (33, 7), (224, 300)])
def test_every_box_is_inside_its_image(height: int, width: int) -> None:
    top, left, h, w = draw_many(View(), 5000, height, width).box.unbind(1)

    assert bool(((top >= 0) & (left >= 0) & (h >= 1) & (w >= 1)).all())
    assert bool(((top + h <= height) & (left + w <= width)).all())


@pytest.mark.parametrize(("strength", "hue"), [(0.4, 0.1), (0.8, 0.2), (1.5, 0.5)])
def test_factors_fill_the_ranges_of_color_jitter(strength: float, hue: float) -> None:
    theirs = transforms.ColorJitter(strength, strength, strength, hue)
    result = draw_many(View(brightness=strength, contrast=strength, saturation=strength, hue=hue))

    for column, expected in enumerate((theirs.brightness, theirs.contrast, theirs.saturation)):
        uniform = torch.linspace(*expected, 20_000)
        assert_same_distribution(result.factors[:, column], uniform)
        assert expected[0] <= float(result.factors[:, column].min())
        assert float(result.factors[:, column].max()) <= expected[1]
    assert_same_distribution(result.hue, torch.linspace(*theirs.hue, 20_000))


def test_every_order_of_jitter_is_as_likely() -> None:
    orders = Counter(map(tuple, draw_many(View(), 24_000).order.tolist()))
    squares = sum((orders[order] - 1000) ** 2 / 1000 for order in itertools.permutations(range(4)))

    assert sum(orders.values()) == 24_000
    assert len(orders) == 24
    assert squares < 55  # chi squared of 23 degrees of freedom: one in five thousand


@pytest.mark.parametrize("name", ["flip", "jitter", "grey", "solarise", "affine"])
@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_an_operation_happens_as_often_as_it_is_told_to(name: str, p: float) -> None:
    chosen = getattr(draw_many(only(**{name: p})), name).float()

    assert float(chosen.mean()) == pytest.approx(p, abs=0.015 if 0 < p < 1 else 0)


def test_blur_happens_as_often_and_as_strongly_as_it_is_told_to() -> None:
    sigma = draw_many(only(blur=0.5)).sigma
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
    ours = draw_many(View(affine=1.0)).maps

    for row, column in itertools.product(range(2), range(3)):
        assert_same_distribution(ours[:, row, column], theirs[:, row, column])


def test_draws_of_one_image_are_independent_of_each_other() -> None:
    draws = draw_many(View(blur=0.5, solarise=0.5, affine=0.5))
    columns = [draws.flip, draws.jitter, draws.grey, draws.solarise, draws.affine, draws.hue, draws.sigma]
    table = torch.stack([*(c.float() for c in columns), *draws.factors.T, *draws.box.T[2:3]])
    correlation = torch.corrcoef(table) - torch.eye(len(table))

    assert float(correlation.abs().max()) < 0.035


# ---- what keeps a label


def test_a_view_of_digits_is_not_mirrored_and_has_no_colour() -> None:
    view = View(affine=0.5, blur=0.5).label_preserving(Data(channels=1, flip=False, colour=False))
    result = draw_many(view)

    assert not bool(result.flip.any() | result.grey.any() | result.hue.any())
    assert bool((result.factors[:, 2] == 1).all())
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
    ("changes", "message"),
    [
        ({"crop_min": 0.5, "crop_max": 0.3}, r"views.crop_min: 0.5 is more than crop_max \(0.3\)"),
        ({"blur_min": 3}, r"views.blur_min: 3 is more than blur_max \(2\)"),
    ],
)
def test_a_range_upside_down_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        build(View, changes, "views")


# ---- without augmentation


def test_a_clean_image_of_the_right_size_is_only_scaled() -> None:
    x = pixels(3)

    assert torch.equal(resize(x, 32), x.float() / 255)


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 20), (32, 32, 64), (50, 37, 24)])
def test_a_clean_image_is_resized_with_antialiasing(height: int, width: int, size: int) -> None:
    x = pixels(3, 3, height, width)
    expected = TVF.resize(x.float() / 255, [size, size], antialias=True)

    torch.testing.assert_close(resize(x, size), expected, atol=1e-5, rtol=0)
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
    result = normalise(x, (0.1, 0.2, 0.3), (0.5, 1.0, 2.0))

    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 1.0), (0.3, 2.0)]):
        torch.testing.assert_close(result[:, channel], (x[:, channel] - mean) / std)
    assert result.is_contiguous(memory_format=torch.channels_last)
