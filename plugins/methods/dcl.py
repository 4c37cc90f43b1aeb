"""DCL: SimCLR's loss without the positive in its denominator, which weakens the gradient of small batches.

Paper: Yeh, Hong, Hsu, Liu, Chen, LeCun 2022, "Decoupled Contrastive Learning", arXiv:2110.06848.
Code followed: lightly-ai/lightly lightly/loss/dcl_loss.py; of the authors' none is known.

    l(i, j) = - w_i s_ij / t + log( sum over k not of i's image of exp(s_ik / t) ),   s the cosine similarity
    L       = mean of l(i, twin of i) over the 2n views
    w_i     = 1, or of DCLW (`weighted`)  2 - n softmax over images j of (s_j,twin / sigma), at i

The sum is over both views of the other n - 1 images. A good loss is negative.

Differs from the paper: nothing of the loss. The recipe is SimCLR's, with which lightly has its results on
ImageNet; on images up to 64 pixels it is that of lightly's CIFAR-10 benchmark, and there is no blur and half
the colour distortion. Batch norm's statistics are of one device's share.
Differs from the authors' code: none is known. raminnakhli/Decoupled-Contrastive-Learning adds the two
directions, so its loss is twice this one, and lets the gradient run through w; here, as in lightly, w is
a constant.

Traps: embeddings are made unit length here; w has a mean of 1 over the batch; similarities are of the whole
batch: (2n, 2n) numbers are there at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import (
    Batch,
    DatasetInfo,
    Embeddings,
    Method,
    ParamGroup,
    Recipe,
    View,
    contrastive_monitors,
    projector,
    setting,
)

SMALL = 64  # pixels up to which the recipe of lightly's CIFAR-10 benchmark is used


class DCL(Method):
    """Contrast two views of an image against the other images alone (Yeh 2022)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(0.1, "softmax temperature", source="lightly, dcl_loss.py", above=0)
        weighted: bool = setting(default=False, doc="DCLW: positives are weighted", source="Yeh 2022, 3")
        sigma: float = setting(0.5, "softness of the weights", source="lightly, dcl_loss.py", above=0)
        hidden_dim: int = setting(2048, "projector's hidden width", source="Chen 2020 (SimCLR), 2.1", least=1)
        embedding_dim: int = setting(128, "projector's output width", source="Chen 2020, 2.1", least=1)

    reference = "Yeh et al. 2022, arXiv:2110.06848"
    recipe = Recipe(
        optimizer="lars",
        lr=0.075,
        lr_scaling="sqrt",
        weight_decay=1e-6,
        source="lightly benchmarks/imagenet/resnet50/dcl.py; Chen 2020 (SimCLR), B.1",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.config = config
        self.projector = projector(dim, config.hidden_dim, config.embedding_dim, bias=False)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two views alike: SimCLR's."""
        if image_size <= SMALL:
            view = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        else:
            view = View(blur=0.5)
        return (view, view)

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return SimCLR's recipe, or that of lightly's benchmark for small images."""
        if image_size > SMALL:
            return cls.recipe
        return Recipe(
            optimizer="sgd",
            lr=0.12,
            lr_scaling="linear",
            weight_decay=5e-4,
            warmup_epochs=0,
            groups=(ParamGroup(match="*", decay=True),),
            source="lightly cifar10_benchmark.py: 0.06 at a batch of 128",
        )

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the projections (n, embedding_dim) of both views, in one forward pass."""
        a, b = self.projector(self.backbone(torch.cat(list(views)))).chunk(2)
        return {"a": a, "b": b}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the decoupled loss of the batch."""
        config = self.config
        a, b = (F.normalize(embeddings[name], dim=1) for name in ("a", "b"))
        positive = (a * b).sum(dim=1)  # (n,), alike in both directions
        weight = positive_weights(positive, config.sigma) if config.weighted else 1.0
        z = torch.cat([a, b])
        own = torch.eye(len(a), dtype=torch.bool, device=z.device).repeat(2, 2)  # of the same image
        negatives = (z @ z.T / config.temperature).masked_fill(own, -torch.inf).logsumexp(dim=1)
        return {"contrastive": negatives.mean() - (weight * positive).mean() / config.temperature}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the views of an image find each other."""
        return contrastive_monitors(embeddings["a"], embeddings["b"])


def positive_weights(positive: Tensor, sigma: float) -> Tensor:
    """Return how much each positive counts: more the less alike it is; 1 on average, without gradient.

    Args:
        positive: (n,), cosines.
        sigma: softness.
    """
    return 2 - len(positive) * F.softmax(positive.detach() / sigma, dim=0)
