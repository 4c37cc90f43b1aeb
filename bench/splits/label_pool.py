"""The pool of labelled images: which of them a label fraction takes.

Labels may come from two splits, train and val, which count as one pool, one after the other. Whoever asks
for the same fraction and seed gets the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.splits.amounts import ALL_LABELS, LabelAmount
from bench.splits.grouped import pool_groups
from bench.splits.stratified import stratified_subset

AT_ONCE = 4_096  # rows that are copied twice


def pooled_groups(data: Any) -> Tensor | None:
    """Return what `pool_groups` does, as a tensor."""
    groups = pool_groups(data)
    return None if groups is None else torch.from_numpy(groups)


def labelled_rows(
    labels: Tensor, amount: LabelAmount | float | None, seed: int, groups: Tensor | None = None
) -> Tensor:
    """Return which rows of the pool an amount of labels takes, (m,) int64, ascending; none is all.

    Args:
        labels: (n,), int64, of the pool, -1 where there is none.
        amount: of each class.
        seed: of the draw.
        groups: (n,), int64, of images that stay together; none where each stands alone.
    """
    own = None if groups is None else groups.numpy()
    return torch.from_numpy(stratified_subset(labels.numpy(), amount or ALL_LABELS, seed, groups=own))


def select_rows(parts: Sequence[Tensor], rows: Tensor) -> Tensor:
    """Return some rows of tensors that count as one pool: a copy only where they are not there as they are.

    Rows that lie one after the other in one tensor, such as all of it, are a part of that tensor: in a mapped
    file they stay there.

    Args:
        parts: as of `gather_rows`.
        rows: likewise.
    """
    if len(rows) and int(rows[-1] - rows[0]) == len(rows) - 1:
        first = int(rows[0])
        for part in parts:
            if 0 <= first <= len(part) - len(rows):
                return part[first : first + len(rows)]
            first -= len(part)
    return gather_rows(parts, rows)


def gather_rows(parts: Sequence[Tensor], rows: Tensor) -> Tensor:
    """Return a copy of some rows of tensors that count as one pool, of which nothing else is copied.

    Args:
        parts: (n, ...) each, on the CPU.
        rows: (m,), int64, ascending indices into the pool.
    """
    rows_copied, start, end = torch.empty(len(rows), *parts[0].shape[1:], dtype=parts[0].dtype), 0, 0
    for part in parts:
        own = rows[(rows >= start) & (rows < start + len(part))] - start
        for some in own.split(AT_ONCE):
            rows_copied[end : end + len(some)] = part[some]
            end += len(some)
        start += len(part)
    return rows_copied
