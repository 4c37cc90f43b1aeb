"""What an evaluator is given of a cell, and what a method that uses labels is trained on.

Labels may come from two splits, train and val, which count as one pool, one after the other. A label
fraction is of this pool, and whoever asks for the same fraction and seed gets the same images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import splits
from bench.cells import Cell
from bench.contract import Backbone, DatasetInfo, Images
from bench.evaluation import Features, Network, Task, folds_of

LABELLED = ("train", "val")


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
    pool = known[0]
    if len(known) > 1:
        pool = Features(torch.cat([part.x for part in known]), torch.cat([part.y for part in known]))
    rows = _rows(cell, pool.y)
    train = pool.take(rows)
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
    pool = known[0]
    if len(known) > 1:
        pixels = torch.cat([part.pixels[:] for part in known])
        pool = Images(pixels, torch.cat([part.labels for part in known]))
    rows = _rows(cell, pool.labels)
    return Network(
        trained=trained,
        train=pool if len(rows) == len(pool) else pool.take(rows),
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
