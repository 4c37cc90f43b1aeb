"""Supervised: the same backbone and budget, trained with the labels. The ceiling of a table.

Formula: cross-entropy of a linear layer on the features. Recipe: He 2016 (arXiv:1512.03385), section 4.2,
for CIFAR-10. Views of images of at most 64 pixels are that section's, too: 4 pixels of 32 are padded on
each side, and what is cropped from that is mirrored or not: a shift by at most an eighth of the side. Those
of larger images are crops of 8 to 100 % of the area (Szegedy 2015, arXiv:1409.4842, section 6).

Differs from the paper: cosine decay in place of steps; a shift need not be of whole pixels, and what it
uncovers is black.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Batch, DatasetInfo, Embeddings, Method, Recipe, View

SMALL = 64  # pixels: the paper's are 32; our choice
SHIFT = 4 / 32  # of the side, He 2016, 4.2


class Supervised(Method):
    """Train with the labels, as the ceiling every table needs."""

    reference = "He et al. 2016, arXiv:1512.03385"
    uses_labels = True
    recipe = Recipe(
        optimizer="sgd",
        lr=0.1,
        lr_scaling="linear",
        weight_decay=5e-4,
        source="He 2016, 4.2, with the weight decay of Zagoruyko 2016",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.head = nn.Linear(dim, len(data.classes))

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return one view: small images are shifted, others cropped; both are mirrored."""
        if image_size > SMALL:
            return (View(crop_min=0.08, jitter=0.0, grey=0.0),)
        whole = View(crop_min=1.0, crop_max=1.0, crop_ratio=1.0, jitter=0.0, grey=0.0)
        return (replace(whole, affine=1.0, translate=SHIFT, rotate=0.0, zoom=0.0, shear=0.0),)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `logits`, (n, classes)."""
        return {"logits": self.head(self.backbone(views[0]))}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy."""
        return {"cross_entropy": F.cross_entropy(embeddings["logits"], batch.labels)}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the accuracy on the augmented training images, in percent."""
        right = embeddings["logits"].argmax(dim=1) == batch.labels
        return {"train_top1": 100 * right.float().mean()}
