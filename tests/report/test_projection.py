from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier

from bench.errors import UsageError
from bench.report.projection import (
    check_kind,
    choose_rows,
    leave_one_out,
    project,
    take_components,
    to_unit_rows,
    why_no_map,
)

Array = np.ndarray


def groups(images: int = 90, dim: int = 8) -> tuple[Array, Array]:
    draws = np.random.default_rng(0)
    labels = np.arange(images) % 3
    return np.eye(dim)[labels] * 3 + draws.normal(size=(images, dim)), labels


def test_a_map_has_the_trustworthiness_of_scikit_learn_on_rows_of_length_one() -> None:
    features, labels = groups()
    made = project(features, labels, "tsne")
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)

    assert made.points.shape == (90, 2)
    assert made.trustworthiness == pytest.approx(trustworthiness(unit, made.points, n_neighbors=10), abs=1e-6)
    assert made.trustworthiness > 0.8


def test_a_map_is_the_same_each_time() -> None:
    features, labels = groups()

    assert (project(features, labels, "tsne").points == project(features, labels, "tsne").points).all()


def test_features_of_more_dimensions_are_brought_to_their_principal_components() -> None:
    unit = to_unit_rows(groups(dim=60)[0])
    components = take_components(unit)
    values = np.linalg.svd((unit - unit.mean(0)).astype(np.float64), compute_uv=False)[:50]

    assert components.shape == (90, 50)
    assert np.linalg.norm(components, axis=0) == pytest.approx(values, rel=1e-3)
    assert (take_components(unit[:, :50]) == unit[:, :50]).all()


def test_the_vote_of_neighbours_is_that_of_a_plain_loop_and_leaves_each_image_out_of_its_own() -> None:
    features, _ = groups(images=40)
    labels = np.random.default_rng(1).integers(0, 3, 40)  # of no group: only an image's own would tell
    right = 0
    for row in range(40):
        order = np.argsort(np.linalg.norm(features - features[row], axis=1), kind="stable")
        near = [labels[other] for other in order if other != row][:10]
        right += max(range(3), key=lambda label: (near.count(label), -label)) == labels[row]

    assert leave_one_out(features, labels) == 100 * right / 40
    assert KNeighborsClassifier(1).fit(features, labels).score(features, labels) == 1  # with itself, all are


def test_rows_are_as_many_of_each_class_and_those_of_fewer_lie_among_those_of_more() -> None:
    labels = np.array([0] * 50 + [1] * 7 + [2] * 30)
    few, many = choose_rows(labels, 12), choose_rows(labels, 40)

    assert np.bincount(labels[few]).tolist() == [4, 4, 4]
    assert set(few) <= set(many)
    assert (np.diff(many) > 0).all()
    assert len(choose_rows(labels, 1000)) == 87


def test_rows_do_not_change_with_the_method() -> None:
    labels = np.arange(200) % 7

    assert (choose_rows(labels, 50) == choose_rows(labels.copy(), 50)).all()


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (np.random.default_rng(0).normal(size=(29, 4)), "a map needs 30 test images, and there are 29"),
        (np.full((50, 4), np.nan), "infinite or not a number"),
        (np.outer(np.arange(1, 51), np.ones(4)), "all features are alike"),
        (np.zeros((50, 4)), "all features are alike"),
    ],
)
def test_features_without_a_map_say_why(features: Array, reason: str) -> None:
    assert reason in why_no_map(features)


def test_features_of_any_scale_have_length_one_and_zeros_stay() -> None:
    unit = to_unit_rows(np.array([[3e-30, 4e-30], [3e30, 4e30], [0, 0]]))

    assert unit == pytest.approx(np.array([[0.6, 0.8], [0.6, 0.8], [0, 0]]))
    assert why_no_map(np.random.default_rng(0).normal(size=(50, 4)) * 1e-30) == ""


def test_an_unknown_kind_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"--map: 'pca' is no kind of map\. Use tsne, umap"):
        check_kind("pca")


def test_a_kind_whose_package_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)

    with pytest.raises(UsageError, match=r"umap-learn is not installed. .*'ssl-bench\[maps\]'"):
        check_kind("umap")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["umap", "pacmap", "opentsne"])
def test_other_kinds_map_groups_apart_where_they_are_installed(kind: str) -> None:
    pytest.importorskip({"umap": "umap", "pacmap": "pacmap", "opentsne": "openTSNE"}[kind])
    features, labels = groups()
    made = project(features, labels, kind)

    assert made.points.shape == (90, 2)
    assert made.knn_map > 80
