"""The k nearest neighbours by cosine, and their vote: of frozen features, or of those in training.

    score_c(x) = sum over the k nearest i of exp(cos(x, x_i) / T) [y_i = c]

Source: Wu 2018, "Unsupervised feature learning via non-parametric instance discrimination",
https://arxiv.org/abs/1805.01978, section 3.4. Of equally near neighbours the earlier is taken.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

ROWS, BANK = 256, 65_536  # a block of similarities: 64 MB
UNIT = 4_096  # rows that are brought to length one at a time


def unit_rows(x: Tensor, device: torch.device | None = None) -> Tensor:
    """Return features at length one, in one copy; a row of zeros stays one, alike to nothing.

    Args:
        x: (n, dim); may be in a mapped file.
        device: where they are wanted and computed; none is where they are.
    """
    unit = torch.empty_like(x, device=device)
    for rows, place in zip(x.split(UNIT), unit.split(UNIT), strict=True):
        place.copy_(_bring_to_length_one(rows.to(unit.device)))
    return unit


def _bring_to_length_one(x: Tensor) -> Tensor:
    largest = x.abs().amax(1, keepdim=True)
    return F.normalize(x / torch.where(largest > 0, largest, 1.0))  # squares of 1e-30 would vanish


def votes(near: Tensor, labels: Tensor, classes: int, temperature: float) -> Tensor:
    """Return what each class got of the neighbours' votes.

    Args:
        near: (n, k), the neighbours' similarities.
        labels: (n, k), int64, their classes.
        classes: number of classes.
        temperature: exp(similarity / temperature) is a neighbour's weight.

    Returns:
        (n, classes), up to a positive factor a row; -inf for a class without a vote.
    """
    weights = ((near - near.amax(1, keepdim=True)) / temperature).exp()  # exp(1 / 0.01) overflows
    sums = near.new_zeros(len(near), classes).scatter_add_(1, labels, weights)
    return sums.masked_fill(sums == 0, -torch.inf)


@torch.no_grad()
def nearest(
    queries: Tensor, bank: Tensor, k: int, rows: int = ROWS, bank_rows: int = BANK
) -> tuple[Tensor, Tensor]:
    """Return the k most similar rows of the bank; of equal ones the earlier.

    Args:
        queries: (n, dim), unit rows.
        bank: (m, dim), unit rows.
        k: at most m.
        rows: queries at a time.
        bank_rows: rows of the bank at a time.

    Returns:
        Similarities and indices, each (n, k), in the order of the bank.
    """
    # one memory for all blocks: new pages for each cost an eighth of the product
    held = queries.new_empty(min(rows, len(queries)) * min(bank_rows, len(bank)))
    blocks = [_nearest_of_block(block, bank, k, bank_rows, held) for block in queries.split(rows)]
    near, index = zip(*blocks, strict=True)
    return torch.cat(near), torch.cat(index)


def _nearest_of_block(
    queries: Tensor, bank: Tensor, k: int, bank_rows: int, held: Tensor
) -> tuple[Tensor, Tensor]:
    near, index = queries.new_empty(len(queries), 0), queries.new_empty(len(queries), 0, dtype=torch.long)
    for start in range(0, len(bank), bank_rows):
        part = bank[start : start + bank_rows]
        similarity = held[: len(queries) * len(part)].view(len(queries), len(part))
        _product(queries, part, similarity)
        pick = first_largest(similarity, min(k, similarity.shape[1]))
        near = torch.cat((near, similarity.gather(1, pick)), 1)
        index = torch.cat((index, pick + start), 1)
        pick = first_largest(near, min(k, near.shape[1]))
        near, index = near.gather(1, pick), index.gather(1, pick)
    return near, index


def _product(queries: Tensor, bank: Tensor, out: Tensor) -> None:
    """Write queries @ bank.T: on a processor by numpy's BLAS, since torch's is made for those of Intel."""
    if out.device.type == "cpu":
        np.matmul(queries.detach().numpy(), bank.detach().numpy().T, out=out.numpy())
    else:
        torch.mm(queries, bank.T, out=out)


def first_largest(values: Tensor, k: int) -> Tensor:
    """Return the indices of the k largest values of each row, ascending; of equal ones the first.

    `topk` alone leaves open which of equal values it takes, and devices differ in it.

    Args:
        values: (n, m).
        k: at most m.

    Returns:
        (n, k), int64.
    """
    if k == values.shape[1]:
        return torch.arange(k, device=values.device).expand(len(values), k)
    top, indices = values.topk(k + 1)
    tied = (top[:, k - 1] == top[:, k]).nonzero()[:, 0]
    indices = indices[:, :k].sort(1).values
    if len(tied):
        row, least = values[tied], top[tied, k - 1 : k]
        above, equal = row > least, row == least
        missing = k - above.sum(1, keepdim=True)
        chosen = above | (equal & (equal.cumsum(1) <= missing))
        indices[tied] = chosen.nonzero()[:, 1].view(len(tied), k)
    return indices
