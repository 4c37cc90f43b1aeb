"""Spherical k-means is that of plain loops; the authors' case is in the tests of DeepCluster v2."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bench.nn import clustering
from bench.nn.clustering import spherical_kmeans


def unit(row: list[float]) -> list[float]:
    return [x / math.hypot(*row) for x in row]


def plain_kmeans(
    rows: list[list[float]], centroids: list[list[float]], iterations: int
) -> tuple[list[list[float]], list[int]]:
    """Return centroids of length 1 and the nearest one of each row, number by number."""

    def nearest() -> list[int]:
        cosines = [[sum(a * b for a, b in zip(row, c, strict=True)) for c in centroids] for row in rows]
        return [row.index(max(row)) for row in cosines]

    for _ in range(iterations):
        members: dict[int, list[list[float]]] = {}
        for row, cluster in zip(rows, nearest(), strict=True):
            members.setdefault(cluster, []).append(row)
        centroids = [
            unit([sum(column) for column in zip(*members[k], strict=True)]) if k in members else centroid
            for k, centroid in enumerate(centroids)
        ]
    return centroids, nearest()


@pytest.mark.parametrize(("n", "d", "count", "iterations"), [(40, 4, 3, 10), (60, 8, 12, 2), (30, 3, 30, 5)])
def test_clusters_are_those_of_plain_loops(n: int, d: int, count: int, iterations: int) -> None:
    rows = nn.functional.normalize(
        torch.randn(n, d, generator=torch.Generator().manual_seed(n)).double(), dim=1
    )
    centroids, nearest = spherical_kmeans(rows, rows[:count], iterations)
    wanted, assigned = plain_kmeans(rows.tolist(), rows[:count].tolist(), iterations)

    assert nearest.tolist() == assigned
    assert torch.allclose(centroids, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_cluster_that_loses_all_its_images_stays_where_it_was() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    far = torch.tensor([[0.9, 0.436], [-1.0, 0.0]])
    centroids, nearest = spherical_kmeans(rows, far, 4)

    assert centroids[1].tolist() == [-1.0, 0.0]
    assert nearest.tolist() == [0, 0, 0]


def test_rows_are_assigned_alike_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = nn.functional.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    whole = spherical_kmeans(rows, rows[:5], 4)
    monkeypatch.setattr(clustering, "ROWS", 7)
    parts = spherical_kmeans(rows, rows[:5], 4)

    assert torch.equal(whole[1], parts[1])
    assert torch.allclose(whole[0], parts[0])
