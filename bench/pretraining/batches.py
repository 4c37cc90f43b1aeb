"""Choose the images of each batch of an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.keys import seed_of
from bench.pretraining.training_run import TrainingRun


def plan_batches(
    rows: Tensor, run: TrainingRun, device: torch.device, epoch: int
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the steps of an epoch, each a tuple of batches: (n,), int64, positions of images, on `device`.

    Args:
        rows: (m,), int64, positions of the images that the epoch sees.
        run: its seed and sizes.
        device: where the labels are.
        epoch: counted from 0.
    """
    generator = torch.Generator().manual_seed(seed_of(run.seed, "shuffle", epoch))
    order = rows[torch.randperm(len(rows), generator=generator)].to(device)
    step_images = run.training.step_images
    whole_steps = len(rows) // step_images
    for index in order[: whole_steps * step_images].split(step_images):
        yield index.split(run.training.batch_size)
