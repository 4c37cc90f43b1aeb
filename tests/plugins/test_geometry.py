"""Each measure against its formula in numpy, at collapse and of a Gaussian, and all of them in a run."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bench_plugins.evaluators.geometry import (
    Geometry,
    alignment,
    drawn,
    features_of_views,
    uniformity,
)
from bench_plugins.evaluators.spectrum import (
    alpha_req,
    centred,
    correlation,
    covariance,
    fitted_range,
    lidar,
    nesum,
    spectrum,
)
from conftest import Lab, without_times
from numpy.typing import NDArray
from torch import Tensor

from bench.api import BadValue, Scores, Task, embedding_std, rankme
from bench.errors import CellError
from bench.metrics.collapse import RANKME_EPS
from bench.testing.evaluators import separable

NAMES = [
    "rankme",
    "alpha_req",
    "lidar",
    "alignment",
    "uniformity",
    "nesum",
    "feature_std",
    "correlation",
]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def skewed(n: int = 40, d: int = 6) -> Tensor:
    """Return correlated features with a mean, as those after a ReLU."""
    return (normal(n, d) / torch.arange(1, d + 1) @ normal(d, d, seed=1) + 0.3).relu()


def of_views(images: int = 12, views: int = 4, d: int = 5) -> Tensor:
    return 2 * normal(images, 1, d) + normal(images, views, d, seed=1) / torch.arange(1, d + 1) + 1


def unit(x: Tensor) -> NDArray[np.float64]:
    rows = x.double().numpy()
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1))


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
    basis = torch.linalg.qr(normal(max(n, d), min(n, d)))[0]

    assert float(rankme(basis if n > d else basis.T)) == pytest.approx(min(n, d), rel=1e-4)


def test_rankme_of_an_isotropic_gaussian_is_a_little_below_its_dimensions() -> None:
    assert 63 < float(rankme(normal(4000, 64))) < 64


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
    assert 0 < float(alpha_req(spectrum(covariance(normal(20_000, 128))))) < 0.1


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
    assert fitted_range(rank, *asked) == fitted


# ---- NESum and correlation


def test_nesum_is_the_formula() -> None:
    values = eigenvalues_in_numpy(skewed())

    assert float(nesum(spectrum(covariance(skewed())))) == pytest.approx(sum(values) / values[0], rel=1e-9)


def test_nesum_of_an_isotropic_gaussian_is_below_its_dimensions_by_what_sampling_spreads() -> None:
    expected = 100 / (1 + math.sqrt(100 / 4000)) ** 2

    assert float(nesum(spectrum(covariance(normal(4000, 100))))) == pytest.approx(expected, rel=0.03)


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
    together = normal(100, 1) @ torch.tensor([[1.0, -2, 3e-5]])
    apart = math.sqrt(2 / (math.pi * 4000))

    assert float(correlation(covariance(together))) == pytest.approx(1)
    assert float(correlation(covariance(normal(4000, 64)))) == pytest.approx(apart, rel=0.05)
    assert math.isnan(float(correlation(covariance(torch.ones(10, 3)))))
    assert math.isnan(float(correlation(covariance(normal(10, 1)))))


def test_a_feature_that_float32_cannot_tell_from_a_constant_is_one() -> None:
    x = torch.stack([normal(50, 1)[:, 0], 1e4 + 1e-4 * normal(50, 1, seed=1)[:, 0].sign()], dim=1)

    assert centred(x)[:, 1].count_nonzero() == 0
    assert centred(x)[:, 0].mean() == pytest.approx(0, abs=1e-12)


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
    x = of_views(images, views, d)

    assert float(lidar(x, delta, eps)) == pytest.approx(lidar_in_numpy(x, delta, eps), rel=1e-7)


def test_lidar_counts_the_directions_that_tell_images_apart() -> None:
    corners = torch.eye(4, 8)[:, None]  # images vary in three directions, views in all eight
    x = corners.repeat(50, 6, 1) + 0.01 * normal(200, 6, 8)

    assert float(lidar(x)) == pytest.approx(3, rel=0.02)


def test_lidar_of_an_isotropic_gaussian_is_near_its_dimensions() -> None:
    assert 15.5 < float(lidar(normal(1000, 5, 16))) < 16


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_lidar_of_collapsed_features_is_one(value: float) -> None:
    assert float(lidar(torch.full((20, 3, 64), value))) == pytest.approx(1, abs=1e-3)


def test_lidar_of_two_clusters_is_one() -> None:
    x = torch.tensor([[0.0, 1, 2], [3, -1, 0]]).repeat(10, 1)[:, None].repeat(1, 3, 1)

    assert float(lidar(x)) == pytest.approx(1, abs=1e-3)


# ---- alignment and uniformity


def test_alignment_is_the_formula() -> None:
    x = unit(of_views())
    pairs = [(i, a, b) for i in range(12) for a in range(4) for b in range(4) if a != b]
    distances = [float(((x[i, a] - x[i, b]) ** 2).sum()) for i, a, b in pairs]

    assert float(alignment(of_views())) == pytest.approx(sum(distances) / len(distances), rel=1e-9)


def test_alignment_at_its_bounds() -> None:
    x = normal(30, 1, 6)

    assert float(alignment(x.repeat(1, 5, 1))) == pytest.approx(0, abs=1e-12)
    assert float(alignment(torch.cat([x, -3 * x], dim=1))) == pytest.approx(4)
    assert float(alignment(normal(3000, 2, 64))) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("rows", [1, 7, 40, 1000])
def test_uniformity_is_the_formula_in_blocks_of_any_size(rows: int) -> None:
    x = unit(skewed())
    pairs = [(i, j) for i in range(40) for j in range(i)]
    kernel = [math.exp(-2 * float(((x[i] - x[j]) ** 2).sum())) for i, j in pairs]

    assert float(uniformity(skewed(), rows)) == pytest.approx(math.log(sum(kernel) / len(kernel)), abs=1e-5)


def test_uniformity_at_its_bounds() -> None:
    simplex = torch.eye(5) - 1 / 5

    assert float(uniformity(torch.ones(30, 4))) == pytest.approx(0, abs=1e-5)
    assert float(uniformity(simplex)) == pytest.approx(-4 * 5 / 4, abs=1e-5)
    assert float(uniformity(torch.tensor([[1.0, 2], [-2, -4]]))) == pytest.approx(-8, abs=1e-5)
    assert float(uniformity(normal(1500, 256))) == pytest.approx(-4 + 8 / 256, abs=0.005)


def test_directions_do_not_change_with_lengths() -> None:
    lengths = 10 ** torch.linspace(-3, 3, 40)[:, None]

    assert float(uniformity(skewed() * lengths)) == pytest.approx(float(uniformity(skewed())), abs=1e-5)
    assert float(alignment(of_views() * 7)) == pytest.approx(float(alignment(of_views())))


def test_rotating_features_changes_only_the_correlation_and_the_std() -> None:
    x, views = skewed(), of_views(d=6)
    turn = torch.linalg.qr(normal(6, 6, seed=3))[0]

    def measured(x: Tensor, views: Tensor) -> list[float]:
        values = spectrum(covariance(x))
        found = (rankme(x), alpha_req(values), nesum(values), uniformity(x), alignment(views), lidar(views))
        return [float(value) for value in found]

    assert measured(x @ turn, views @ turn) == pytest.approx(measured(x, views), rel=1e-4)


# ---- the evaluator


def run(task: Task, **values: int) -> Scores:
    scores: Scores = Geometry(Geometry.Config(**values)).evaluate(task)
    return scores


def test_metrics_are_those_of_the_test_features_and_of_views_of_test_images() -> None:
    task = separable(20, with_network=True)
    x, network = task.test.x, task.needed_network("test")
    views = features_of_views(network, network.test.pixels, 3, task.seed)
    expected = {
        "rankme": rankme(x),
        "alpha_req": alpha_req(spectrum(covariance(x)), 2, 9),
        "lidar": lidar(views),
        "alignment": alignment(views),
        "uniformity": uniformity(x),
        "nesum": nesum(spectrum(covariance(x))),
        "feature_std": embedding_std(x),
        "correlation": correlation(covariance(x)),
    }
    found = run(task, lidar_views=3, alpha_first=2, alpha_last=9)

    assert list(found.metrics) == list(expected) == NAMES
    assert found.metrics == {name: float(value) for name, value in expected.items()}
    assert found.lower_is_better == {"alpha_req", "alignment", "uniformity", "correlation"}
    assert found.predictions is None
    assert found.protocol["views"].startswith("3 of each of 30 test images")


def test_views_of_an_image_differ_and_are_drawn_by_the_seed() -> None:
    network = separable(2, with_network=True).needed_network("test")
    pixels = network.test.pixels
    views = features_of_views(network, pixels, 2, 0)

    assert views.shape == (30, 2, 16)
    assert not torch.equal(views[:, 0], views[:, 1])
    assert torch.equal(views, features_of_views(network, pixels, 2, 0))
    assert not torch.equal(views, features_of_views(network, pixels, 2, 1))


def test_more_rows_than_asked_for_are_sampled_by_the_seed() -> None:
    task = separable(2, with_network=True)
    chosen = drawn(30, 11, task.seed, "rows")
    found = run(task, rows=11, lidar_images=4)

    assert len(set(chosen.tolist())) == 11
    assert found.metrics["rankme"] == float(rankme(task.test.x[chosen]))
    assert found.protocol["n"] == 11
    assert "10 of each of 4 test images" in found.protocol["views"]
    assert run(replace(task, seed=1), rows=11).metrics["rankme"] != found.metrics["rankme"]


def test_collapsed_features_are_measured_and_what_is_undefined_is_not_a_number() -> None:
    task = separable(2, with_network=True)
    network = task.needed_network("test")
    network.trained.map.weight.zero_()  # type: ignore[union-attr, operator]
    network.trained.map.bias.fill_(1)  # type: ignore[union-attr, operator]
    task.test.x.fill_(1)
    found = run(task).metrics

    assert {name for name, value in found.items() if math.isnan(value)} == {"alpha_req", "correlation"}
    for name, value in {"rankme": 1, "lidar": 1, "nesum": 1}.items():
        assert found[name] == pytest.approx(value, abs=1e-3)
    for name in ("alignment", "uniformity", "feature_std"):
        assert found[name] == pytest.approx(0, abs=1e-6)


def test_one_test_image_has_no_geometry() -> None:
    task = separable(2, with_network=True)

    with pytest.raises(BadValue, match=r"^geometry: there is 1 test image\. Use a dataset with 2 or more\.$"):
        run(replace(task, test=task.test.take(torch.tensor([0]))))


def test_features_too_wide_for_a_covariance_are_refused() -> None:
    task = separable(2, with_network=True)
    wide = replace(task, test=replace(task.test, x=torch.zeros(30, 8193)))

    with pytest.raises(BadValue, match=r"geometry: the features have 8193 dimensions.* at most 8192\. Use"):
        run(wide)


def test_features_that_are_not_finite_are_refused() -> None:
    task = separable(2, with_network=True)
    task.test.x[3, 2] = torch.nan

    with pytest.raises(CellError, match="geometry: the test features"):
        run(task)


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(BadValue, match=r"geometry\.alpha_first: 9 is not less than alpha_last \(9\)\. Set"):
        Geometry.Config(alpha_first=9, alpha_last=9)


def test_a_run_measures_networks_and_pixels_and_says_the_same_again(lab: Lab) -> None:
    asked = {"backbone": ("test_resnet", "pixels"), "evaluator": "geometry", "label_frac": (0.5, 1.0)}
    settings = {"geometry.lidar_images": 40, "geometry.lidar_views": 3}
    records = lab.run(lab.plan(settings, **asked))
    again = lab.beside("again")
    repeated = again.run(again.plan(settings, **asked))

    assert [record["status"] for record in records] == ["ok"] * 2
    for record in records:
        assert (record["cell"]["label_frac"], record["headline"]) == (None, "rankme")
        assert all(math.isfinite(metric["value"]) for metric in record["metrics"].values())
        assert record["metrics"]["rankme"]["higher_is_better"]
        assert not record["metrics"]["uniformity"]["higher_is_better"]
    assert [without_times(record) for record in repeated] == [without_times(record) for record in records]
