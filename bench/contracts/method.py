"""What a method is: a way to train a backbone, in two stages with the harness between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from bench.augmentation.view import View
from bench.config import NoSettings
from bench.contracts.dataset import DatasetInfo
from bench.contracts.recipe import Recipe

Embeddings = dict[str, Tensor]  # by name, each (n, ...); the first is the one that is monitored


@dataclass(frozen=True)
class Batch:
    """What belongs to a batch beside its views.

    Args:
        index: (n,), int64, the images' places in the training split.
        labels: (n,), int64. SSL methods do not look at them.
    """

    index: Tensor
    labels: Tensor


class Method(nn.Module):
    """A way to train a backbone, in two stages with the harness between them.

    `embed` works on each image by itself (but for batch norm); `terms` sees the embeddings of the
    whole batch. `embed` runs under autocast, `terms` in float32.

    Args:
        backbone: maps images to features (n, dim). Kept as `self.backbone`.
        dim: of the features.
        config: a `Config` of its class.
        data: what is known of the training data.
    """

    Config: ClassVar[type] = NoSettings
    version: ClassVar[int] = 1
    reference: ClassVar[str] = ""
    recipe: ClassVar[Recipe | None] = None  # none: nothing is trained
    uses_labels: ClassVar[bool] = False  # trained on the labelled images only, at each label fraction
    fixed_backbone: ClassVar[str | None] = None  # the one it goes with, whichever is asked for

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__()
        self.backbone = backbone

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return one augmentation recipe a view. What changes a label is dropped by the harness."""
        return ()

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return the embeddings of a batch, or of a part of it, and change nothing but batch norm.

        Args:
            views: an element a view, each (n, channels, h, w), float32, normalised.
            batch: what belongs to it.
        """
        raise NotImplementedError

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of the loss by name, each a scalar; their sum is the loss."""
        raise NotImplementedError

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return scalars to log beside the terms. Runs without gradient."""
        return {}

    def after_step(self, progress: float) -> None:
        """Update what is not trained by gradient.

        Args:
            progress: share of the training that is done, in (0, 1].
        """
