"""Barlow Twins: two views' dimensions correlate each with itself, and with no other.

Paper: Zbontar, Jing, Misra, LeCun, Deny 2021, "Barlow Twins: Self-Supervised Learning via Redundancy
Reduction", arXiv:2103.03230. Code followed: facebookresearch/barlowtwins main.py.

    C_ij = correlation over the batch of dimension i of z with dimension j of z'
    L    = sum over i of (1 - C_ii)^2  +  lambda * sum over i != j of C_ij^2

Differs from the paper: correlations have batch norm's 1e-5 beside the variance (as the code). The projector
is 2048 wide where ImageNet's is 8192. On images up to 64 pixels there is no blur, and the rate is what the
authors found best for batches of 256, where theirs have 2048. solo-learn's CIFAR recipe (LARS with a
trust of 0.02) moves a layer by a fifth of its length a step, momentum counted: it is for 1,000 epochs.
Differs from the authors' code: lambda is the paper's 0.005, there 0.0051, and weight decay the paper's
1.5e-6, there 1e-6; the learning rate stands inside LARS's momentum.

Traps: statistics are of the whole batch, not of a chunk; biases and norms, which LARS leaves as they are,
learn at 0.0048 of 0.2, or a loss of thousands tears them away; `knn` says less of it
than `linear`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    cross_correlation,
    off_diagonal_sum_of_squares,
    projector,
    setting,
)

SMALL = 64  # pixels up to which the rate is that of small batches, and nothing is blurred
SMALL_BATCH_LR = 0.4  # facebookresearch/barlowtwins issue 7, for 256 images


class BarlowTwins(Method):
    """Make two views' cross-correlation the identity (Zbontar 2021)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        redundancy: float = setting(
            0.005, "lambda, weight of what is off the diagonal", source="Zbontar 2021, 2.2", least=0
        )
        embedding_dim: int = setting(
            2048,
            "width of the projector's three layers",
            source="solo-learn, CIFAR; Zbontar 2021, 2.2: 8192",
            least=2,
        )

    reference = "Zbontar et al. 2021, arXiv:2103.03230"
    recipe = Recipe(
        optimizer="lars",
        lr=0.2,
        lr_scaling="linear",
        weight_decay=1.5e-6,
        min_lr=0.2 / 1000,
        groups=(ParamGroup(match="*", max_ndim=1, lr_factor=0.0048 / 0.2),),
        source="Zbontar 2021, 2.2",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.config = config
        width = config.embedding_dim
        self.projector = projector(dim, width, width, layers=3, bias=False, last_bias=False)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return section 2.2's two views: one is always blurred, the other now and then and solarised."""
        view = View(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
        if image_size <= SMALL:
            return (view, replace(view, solarise=0.2))
        return (replace(view, blur=1.0), replace(view, blur=0.1, solarise=0.2))

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the paper's recipe, with the rate of small batches for small images."""
        if image_size > SMALL:
            return cls.recipe
        return replace(
            cls.recipe,
            lr=SMALL_BATCH_LR,
            min_lr=SMALL_BATCH_LR / 1000,
            source="Zbontar 2021, 2.2; lr: facebookresearch/barlowtwins issue 7, batches of 256",
        )

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the projections (n, embedding_dim) of each view by itself."""
        a, b = (self.projector(self.backbone(view)) for view in views)
        return {"a": a, "b": b}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how far the correlations are from 1 on the diagonal, and from 0 off it."""
        correlations = cross_correlation(embeddings["a"], embeddings["b"])
        return {
            "invariance": (1 - correlations.diagonal()).square().sum(),
            "redundancy": self.config.redundancy * off_diagonal_sum_of_squares(correlations),
        }

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the views of an image find each other, though the loss contrasts nothing."""
        return contrastive_monitors(embeddings["a"], embeddings["b"])
