"""What a method is: a way to train a backbone, in two stages with the harness between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.config import check_fields
from bench.contracts.backbone import BackboneInfo
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.declared import DeclaredMethod
from bench.contracts.recipe import Training

Embeddings = dict[str, Tensor]  # by name, each (n, ...); the first is the one that is monitored


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a training is.

    Args:
        number: optimiser steps taken before this one.
        total: optimiser steps of the whole training.
        epoch: counted from 0.
        epochs: of the whole training.
        with_gradient: a graph is recorded; not in the first of the two passes over a batch in chunks.
    """

    number: int = 0
    total: int = 1
    epoch: int = 0
    epochs: int = 1
    with_gradient: bool = True

    @property
    def progress(self) -> float:
        """The share of the training that was done before this step, in [0, 1)."""
        return self.number / self.total

    @property
    def starts_epoch(self) -> bool:
        """Whether it is the first step of its epoch: all epochs take as many."""
        return self.number * self.epochs == self.epoch * self.total


@dataclass(frozen=True)
class Batch:
    """What belongs to a batch beside its views.

    Args:
        index: (n,), int64, the images' places in the training split, below `DatasetInfo.images`; for a method
            that uses labels in train and val, one after the other, whichever of their images it sees.
        labels: (n,), int64. SSL methods do not look at them.
        draws: what `Method.draw` drew for these images, by name, each (n, ...).
        step: where the training is.
    """

    index: Tensor
    labels: Tensor
    draws: Mapping[str, Tensor] = field(default_factory=dict)
    step: Step = Step()

    def rows(self, some: slice) -> Batch:
        """Return what belongs to some of the images."""
        draws = {name: drawn[some] for name, drawn in self.draws.items()}
        return Batch(self.index[some], self.labels[some], draws, self.step)


class Method(DeclaredMethod, nn.Module):
    """A way to train a backbone, in two stages with the harness between them.

    `embed` works on each image by itself (but for batch norm); `terms` sees the embeddings of the
    whole batch. `embed` runs under autocast, `terms` in float32.

    What a method keeps from step to step (a queue, a centre, prototypes, a momentum network) is held in
    buffers and parameters, of its own or of its modules: these are in checkpoints, and a training that was
    stopped goes on with them bit for bit. `first_pass`, `before_step`, `after_batch` and `after_step` change
    them; `embed` may not, but for the statistics of batch norm.

    Args:
        backbone: maps images to features (n, dim). Kept as `self.backbone`.
        dim: of the features.
        config: a `Config` of its class.
        data: what is known of the training data.
    """

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__()
        check_fields(config, type(self).__name__)
        self.backbone = backbone

    # ---- known while planning

    @classmethod
    def check(cls, config: Any, backbone: BackboneInfo, data: DatasetInfo, image_size: int) -> None:
        """Refuse, before any training, what the method cannot work with.

        Raises:
            Unsupported: it cannot work on this backbone or these images: the cell is skipped.
            BadValue: the config cannot work on any.
        """

    @classmethod
    def check_training(cls, config: Any, training: Training, data: DatasetInfo) -> None:
        """Refuse, before it begins, a training that the method cannot do: its batches, its number of images.

        Args:
            config: a `Config` of its class.
            training: resolved, with what the user has set.
            data: what is known of the training data, with its number of `images`.

        Raises:
            Unsupported: it cannot do this training, but others: the cell is skipped.
            BadValue: it can do none with this config.
        """

    # ---- before the first step

    def first_pass(self, embeddings: Embeddings, batch: Batch) -> None:
        """Note what is made of a batch in a pass over the images before the first epoch, such as in a bank.

        There is a pass only if this is overridden: as many batches as in an epoch, in an order and with
        views of their own. Batch norm sees batches, or chunks, as in training, but its running statistics
        stay as they are.

        Args:
            embeddings: of the whole batch. Runs without gradient.
            batch: the whole batch, at the step that will be the first.
        """

    # ---- a step, in the order in which it calls these

    def before_step(self, step: Step) -> None:
        """Change what must be another before the images of a step are embedded.

        What is done once an epoch, such as clustering, is done where `step.starts_epoch`.
        """

    def draw(self, count: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Return what is random of a batch beside its views, by name, each (count, ...), on the CPU.

        `embed` finds it in `batch.draws`, row by row. So it is the same whether the batch is embedded at
        once, in chunks or over several processes. Masks are drawn here.

        Args:
            count: images of the batch.
            generator: to draw from, on the CPU.
        """
        return {}

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return the embeddings of a batch, or of a part of it, and change nothing but batch norm.

        Args:
            views: an element a view, each (n, channels, h, w), float32, normalised; h and w are the view's.
            batch: what belongs to it.
        """
        raise NotImplementedError

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of the loss by name, each a scalar; their sum is the loss."""
        raise NotImplementedError

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        """Update what is kept of a batch, such as a queue or a centre: once its gradient is there.

        In `terms` it would be too early: the gradient still needs the queue as the loss saw it.

        Args:
            embeddings: of the whole batch, without their graph. Runs without gradient.
            batch: the whole batch.
        """

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return scalars to log beside the terms. Runs without gradient."""
        return {}

    def after_step(self, step: Step) -> None:
        """Move what is not trained by gradient, such as a momentum network."""

    # ---- the result

    def export(self) -> nn.Module:
        """Return the network that is evaluated: a backbone of the structure of `self.backbone`."""
        return self.backbone
