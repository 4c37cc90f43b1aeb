"""Views of several sizes: their side, what they cost, and multi-crop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.api import View, multi_crop
from bench.augmentation.named_ops import changed_views
from bench.augmentation.view import relative_cost
from bench.config import build, key_fields
from bench.errors import BadValue

LARGE, SMALL = View(crop_min=0.14), View(crop_min=0.05, crop_max=0.14, blur=0.5)


def test_a_view_without_a_size_has_the_runs() -> None:
    assert View().side(32) == 32
    assert View(size=96).side(32) == 96


def test_only_a_size_that_is_set_is_in_a_key() -> None:
    assert "size" not in key_fields(View())
    assert key_fields(View(size=96))["size"] == 96


@pytest.mark.parametrize("size", [7, 1025, 16.5, "large"])
def test_a_size_that_no_network_can_take_is_refused(size: Any) -> None:
    with pytest.raises(BadValue, match=r"views\.size"):
        build(View, {"size": size}, "views")


# ---- cost


@pytest.mark.parametrize("count", [1, 2, 8])
def test_views_of_the_runs_size_cost_their_number(count: int) -> None:
    assert relative_cost([View()] * count, 224) == count


def test_a_view_costs_its_share_of_the_pixels() -> None:
    views = multi_crop(LARGE, SMALL, small_count=6, small_size=96)

    assert relative_cost(views, 224) == pytest.approx(2 + 6 * 96**2 / 224**2)
    assert relative_cost([View(size=64)], 32) == 4


# ---- multi-crop


def test_large_views_come_first_and_small_ones_have_their_size() -> None:
    small = replace(SMALL, size=96)

    assert multi_crop(LARGE, SMALL, small_count=3, small_size=96) == (LARGE, LARGE, small, small, small)


def test_the_number_of_large_views_can_be_set_and_small_ones_left_out() -> None:
    assert multi_crop(LARGE, SMALL, large_count=1, small_count=0, small_size=16) == (LARGE,)


def test_a_size_that_is_set_counts_for_large_and_small_views_alike() -> None:
    views = changed_views(multi_crop(LARGE, SMALL, small_count=2, small_size=96), {"size": 64}, "swav")

    assert [view.size for view in views] == [64] * 4
    assert [view.crop_max for view in views] == [1.0, 1.0, 0.14, 0.14]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"large_count": 0}, "multi_crop: large_count is 0. Use at least 1."),
        ({"small_count": -1}, "multi_crop: small_count is -1. Use at least 0."),
        ({"small_size": 4}, r"multi_crop.size: 4 is out of range. Use at least 8 and at most 1024."),
    ],
)
def test_counts_and_sizes_out_of_range_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(BadValue, match=f"^{message}$"):
        multi_crop(LARGE, SMALL, **{"small_count": 6, "small_size": 96, **arguments})
