"""The nearest in blocks and in one piece, and which of equally near ones is taken."""

from __future__ import annotations

import math

import pytest
import torch

from bench.metrics.neighbours import first_largest, nearest, unit_rows, votes


def small_integers(n: int, seed: int) -> torch.Tensor:
    """Return (n, 8) of which products are exact, and full of ties."""
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed)).sign()


@pytest.mark.parametrize("k", [1, 20, 200, 300])
def test_blocks_find_what_one_piece_finds(k: int) -> None:
    queries, bank = small_integers(40, 0), small_integers(300, 1)
    whole = nearest(queries, bank, k)
    blocks = nearest(queries, bank, k, rows=7, bank_rows=33)

    assert blocks[1].equal(whole[1])
    assert blocks[0].equal(whole[0])


@pytest.mark.parametrize("k", [1, 3, 49, 50])
def test_of_equal_values_the_first_are_taken(k: int) -> None:
    values = torch.randint(4, (30, 50), generator=torch.Generator().manual_seed(0)).float()
    expected = values.sort(dim=1, descending=True, stable=True).indices[:, :k].sort(1).values

    assert first_largest(values, k).equal(expected)


def test_a_row_of_zeros_has_no_length_to_divide_by() -> None:
    assert unit_rows(torch.zeros(1, 3)).equal(torch.zeros(1, 3))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_rows_are_of_length_one_however_small_or_large_they_were(scale: float) -> None:
    rows = unit_rows(torch.tensor([[3.0, 4.0]]) * scale)

    torch.testing.assert_close(rows, torch.tensor([[0.6, 0.8]]))


def test_a_vote_is_weighted_by_similarity_and_a_class_without_one_has_none() -> None:
    near, labels = torch.tensor([[0.5, 0.3, 0.4]]), torch.tensor([[0, 2, 2]])
    found = votes(near, labels, 4, temperature=0.1)[0]

    assert float(found[2] / found[0]) == pytest.approx(math.exp(-2) + math.exp(-1), rel=1e-5)
    assert found[[1, 3]].tolist() == [-math.inf, -math.inf]
