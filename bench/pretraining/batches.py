"""Which images each batch of an epoch has."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.keys import seed_of
from bench.pretraining.training_run import TrainingRun


def plan_batches(
    rows: Tensor, run: TrainingRun, device: torch.device, epoch: int
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the places of the images in each batch of each step of an epoch, on `device`.

    Args:
        rows: (m,), int64, places of the images that are seen.
        run: seed and sizes.
        device: where the labels are.
        epoch: counted from 0.
    """
    generator = torch.Generator().manual_seed(seed_of(run.seed, "shuffle", epoch))
    order = rows[torch.randperm(len(rows), generator=generator)].to(device)
    a_step = run.training.step_images
    for index in order[: len(rows) // a_step * a_step].split(a_step):
        yield index.split(run.training.batch_size)
