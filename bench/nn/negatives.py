"""Negatives that are made of those which a query is nearest to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def synthetic_negatives(
    queries: Tensor,
    queue: Tensor,
    hard: int,
    counts: Sequence[int],
    noise: float,
    ascent: float,
    sign_ascent: float,
) -> Tensor:
    """Return SynCo's negatives of each query, made of the rows n of the queue that are nearest to it.

        1  a q + (1 - a) n, a in [0, 0.5)        2  q + b (n - q), b in [1, 1.5)
        3  g n + (1 - g) n', g in [0, 1)         4  n + noise * normal numbers
        5  n + ascent * q                        6  n + sign_ascent * sign(q)

    As the similarity of q and n is their product, q is its gradient: 5 and 6 climb along it.

    Args:
        queries: (n, d), of any length.
        queue: (size, d), unit rows.
        hard: how many rows are the nearest, at most size.
        counts: negatives of types 1 to 6.
        noise: sigma.
        ascent: delta.
        sign_ascent: eta.

    Returns:
        (n, sum of counts, d), of length 1, type by type, without gradient.

    Source: Giakoumoglou 2024 (SynCo), arXiv:2410.02401, 3.2; giakoumoglou/synco synco/builder.py.
    """
    q = F.normalize(queries, dim=1)
    nearest = (q @ queue.T).topk(hard, dim=1).indices

    def rows(*shape: int) -> Tensor:
        """Return some of the nearest rows of each query: (..., n, count, d)."""
        places = torch.randint(0, hard, shape, device=q.device)
        return queue[nearest.expand(*shape[:-1], hard).gather(-1, places)]

    def uniform(count: int) -> Tensor:
        return torch.rand(len(q), count, 1, device=q.device, dtype=q.dtype)

    own, made = q.unsqueeze(1), []
    if counts[0]:
        n, a = rows(len(q), counts[0]), uniform(counts[0]) / 2
        made.append(a * own + (1 - a) * n)
    if counts[1]:
        n, b = rows(len(q), counts[1]), 1 + uniform(counts[1]) / 2
        made.append(own + b * (n - own))
    if counts[2]:
        (n, other), g = rows(2, len(q), counts[2]), uniform(counts[2])
        made.append(g * n + (1 - g) * other)
    if counts[3]:
        n = rows(len(q), counts[3])
        made.append(n + noise * torch.randn_like(n))
    if counts[4]:
        made.append(rows(len(q), counts[4]) + ascent * own)
    if counts[5]:
        made.append(rows(len(q), counts[5]) + sign_ascent * own.sign())
    return F.normalize(torch.cat(made, dim=1), dim=2) if made else q.new_zeros(len(q), 0, q.shape[1])
