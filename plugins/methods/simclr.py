"""SimCLR: an image's two views are each other's class among all other views of the batch.

Paper: Chen, Kornblith, Norouzi, Hinton 2020, "A Simple Framework for Contrastive Learning of
Visual Representations", arXiv:2002.05709. Code followed: none; equation 1 and algorithm 1.

    l(i, j) = -log( exp(s_ij / t) / sum over k != i of exp(s_ik / t) ),   s the cosine similarity
    L       = mean of l(i, twin of i) over the 2N views

Differs from the paper: the temperature is 0.2, and batch norm statistics are of one device's share.
On images up to 64 pixels the views are those of appendix B.9 (half the colour distortion, no blur).
Differs from the authors' code: theirs sums the two halves, so its loss is twice this one; its
projector has a third layer and batch norm after the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import (
    Batch,
    DatasetInfo,
    Embeddings,
    Method,
    Recipe,
    View,
    contrastive_monitors,
    nt_xent,
    projector,
    setting,
)

SMALL = 64  # pixels up to which the paper's CIFAR-10 recipe is used, appendix B.9


class SimCLR(Method):
    """Contrast two views of an image against the batch (Chen 2020)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(
            0.2,
            "softmax temperature",
            source="solo-learn, CIFAR; kept on held-out images (decision 9); B.9: 0.5 beyond 300 epochs",
            above=0,
        )
        hidden_dim: int = setting(2048, "projector's hidden width", source="Chen 2020, 2.1", least=1)
        embedding_dim: int = setting(128, "projector's output width", source="Chen 2020, 2.1", least=1)

    reference = "Chen et al. 2020, arXiv:2002.05709"
    recipe = Recipe(
        optimizer="lars",
        lr=0.075,
        lr_scaling="sqrt",
        weight_decay=1e-6,
        source="Chen 2020, B.1: square-root scaling is the better one up to a batch of 1024",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.temperature = config.temperature
        self.projector = projector(dim, config.hidden_dim, config.embedding_dim, bias=False)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two views alike: appendix A, or B.9 for small images."""
        if image_size <= SMALL:
            view = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        else:
            view = View(blur=0.5)
        return (view, view)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the projections (n, embedding_dim) of both views, in one forward pass."""
        a, b = self.projector(self.backbone(torch.cat(list(views)))).chunk(2)
        return {"a": a, "b": b}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the contrastive loss of the batch."""
        return {"contrastive": nt_xent(embeddings["a"], embeddings["b"], self.temperature)}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the views of an image find each other."""
        return contrastive_monitors(embeddings["a"], embeddings["b"])
