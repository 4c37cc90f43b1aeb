"""What a pretraining is given beside its method and images, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from bench.augmentation.view import View
from bench.contracts.recipe import Training
from bench.pretraining.online_knn import KnnSample
from bench.system.ranks import ALONE, Ranks


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What a pretraining is given beside its method and images.

    Args:
        what: how progress and errors name it.
        key: of the training; a checkpoint of another is not believed.
        training: resolved.
        views: resolved, one a view.
        mean: that images are normalised by, a value a channel.
        std: as `mean`.
        seed: of every draw.
        device: where to train.
        folder: where metrics and checkpoints go.
        on_start: called with the epochs that an earlier process had done.
        on_epoch: called with (epoch, metrics) at the end of each.
        checkpoint_every_s: at least so many seconds between checkpoints.
        live: this process has the terminal to itself, and may redraw its progress line.
        knn: what is classified every few epochs, if there are labels; its pixels may stay on the CPU.
        rows: (m,), int64, places of the images to train on; none is every image.
        epoch_images: how many of these an epoch takes, going on where the last one stopped, so that each is
            seen as often as any other; none is each of them once.
        on_step: called at the end of each step with its number, from 1, and the terms as last read.
        workers: processes that decode what is streamed; none is a thread's worth less than there are.
        ranks: that train together; only the first writes and tells.
    """

    what: str
    key: str
    training: Training
    views: tuple[View, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int
    device: torch.device
    folder: Path
    on_start: Callable[[int], None] = field(default=lambda _epochs: None)
    on_epoch: Callable[[int, Mapping[str, float]], None] = field(default=lambda _epoch, _metrics: None)
    checkpoint_every_s: float = 60.0
    live: bool = True
    knn: KnnSample | None = None
    rows: Tensor | None = None
    epoch_images: int | None = None
    on_step: Callable[[int, Mapping[str, float]], None] = field(default=lambda _step, _terms: None)
    workers: int | None = None
    ranks: Ranks = ALONE


@dataclass(frozen=True)
class TrainingCost:
    """What a pretraining cost, over all processes that worked on it.

    Args:
        seconds: of training and its monitors.
        images_per_s: training images a second, an image counted once however many views it gives,
            while no monitor was at work.
        threads: of the processor, of each process in turn; none where a GPU computed.
        devices: that trained together, in turn as `threads`.
        passes: of a `step`, an `epoch` and the `run`: how many images the method saw in all `views`, and how
            many went `forward` and `backward` through its backbones, momentum networks too; in images of the
            run's size, a view of half the side being a quarter. None: not counted, in what is compiled.
    """

    seconds: float
    images_per_s: float
    threads: tuple[int, ...] = ()
    devices: tuple[int, ...] = (1,)
    passes: Mapping[str, Mapping[str, float]] | None = None
