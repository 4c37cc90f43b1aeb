"""What an evaluator is given of a cell: its features or its network, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bench.contracts.backbone import Backbone
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.evaluator import Features, Network, Task, draw_folds
from bench.splits.amounts import ALL_LABELS, LabelAmount
from bench.splits.grouped import labelled_splits
from bench.splits.label_pool import gather_rows, labelled_rows, select_rows

Folds = tuple[tuple[Tensor, Tensor], ...]


def build_task(
    parts: Mapping[str, Features],
    classes: tuple[str, ...],
    amount: LabelAmount | float | None,
    seed: int,
    device: torch.device,
    shared: dict[str, Any] | None = None,
    groups: Tensor | None = None,
    *,
    seen: bool = False,
) -> Task:
    """Return what an evaluator may see, and change: the labelled part of the pool, and the test split.

    Features stay where they are, such as in a mapped file, if the labelled rows are all of one split. A label
    fraction, or train and val together, is copied: such rows are in no file one after the other.

    Args:
        parts: the features of every split. Those of `x` are the task's from now on, labels are copied.
        classes: the classes' names.
        amount: of the labels, a share or more; none is all.
        seed: of the draw, and of the evaluator.
        device: where to compute.
        shared: of the run, as `Task.shared`; none is an empty one.
        groups: (n,), int64, of the pool: images that stay together; none where each stands alone.
        seen: the backbone was trained with these labels.
    """
    known = [parts[split] for split in labelled_splits(parts)]
    labels = torch.cat([part.y for part in known])
    rows = labelled_rows(labels, amount, seed, groups)
    x = select_rows([part.x for part in known], rows)
    train = Features(x, labels[rows], None if groups is None else groups[rows])
    own_val = len(known) > 1 and amount in (1, None, ALL_LABELS) and not seen
    own = rows >= len(known[0])
    folds: Folds = ()
    if own_val:
        folds = ((torch.where(~own)[0], torch.where(own)[0]),)
    elif not seen:
        folds = draw_folds(train, seed)
    return Task(
        train=train,
        test=Features(parts["test"].x, parts["test"].y.clone()),
        folds=folds,
        classes=classes,
        seed=seed,
        device=device,
        own_val=own_val,
        seen=seen,
        shared={} if shared is None else shared,
    )


def build_network(
    trained: Backbone,
    images: Mapping[str, Images],
    info: DatasetInfo,
    about: Mapping[str, Any],
    amount: LabelAmount | float | None,
    seed: int,
    device: torch.device,
    groups: Tensor | None = None,
) -> Network:
    """Return a trained backbone, and the images of its task row by row.

    Args:
        trained: the backbone, on `device`.
        images: of every split.
        info: what is known of them.
        about: what the backbone's artifact says of it.
        amount: as of `build_task`.
        seed: as of `build_task`.
        device: where to compute.
        groups: as of `build_task`.
    """
    known = [images[split] for split in labelled_splits(images)]
    labels = torch.cat([part.labels for part in known])
    rows = labelled_rows(labels, amount, seed, groups)
    every = len(known) == 1 and len(rows) == len(labels)  # they may be in a file larger than memory
    train = known[0] if every else Images(gather_rows([part.pixels for part in known], rows), labels[rows])
    return Network(
        trained=trained,
        train=train.resident(device),  # an evaluator may go over them for many epochs
        test=images["test"],
        data=info,
        image_size=about["image_size"],
        channels=about["channels"],
        mean=tuple(about["mean"]),
        std=tuple(about["std"]),
        device=device,
    )
