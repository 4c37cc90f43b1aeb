"""Each measure of the spectrum against its formula in numpy, at collapse and of a Gaussian."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sample_features import gaussian, noisy_views, skewed, unit
from torch import Tensor

from bench.api import embedding_std, rankme
from bench.metrics.collapse import RANKME_EPS
from bench.metrics.spectrum import (
    alpha_req,
    centre_columns,
    correlation,
    covariance,
    fit_range,
    lidar,
    nesum,
    spectrum,
)


def descending(matrix: NDArray[np.float64]) -> list[float]:
    return sorted(np.linalg.eigvalsh(matrix).tolist(), reverse=True)


def eigenvalues_in_numpy(x: Tensor) -> list[float]:
    return descending(np.cov(x.double().numpy(), rowvar=False))


def entropy_rank(values: list[float], eps: float) -> float:
    shares = [value / sum(values) + eps for value in values]
    return math.exp(-sum(p * math.log(p) for p in shares))


# ---- RankMe and feature std


def test_rankme_is_of_raw_singular_values() -> None:
    x = skewed()
    singular = np.linalg.svd(x.double().numpy(), compute_uv=False).tolist()

    assert float(rankme(x)) == pytest.approx(entropy_rank(singular, RANKME_EPS), rel=1e-5)


@pytest.mark.parametrize(("n", "d"), [(50, 12), (12, 50)])
def test_rankme_of_orthonormal_features_is_the_smaller_side(n: int, d: int) -> None:
    basis = torch.linalg.qr(gaussian(max(n, d), min(n, d)))[0]

    assert float(rankme(basis if n > d else basis.T)) == pytest.approx(min(n, d), rel=1e-4)


def test_rankme_of_an_isotropic_gaussian_is_a_little_below_its_dimensions() -> None:
    assert 63 < float(rankme(gaussian(4000, 64))) < 64


def test_feature_std_is_the_formula() -> None:
    expected = np.std(unit(skewed()), axis=0, ddof=1).mean()

    assert float(embedding_std(skewed())) == pytest.approx(expected, rel=1e-5)


# ---- alpha-ReQ


def alpha_in_loops(eigenvalues: list[float], first: int, last: int) -> float:
    ranks = range(first, min(last, len(eigenvalues)) + 1)
    root = np.sqrt([1 / i for i in ranks])
    design = np.array([(-math.log(i), 1.0) for i in ranks]) * root[:, None]
    target = np.array([math.log(eigenvalues[i - 1]) for i in ranks]) * root
    return float(np.linalg.lstsq(design, target, rcond=None)[0][0])


@pytest.mark.parametrize(("first", "last"), [(1, 30), (3, 20), (11, 100)])
def test_alpha_req_is_a_weighted_fit_of_the_eigenvalues(first: int, last: int) -> None:
    x = skewed(200, 30)
    found = float(alpha_req(spectrum(covariance(x)), first, last))

    assert found == pytest.approx(alpha_in_loops(eigenvalues_in_numpy(x), first, last), rel=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_power_law_gives_its_exponent(alpha: float, scale: float) -> None:
    eigenvalues = scale * torch.arange(1, 301, dtype=torch.float64) ** -alpha

    assert float(alpha_req(eigenvalues)) == pytest.approx(alpha, abs=1e-9)
    assert float(alpha_req(eigenvalues, 3, 50)) == pytest.approx(alpha, abs=1e-9)


def test_alpha_req_of_an_isotropic_gaussian_is_near_nothing() -> None:
    assert 0 < float(alpha_req(spectrum(covariance(gaussian(20_000, 128))))) < 0.1


def test_alpha_req_without_two_eigenvalues_is_undefined() -> None:
    line = torch.linspace(0, 1, 30).outer(torch.arange(1.0, 6))

    assert math.isnan(float(alpha_req(spectrum(covariance(line)))))
    assert math.isnan(float(alpha_req(spectrum(covariance(torch.ones(30, 5))))))


@pytest.mark.parametrize(
    ("rank", "asked", "fitted"),
    [
        (512, (11, 100), (11, 100)),
        (64, (11, 100), (11, 64)),
        (20, (11, 100), (11, 20)),
        (19, (11, 100), (1, 19)),
        (3, (11, 100), (1, 3)),
        (512, (3, 6), (3, 6)),
    ],
)
def test_a_fit_begins_at_the_first_eigenvalue_where_they_run_out(
    rank: int, asked: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fit_range(rank, *asked) == fitted


# ---- NESum and correlation


def test_nesum_is_the_formula() -> None:
    values = eigenvalues_in_numpy(skewed())

    assert float(nesum(spectrum(covariance(skewed())))) == pytest.approx(sum(values) / values[0], rel=1e-9)


def test_nesum_of_an_isotropic_gaussian_is_below_its_dimensions_by_what_sampling_spreads() -> None:
    expected = 100 / (1 + math.sqrt(100 / 4000)) ** 2

    assert float(nesum(spectrum(covariance(gaussian(4000, 100))))) == pytest.approx(expected, rel=0.03)


def test_nesum_of_two_clusters_is_one() -> None:
    centres = torch.tensor([[1.0, 2, 3], [4, 1, -5]])

    assert float(nesum(spectrum(covariance(centres.repeat(20, 1))))) == pytest.approx(1)
    assert float(nesum(spectrum(covariance(torch.ones(20, 3))))) == 1


def test_correlation_is_the_formula() -> None:
    x = skewed()
    matrix = np.corrcoef(x.double().numpy(), rowvar=False)
    pairs = [abs(matrix[i, j]) for i in range(6) for j in range(6) if i != j]

    assert float(correlation(covariance(x))) == pytest.approx(sum(pairs) / len(pairs), rel=1e-9)


def test_correlation_leaves_out_constant_features() -> None:
    x = skewed()
    wider = torch.cat([x, torch.full((40, 2), 0.1), torch.zeros(40, 1)], dim=1)

    assert float(correlation(covariance(wider))) == pytest.approx(float(correlation(covariance(x))))


def test_correlation_at_its_bounds() -> None:
    together = gaussian(100, 1) @ torch.tensor([[1.0, -2, 3e-5]])
    apart = math.sqrt(2 / (math.pi * 4000))

    assert float(correlation(covariance(together))) == pytest.approx(1)
    assert float(correlation(covariance(gaussian(4000, 64)))) == pytest.approx(apart, rel=0.05)
    assert math.isnan(float(correlation(covariance(torch.ones(10, 3)))))
    assert math.isnan(float(correlation(covariance(gaussian(10, 1)))))


def test_a_feature_that_float32_cannot_tell_from_a_constant_is_one() -> None:
    x = torch.stack([gaussian(50, 1)[:, 0], 1e4 + 1e-4 * gaussian(50, 1, seed=1)[:, 0].sign()], dim=1)

    assert centre_columns(x)[:, 1].count_nonzero() == 0
    assert centre_columns(x)[:, 0].mean() == pytest.approx(0, abs=1e-12)


# ---- LiDAR


def lidar_in_numpy(views: Tensor, delta: float, eps: float) -> float:
    x = views.double().numpy()
    n, q, d = x.shape
    means = x.mean(1)
    between, within = np.zeros((d, d)), delta * np.eye(d)
    for i in range(n):
        between += np.outer(means[i] - means.mean(0), means[i] - means.mean(0)) / (n - 1)
        for v in range(q):
            within += np.outer(x[i, v] - means[i], x[i, v] - means[i]) / (n * (q - 1))
    values, axes = np.linalg.eigh(within)
    root = axes @ np.diag(values**-0.5) @ axes.T
    return entropy_rank([max(0.0, value) for value in descending(root @ between @ root)], eps)


@pytest.mark.parametrize(("images", "views", "d"), [(12, 4, 5), (5, 2, 9), (3, 2, 40)])
@pytest.mark.parametrize(("delta", "eps"), [(1e-4, 1e-8), (1.0, 1e-3)])
def test_lidar_is_the_formula(images: int, views: int, d: int, delta: float, eps: float) -> None:
    x = noisy_views(images, views, d)

    assert float(lidar(x, delta, eps)) == pytest.approx(lidar_in_numpy(x, delta, eps), rel=1e-7)


def test_lidar_counts_the_directions_that_tell_images_apart() -> None:
    corners = torch.eye(4, 8)[:, None]  # images vary in three directions, views in all eight
    x = corners.repeat(50, 6, 1) + 0.01 * gaussian(200, 6, 8)

    assert float(lidar(x)) == pytest.approx(3, rel=0.02)


def test_lidar_of_an_isotropic_gaussian_is_near_its_dimensions() -> None:
    assert 15.5 < float(lidar(gaussian(1000, 5, 16))) < 16


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_lidar_of_collapsed_features_is_one(value: float) -> None:
    assert float(lidar(torch.full((20, 3, 64), value))) == pytest.approx(1, abs=1e-3)


def test_lidar_of_two_clusters_is_one() -> None:
    x = torch.tensor([[0.0, 1, 2], [3, -1, 0]]).repeat(10, 1)[:, None].repeat(1, 3, 1)

    assert float(lidar(x)) == pytest.approx(1, abs=1e-3)
