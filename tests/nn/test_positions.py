"""The table is MAE's."""

from __future__ import annotations

import math

import pytest
import torch
from sines import exactly, figures

from bench.errors import BadValue
from bench.nn.positions import sincos_positions


def test_the_table_is_maes() -> None:
    # facebookresearch/mae efb2a806 util/pos_embed.py, with and without a class token
    table = sincos_positions(4, 4, 16, prefix=1, dtype=torch.float64)
    small = sincos_positions(3, 3, 8, dtype=torch.float64)

    assert figures(table) == exactly(116.926148911, 128.0, 0.0, 0.999995500003)
    assert table[2].tolist() == exactly(
        *(0.841470984808, 0.0998334166468, 0.00999983333417, 0.000999999833333),
        *(0.540302305868, 0.995004165278, 0.999950000417, 0.9999995, 0, 0, 0, 0, 1, 1, 1, 1),
    )
    assert figures(small) == exactly(35.4280343284, 36.0, 0.0, 0.999800006667)
    assert small[2].tolist() == exactly(
        0.909297426826, 0.0199986666933, -0.416146836547, 0.999800006667, 0, 0, 1, 1
    )


def test_a_grid_that_is_no_square_is_in_raster_order() -> None:
    table = sincos_positions(2, 3, 8)
    expected = []
    for row in range(2):
        for column in range(3):
            angles = [[number, number / 100] for number in (column, row)]
            expected.append([f(x) for half in angles for f in (math.sin, math.cos) for x in half])

    torch.testing.assert_close(table, torch.tensor(expected))


def test_no_two_patches_are_alike_and_tokens_ahead_are_zero() -> None:
    table = sincos_positions(6, 5, 16, prefix=2)

    assert table.shape == (32, 16)
    assert table.dtype == torch.float32
    assert table[:2].abs().sum() == 0
    assert len(table[2:].unique(dim=0)) == 30


@pytest.mark.parametrize("dim", [0, 6, 15])
def test_a_width_that_does_not_divide_by_four_is_refused(dim: int) -> None:
    with pytest.raises(BadValue, match=f"a width of {dim} is not a multiple of 4"):
        sincos_positions(2, 2, dim)
