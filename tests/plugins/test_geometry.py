"""Alignment and uniformity against their formulas in numpy, and all measures of geometry in a run."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
import torch
from bench_plugins.evaluators.geometry import (
    Geometry,
    alignment,
    draw_indices,
    extract_views,
    uniformity,
)
from conftest import Lab, without_times
from sample_features import gaussian, noisy_views, skewed, unit
from torch import Tensor

from bench.api import BadValue, Scores, Task, embedding_std, rankme
from bench.errors import CellError
from bench.metrics.spectrum import alpha_req, correlation, covariance, lidar, nesum, spectrum
from bench.testing.evaluation_tasks import draw_sample

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


# ---- alignment and uniformity


def test_alignment_is_the_formula() -> None:
    x = unit(noisy_views())
    pairs = [(i, a, b) for i in range(12) for a in range(4) for b in range(4) if a != b]
    distances = [float(((x[i, a] - x[i, b]) ** 2).sum()) for i, a, b in pairs]

    assert float(alignment(noisy_views())) == pytest.approx(sum(distances) / len(distances), rel=1e-9)


def test_alignment_at_its_bounds() -> None:
    x = gaussian(30, 1, 6)

    assert float(alignment(x.repeat(1, 5, 1))) == pytest.approx(0, abs=1e-12)
    assert float(alignment(torch.cat([x, -3 * x], dim=1))) == pytest.approx(4)
    assert float(alignment(gaussian(3000, 2, 64))) == pytest.approx(2, rel=0.01)


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
    assert float(uniformity(gaussian(1500, 256))) == pytest.approx(-4 + 8 / 256, abs=0.005)


def test_directions_do_not_change_with_lengths() -> None:
    lengths = 10 ** torch.linspace(-3, 3, 40)[:, None]

    assert float(uniformity(skewed() * lengths)) == pytest.approx(float(uniformity(skewed())), abs=1e-5)
    assert float(alignment(noisy_views() * 7)) == pytest.approx(float(alignment(noisy_views())))


def test_rotating_features_changes_only_the_correlation_and_the_std() -> None:
    x, views = skewed(), noisy_views(d=6)
    turn = torch.linalg.qr(gaussian(6, 6, seed=3))[0]

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
    task = draw_sample(20, 30).task(with_network=True)
    x, network = task.test.x, task.needed_network("test")
    views = extract_views(network, network.test.pixels, 3, task.seed)
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
    assert {found.direction(name) for name in NAMES} == {None}
    assert found.predictions is None
    assert found.protocol["views"].startswith("3 of each of 30 test images")


def test_views_of_an_image_differ_and_are_drawn_by_the_seed() -> None:
    network = draw_sample(2, 30).task(with_network=True).needed_network("test")
    pixels = network.test.pixels
    views = extract_views(network, pixels, 2, 0)

    assert views.shape == (30, 2, 16)
    assert not torch.equal(views[:, 0], views[:, 1])
    assert torch.equal(views, extract_views(network, pixels, 2, 0))
    assert not torch.equal(views, extract_views(network, pixels, 2, 1))


def test_more_rows_than_asked_for_are_sampled_by_the_seed() -> None:
    task = draw_sample(2, 30).task(with_network=True)
    chosen = draw_indices(30, 11, task.seed, "rows")
    found = run(task, rows=11, lidar_images=4)

    assert len(set(chosen.tolist())) == 11
    assert found.metrics["rankme"] == float(rankme(task.test.x[chosen]))
    assert found.protocol["n"] == 11
    assert "10 of each of 4 test images" in found.protocol["views"]
    assert run(replace(task, seed=1), rows=11).metrics["rankme"] != found.metrics["rankme"]


def test_collapsed_features_are_measured_and_what_is_undefined_is_not_a_number() -> None:
    task = draw_sample(2, 30).task(with_network=True)
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
    task = draw_sample(2, 30).task(with_network=True)

    with pytest.raises(BadValue, match=r"^geometry: there is 1 test image\. Use a dataset with 2 or more\.$"):
        run(replace(task, test=task.test.take(torch.tensor([0]))))


def test_features_too_wide_for_a_covariance_are_refused() -> None:
    task = draw_sample(2, 30).task(with_network=True)
    wide = replace(task, test=replace(task.test, x=torch.zeros(30, 8193)))

    with pytest.raises(BadValue, match=r"geometry: the features have 8193 dimensions.* at most 8192\. Use"):
        run(wide)


def test_features_that_are_not_finite_are_refused() -> None:
    task = draw_sample(2, 30).task(with_network=True)
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
        assert {metric["higher_is_better"] for metric in record["metrics"].values()} == {None}
    assert [without_times(record) for record in repeated] == [without_times(record) for record in records]


def test_the_defaults_are_those_that_are_documented() -> None:
    assert asdict(Geometry.Config()) == {
        "rows": 10_000,
        "alpha_first": 11,
        "alpha_last": 100,
        "lidar_images": 1000,
        "lidar_views": 10,
    }
