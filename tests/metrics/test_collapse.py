"""Signs of collapse, on embeddings of which they are known."""

from __future__ import annotations

import math

import pytest
import torch

from bench.metrics.collapse import embedding_std, rankme


def normal(n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("d", [16, 128])
def test_embeddings_over_the_whole_sphere_have_the_std_of_it(d: int) -> None:
    assert float(embedding_std(normal(5000, d))) == pytest.approx(1 / math.sqrt(d), rel=0.01)


def test_collapsed_embeddings_have_no_std() -> None:
    assert float(embedding_std(torch.ones(64, 16))) == pytest.approx(0, abs=1e-6)
    assert float(embedding_std(torch.zeros(64, 16))) == 0


def test_the_std_is_of_directions_not_of_lengths() -> None:
    z = normal(200, 8)
    lengths = torch.linspace(0.1, 100, 200).unsqueeze(1)

    torch.testing.assert_close(embedding_std(z * lengths), embedding_std(z))


def test_rankme_is_the_papers_formula() -> None:
    z = normal(60, 7) * torch.tensor([9.0, 5, 3, 1, 0.5, 0.1, 0.01]) + 2
    singular = torch.linalg.eigvalsh((z.T @ z).double()).clamp(min=0).sqrt().tolist()
    p = [s / sum(singular) + 1e-7 for s in singular]

    assert float(rankme(z)) == pytest.approx(math.exp(-sum(q * math.log(q) for q in p)), rel=1e-4)


@pytest.mark.parametrize("d", [2, 5, 12])
def test_rankme_counts_directions_of_equal_size(d: int) -> None:
    basis = torch.linalg.qr(normal(30, d))[0]

    assert float(rankme(basis)) == pytest.approx(d, rel=1e-4)


def test_rankme_of_collapsed_embeddings_is_one() -> None:
    direction = torch.arange(1.0, 9)

    assert float(rankme(torch.linspace(1, 2, 50).outer(direction))) == pytest.approx(1, abs=1e-3)
    assert float(rankme(torch.zeros(50, 8))) == pytest.approx(1, abs=1e-3)


def test_rankme_is_not_centred_and_not_of_squares() -> None:
    z = normal(200, 6)
    centred = z - z.mean(dim=0)

    assert float(rankme(centred + 20)) < 0.7 * float(rankme(centred))
    assert float(rankme(torch.diag(torch.tensor([3.0, 1.0])))) == pytest.approx(4 / 3**0.75, rel=1e-4)


@pytest.mark.parametrize(("n", "d"), [(200, 32), (32, 200), (64, 64)])
def test_rankme_has_the_singular_values_of_long_and_of_wide_embeddings(n: int, d: int) -> None:
    z = normal(n, d) / torch.arange(1, d + 1)
    singular = torch.linalg.svdvals(z.double())
    p = singular / singular.sum() + 1e-7

    assert float(rankme(z)) == pytest.approx(float(torch.exp(-(p * p.log()).sum())), rel=1e-6)


def test_both_are_measured_in_float32_whatever_the_embeddings_are() -> None:
    z = normal(64, 8).bfloat16()

    assert embedding_std(z).dtype == rankme(z).dtype == torch.float32
    assert float(rankme(z)) == float(rankme(z.float()))
