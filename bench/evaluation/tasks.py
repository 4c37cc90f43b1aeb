"""What an evaluator is given of a cell, and what a method that uses labels is trained on.

Labels may come from two splits, train and val, which count as one pool, one after the other. A label
fraction is of this pool, and whoever asks for the same fraction and seed gets the same images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.contracts.dataset import Backbone, DatasetInfo, Images
from bench.contracts.evaluator import Features, Network, Task, folds_of
from bench.planning.cells import Cell
from bench.splits import stratified as splits

LABELLED = ("train", "val")
AT_ONCE = 4_096  # rows that are copied twice


def task_of(
    cell: Cell, parts: Mapping[str, Features], classes: tuple[str, ...], device: torch.device
) -> Task:
    """Return what an evaluator may see, and change: the labelled part of the pool, and the test split.

    Args:
        cell: to be evaluated.
        parts: the features of every split.
        classes: the classes' names.
        device: where to compute.
    """
    known = [parts[split] for split in LABELLED if split in parts]
    labels = torch.cat([part.y for part in known])
    rows = _rows(cell, labels)
    train = Features(_taken([part.x for part in known], rows), labels[rows])
    own_val = len(known) > 1 and cell.label_frac in (1, None)
    own = rows >= len(known[0])
    return Task(
        train=train,
        test=Features(parts["test"].x.clone(), parts["test"].y.clone()),
        folds=((torch.where(~own)[0], torch.where(own)[0]),) if own_val else folds_of(train, cell.seed),
        classes=classes,
        seed=cell.seed,
        device=device,
        own_val=own_val,
    )


def network_of(
    cell: Cell,
    images: Mapping[str, Images],
    info: DatasetInfo,
    trained: Backbone,
    about: Mapping[str, Any],
    device: torch.device,
) -> Network:
    """Return the backbone of a cell, and the images of its task row by row.

    Args:
        cell: to be evaluated.
        images: of every split.
        info: what is known of them.
        trained: the backbone, on `device`.
        about: what its artifact says of it.
        device: where to compute.
    """
    known = [images[split] for split in LABELLED if split in images]
    labels = torch.cat([part.labels for part in known])
    rows = _rows(cell, labels)
    every = len(known) == 1 and len(rows) == len(labels)  # they may be in a file larger than memory
    return Network(
        trained=trained,
        train=known[0] if every else Images(_taken([part.pixels for part in known], rows), labels[rows]),
        test=images["test"],
        data=info,
        image_size=cell.image_size,
        channels=about["channels"],
        mean=tuple(about["mean"]),
        std=tuple(about["std"]),
        device=device,
    )


def labelled_share(cell: Cell, count: int, data: Any) -> Tensor:
    """Return what a method that uses labels is trained on: the training images among a cell's labels.

    They are repeated to the number there were, so that every share is trained for as many steps.

    Args:
        cell: with a share below one.
        count: images of the split that is trained on.
        data: the dataset they are of.

    Returns:
        (count,), int64, places in that split.
    """
    pool = np.concatenate([data.labels(split) for split in LABELLED if split in data.splits])
    rows = torch.from_numpy(splits.stratified_subset(pool, cell.label_share, cell.seed))
    rows = rows[rows < count]
    return rows.repeat(-(-count // len(rows)))[:count]


def _rows(cell: Cell, labels: Tensor) -> Tensor:
    """Return which rows of the pool a cell's label fraction takes."""
    return torch.from_numpy(splits.stratified_subset(labels.numpy(), cell.label_frac or 1.0, cell.seed))


def _taken(parts: Sequence[Tensor], rows: Tensor) -> Tensor:
    """Return a copy of some rows of tensors that count as one pool, of which nothing else is copied.

    Args:
        parts: (n, ...) each, on the CPU.
        rows: (m,), int64, ascending places in the pool.
    """
    taken, start, end = torch.empty(len(rows), *parts[0].shape[1:], dtype=parts[0].dtype), 0, 0
    for part in parts:
        own = rows[(rows >= start) & (rows < start + len(part))] - start
        for some in own.split(AT_ONCE):
            taken[end : end + len(some)] = part[some]
            end += len(some)
        start += len(part)
    return taken
