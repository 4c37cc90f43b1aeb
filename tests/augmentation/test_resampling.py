"""Resampling: each row of the result is a weighted sum of its taps, however it is computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.augmentation.resampling import (
    Taps,
    as_matrices,
    crop_weights,
    gaussian,
    mix_rows,
    resample,
    resample_by_matrices,
    triangle,
    triangle_matrix,
)


def images(n: int, channels: int, height: int, width: int) -> Tensor:
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0))


CROPS = (torch.tensor([0.0, 3.0, 11.0]), torch.tensor([30.0, 5.0, 1.0]))
TAPS = {
    "shrinks": triangle(*CROPS, 30, 8, torch.tensor([True, False, True])),
    "grows": triangle(*CROPS, 30, 64),
    "blurs": gaussian(torch.tensor([0.0, 0.5, 2.0]), 30, 4),
}


@pytest.mark.parametrize("rows", TAPS.values(), ids=TAPS)
@pytest.mark.parametrize("columns", TAPS.values(), ids=TAPS)
def test_taps_give_what_the_matrices_they_stand_for_give(rows: Taps, columns: Taps) -> None:
    x = images(3, 2, 30, 30)
    expected = resample_by_matrices(x, rows, columns)

    torch.testing.assert_close(resample(x, rows, columns), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mirrored", [None, torch.tensor([True, False, True])])
@pytest.mark.parametrize(("source", "size"), [(30, 8), (30, 64), (30, 30), (12, 1)])
def test_a_matrix_is_made_of_the_same_filters_as_taps(
    source: int, size: int, mirrored: Tensor | None
) -> None:
    start, length = torch.tensor([0.0, 3.0, 11.0]), torch.tensor([12.0, 5.0, 1.0])
    taps, matrix = (make(start, length, source, size, mirrored) for make in (triangle, triangle_matrix))

    torch.testing.assert_close(matrix, as_matrices(taps, 3, source), atol=1e-6, rtol=0)


def test_an_accelerator_gets_matrices_of_the_same_crops() -> None:
    start, length = torch.tensor([[1.0, 0], [3, 4]]), torch.tensor([[7.0, 9], [5, 8]])
    mirrored = torch.tensor([[False, False], [True, False]])
    for height, width in ((9, 12), (12, 12)):
        x = images(2, 3, height, width)
        taps = crop_weights(start, length, mirrored, height, width, 6)
        ends = zip(start, length, (height, width), (6, 6), mirrored, strict=True)
        matrices = [triangle_matrix(*end) for end in ends]

        torch.testing.assert_close(resample(x, *matrices), resample(x, *taps), atol=1e-6, rtol=0)


def test_rows_are_mixed_as_in_plain_loops() -> None:
    x = images(2, 3, 5, 4)
    taps = Taps(torch.tensor([[[0, 4], [2, 2]], [[1, 3], [0, 0]]]).int(), torch.rand(2, 2, 2))
    result = mix_rows(x, taps)

    for i, channel, row in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2)):
        pairs = zip(taps.index[i, row], taps.weight[i, row], strict=True)
        expected = sum((weight * x[i, channel, int(at)] for at, weight in pairs), torch.zeros(4))
        torch.testing.assert_close(result[i, channel, row], expected)


def test_rows_and_columns_have_taps_of_their_own() -> None:
    x = images(1, 1, 6, 9)
    rows, columns = (Taps(torch.tensor([[[at]]]).int(), torch.ones(1, 1, 1)) for at in (4, 7))

    assert resample(x, rows, columns).item() == x[0, 0, 4, 7].item()


@pytest.mark.parametrize("source", [1, 2, 5, 32, 33])
@pytest.mark.parametrize("size", [1, 2, 7, 32, 80])
def test_every_crop_has_weights_that_add_up_to_1_on_rows_of_its_own(source: int, size: int) -> None:
    start, length = torch.tensor([(a, b - a) for b in range(source + 1) for a in range(b)]).float().T
    taps = triangle(start, length, source, size)
    inside = (taps.index >= start.view(-1, 1, 1)) & (taps.index < (start + length).view(-1, 1, 1))

    assert bool((inside | (taps.weight == 0)).all())
    assert 0 <= int(taps.index.min()) <= int(taps.index.max()) < source
    torch.testing.assert_close(taps.weight.sum(dim=2), torch.ones(len(start), size))


@pytest.mark.parametrize("side", [2, 3, 32])
def test_a_blur_reflects_what_is_beyond_the_border(side: int) -> None:
    taps = gaussian(torch.tensor([1.5]), side, 1)

    assert taps.index[0, 0].tolist() == [1, 0, 1]
    assert taps.index[0, -1].tolist() == [side - 2, side - 1, side - 2]
    assert float(taps.weight.sum()) == pytest.approx(1)
