"""A thinned curve keeps its ends and its peaks."""

from __future__ import annotations

import pytest

from bench.report.thinning import thin


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8])
def test_a_short_curve_is_kept_whole(count: int) -> None:
    assert thin([(float(x), 0.0) for x in range(count)], 8) == list(range(count))


@pytest.mark.parametrize("most", [2, 3, 8, 99])
@pytest.mark.parametrize("count", [100, 101, 5000])
def test_a_long_curve_has_as_many_points_as_it_may_in_their_order(count: int, most: int) -> None:
    kept = thin([(float(x), float(x * 7 % 13)) for x in range(count)], most)

    assert len(kept) == most
    assert kept == sorted(set(kept))
    assert (kept[0], kept[-1]) == (0, count - 1)


@pytest.mark.parametrize("peak", [1, 57, 498])
def test_a_single_peak_is_kept(peak: int) -> None:
    points = [(float(x), 1000.0 if x == peak else 1.0) for x in range(500)]

    assert peak in thin(points, 10)
