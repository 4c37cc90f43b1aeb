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
        rows: (m,), int64, positions of the images that are trained on.
        run: its seed and sizes.
        device: where the labels are.
        epoch: counted from 0.
    """
    step_images = run.training.step_images
    used = (run.epoch_images or len(rows)) // step_images * step_images  # what fills no step is left out
    if run.epoch_images is None:
        order = rows[torch.randperm(len(rows), generator=_shuffler(run, epoch))]
    else:
        order = take_in_turn(rows, used, run, epoch)
    for index in order[:used].to(device).split(step_images):
        yield index.split(run.training.batch_size)


def take_in_turn(rows: Tensor, count: int, run: TrainingRun, epoch: int) -> Tensor:
    """Return the images of an epoch, (count,): in it and in all up to it, each as often as any other, to one.

    The rows lie in a circle, in an order that the run's seed gives. An epoch takes the next `count` of
    them, however often that goes round, and each round in another order.

    Args:
        rows: (m,), int64.
        count: may be less or more than m.
        run: its seed.
        epoch: counted from 0.
    """
    drawn = torch.Generator().manual_seed(seed_of(run.seed, "circle"))
    circle = rows[torch.randperm(len(rows), generator=drawn)]
    taken = circle[torch.arange(epoch * count, (epoch + 1) * count) % len(rows)]
    generator = _shuffler(run, epoch)
    rounds = taken.split(len(rows))
    return torch.cat([part[torch.randperm(len(part), generator=generator)] for part in rounds])


def _shuffler(run: TrainingRun, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(run.seed, "shuffle", epoch))
