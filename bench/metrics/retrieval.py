"""How well the views of an image find each other."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.metrics.neighbours import ROWS, unit_rows


def contrastive_monitors(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """Return how near an image's other view is, by cosine, among all other views of the batch.

    Args:
        a: (n, d), embeddings of the first views.
        b: (n, d), of the second views of the same images.

    Returns:
        `contrastive_top1` and `contrastive_top5`, the share of the 2n views whose positive is among
        the nearest one or five, in percent; `positive_rank`, its mean rank in [1, 2n - 1].
    """
    ranks = positive_ranks(a, b)
    top1, top5 = (100 * (ranks <= k).float().mean() for k in (1, 5))
    return {"contrastive_top1": top1, "contrastive_top5": top5, "positive_rank": ranks.mean()}


def positive_ranks(a: Tensor, b: Tensor) -> Tensor:
    """Return the rank of each view's positive among all other views, 1 for the nearest.

    Equally near views count half: where all embeddings are alike the rank is n, that of chance.

    Args:
        a: (n, d), embeddings of the first views.
        b: (n, d), of the second views of the same images.

    Returns:
        (2n,), float32, the first views first.
    """
    z = unit_rows(torch.cat([a, b]))
    indices = torch.arange(len(z), device=z.device)
    positive, ranks = indices.roll(len(a)), []
    for rows in indices.split(ROWS):
        similarity = z[rows] @ z.T
        own = similarity.gather(1, positive[rows, None])
        similarity.scatter_(1, rows[:, None], -torch.inf)
        nearer, as_near = (similarity > own).sum(1), (similarity == own).sum(1) - 1
        ranks.append(1 + nearer + as_near / 2)
    return torch.cat(ranks)
