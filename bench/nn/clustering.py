"""Clusters of embeddings that have length 1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 4096  # of the similarities at a time: 50 MB at 3,000 centroids


@torch.no_grad()
def spherical_kmeans(rows: Tensor, start: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Return centroids of length 1, and which of them is the most similar to each row.

        y_i <- argmax over k of r_i . c_k,   c_k <- the sum of the r_i with y_i = k, made unit length

    A centroid that is the most similar to none stays where it was.

    Args:
        rows: (n, d), of length 1.
        start: (count, d), centroids to begin with, such as some of the rows.
        iterations: how often centroids are moved; rows are assigned once more in the end.

    Returns:
        Centroids (count, d) and assignments (n,), int64.

    Source: facebookresearch/swav main_deepclusterv2.py cluster_memory; Dhillon and Modha 2001,
    doi:10.1023/A:1007612920971.
    """
    centroids = start
    for _ in range(iterations):
        nearest = _assign(rows, centroids)
        sums = torch.zeros_like(centroids).index_add_(0, nearest, rows)
        filled = torch.zeros(len(sums), dtype=torch.bool, device=rows.device).index_fill_(
            0, nearest, value=True
        )
        centroids = F.normalize(torch.where(filled[:, None], sums, centroids), dim=1)
    return centroids, _assign(rows, centroids)


def _assign(rows: Tensor, centroids: Tensor) -> Tensor:
    """Return the most similar centroid of each row, (n,) int64."""
    return torch.cat([(part @ centroids.T).argmax(dim=1) for part in rows.split(ROWS)])
