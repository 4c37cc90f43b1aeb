"""Losses that several methods share, and the pieces that others are made of."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 512  # of the similarities at a time: 16 MB of a batch of 4,096, all of one of 256


def nt_xent(a: Tensor, b: Tensor, temperature: float, rows: int = ROWS) -> Tensor:
    """Return SimCLR's loss of two views, with `rows` of the 2n rows of similarities there at a time.

        l(i, j) = -log( exp(s_ij / t) / sum over k != i of exp(s_ik / t) ),   s the cosine similarity
        L       = mean of l(i, twin of i) over the 2n views

    The authors' code sums the two halves, so its loss is twice this one.

    Args:
        a: (n, d), first views.
        b: (n, d), second views.
        temperature: divides the cosine similarities.
        rows: at least 1; changes memory and time only.

    Returns:
        (), the mean.

    Source: Chen 2020 (SimCLR), arXiv:2002.05709, equation 1 and algorithm 1.
    """
    z = F.normalize(torch.cat([a, b]), dim=1) * temperature**-0.5  # of which products are logits
    loss: Tensor = TwinLoss.apply(z, rows)
    return loss


class TwinLoss(torch.autograd.Function):
    """The mean of l(i, twin of i) over the rows of z (2n, d), whose products are the logits.

    Its gradient, sum over k of (q_ik + q_ki) z_k / 2n with q_i the softmax of row i less 1 at the twin,
    is known as soon as a row of products is. So it is added up on the way: (2n, 2n) numbers are never
    there at once, and none is made twice.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, rows: int) -> Tensor:
        """Return the mean, and keep the gradient (2n, d) if it will be asked for."""
        twin = torch.arange(len(z), device=z.device).roll(len(z) // 2).unsqueeze(1)
        gradient = torch.zeros_like(z) if ctx.needs_input_grad[0] else None
        losses = []
        for start in range(0, len(z), rows):
            here = slice(start, start + rows)
            q = z[here] @ z.T  # (rows, 2n)
            q.diagonal(start).fill_(-torch.inf)
            most, own = q.amax(dim=1, keepdim=True), q.gather(1, twin[here])
            total = q.sub_(most).exp_().sum(dim=1, keepdim=True)
            losses.append(most - own + total.log())
            if gradient is not None:
                q.div_(total).scatter_add_(1, twin[here], torch.full_like(own, -1.0))
                gradient[here].addmm_(q, z)
                gradient.addmm_(q.T, z[here])
        if gradient is not None:
            ctx.save_for_backward(gradient.div_(len(z)))
        return torch.cat(losses).mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of z, and none of `rows`."""
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None


def info_nce(
    queries: Tensor,
    keys: Tensor,
    temperature: float,
    queue: Tensor | None = None,
    valid: Tensor | None = None,
    own: Tensor | None = None,
) -> Tensor:
    """Return the cross-entropy of each query with its key among all keys, or among the rows of a queue.

        CE( [q . k+, q . queue] / T, 0 )       MoCo: the key itself and the queue
        CE( q k^T / T, i )                     MoCo v3, which multiplies by 2 T: the batch's keys

    Everything is made unit length here. Gradient goes to queries and keys: keys of a momentum network
    have none to take.

    Args:
        queries: (n, d).
        keys: (n, d), row i that of query i.
        temperature: T, divides the cosine similarities.
        queue: (size, d), negatives of all queries; takes no gradient.
        valid: (size,), bool, rows of the queue that hold something.
        own: (n, m, d), negatives of each query beside the queue's; take no gradient.

    Returns:
        (), the mean over queries.

    Raises:
        ValueError: `valid` or `own` came without a queue.

    Source: He 2020 (MoCo), arXiv:1911.05722, equation 1, facebookresearch/moco moco/builder.py; Chen 2021
    (MoCo v3), arXiv:2104.02057, algorithm 1, facebookresearch/moco-v3 moco/builder.py.
    """
    q, k = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
    if queue is None:
        if valid is not None or own is not None:
            raise ValueError(
                "info_nce: `valid` or `own` came, but no queue that it is of. Give a queue, or none."
            )
        return F.cross_entropy(q @ k.T / temperature, torch.arange(len(q), device=q.device))
    others = q @ F.normalize(queue.detach(), dim=1).T
    if valid is not None:
        others = others.masked_fill(~valid, -torch.inf)
    if own is not None:
        made = F.normalize(own.detach(), dim=2) @ q.unsqueeze(2)
        others = torch.cat([others, made.squeeze(2)], dim=1)
    logits = torch.cat([(q * k).sum(dim=1, keepdim=True), others], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.int64, device=q.device))


def cross_correlation(a: Tensor, b: Tensor, eps: float = 1e-5) -> Tensor:
    """Return the correlations (d, d) of the columns of a with those of b, over the batch.

    Columns are standardised as batch norm without scale and shift does it, each view by itself:
    (x - mean) / sqrt(var + eps), var being the mean square.

    Args:
        a: (n, d).
        b: (n, d).
        eps: batch norm's; the paper's formula is 0, where a column that is constant gives NaN. With the
            default a loss of Barlow Twins is off by some 3e-5 of itself.

    Source: Zbontar 2021 (Barlow Twins), arXiv:2103.03230, equation 2; facebookresearch/barlowtwins main.py.
    """
    return _standardise(a, eps).T @ _standardise(b, eps) / len(a)


def _standardise(z: Tensor, eps: float) -> Tensor:
    """Return z (n, d) with columns of mean 0 and deviation 1."""
    return (z - z.mean(dim=0)) / torch.sqrt(z.var(dim=0, correction=0) + eps)


def off_diagonal_sum_of_squares(matrix: Tensor) -> Tensor:
    """Return the sum () of the squares of a square matrix (d, d), but for its diagonal.

    No difference is taken: that of all squares and the diagonal's loses what is small beside d.

    Source: Zbontar 2021 (Barlow Twins), arXiv:2103.03230, equation 1; Bardes 2022 (VICReg),
    arXiv:2105.04906, equation 4.
    """
    d = len(matrix)
    rest = matrix.flatten()[1:].view(d - 1, d + 1)  # whose last column is the diagonal, but for its first
    return rest[:, :-1].square().sum()


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over rows of - sum over classes of target times log softmax of logit.

    Args:
        logits: (..., classes), divided by a temperature.
        targets: (..., classes), that sum to 1; without gradient, if the teacher shall have none.

    Source: Caron 2020 (SwAV), arXiv:2006.09882, equation 2; Caron 2021 (DINO), arXiv:2104.14294,
    equation 2.
    """
    return -(targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


def cosine_distance(p: Tensor, z: Tensor) -> Tensor:
    """Return the mean over rows of 2 - 2 cos(p, z): the squared distance of the unit vectors.

    BYOL adds that of the two directions. lightly's example is the mean of both -cos: 4 times that, and 4
    more, is BYOL's loss, so its gradient is a quarter.

    Args:
        p: (..., d), predictions.
        z: (..., d), targets; without gradient, if they shall take none.

    Source: Grill 2020 (BYOL), arXiv:2006.07733, equation 2; google-deepmind/deepmind-research
    byol/utils/helpers.py.
    """
    return 2 - 2 * (F.normalize(p, dim=-1) * F.normalize(z, dim=-1)).sum(dim=-1).mean()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over images of the mean over an image's masked patches.

    An image without any counts as 0, where a plain mean would be 0 / 0. Where each image has as many
    masked, it is the mean over all masked patches (MAE).

    Args:
        values: (n, patches), what is lost at each patch.
        mask: (n, patches), bool, True where masked.

    Source: Zhou 2022 (iBOT), arXiv:2111.07832, equation 2; bytedance/ibot main_ibot.py.
    """
    sums = values.masked_fill(~mask, 0).sum(dim=-1)
    return (sums / mask.sum(dim=-1).clamp(min=1)).mean()
