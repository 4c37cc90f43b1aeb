"""VICReg: two views agree, every dimension varies, no two dimensions say the same.

Paper: Bardes, Ponce, LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization for
Self-Supervised Learning", arXiv:2105.04906. Code followed: facebookresearch/vicreg main_vicreg.py.

    invariance   25 * mean (z - z')^2
    variance     25 * (v(z) + v(z')) / 2,   v(z) = mean over d of max(0, 1 - sqrt(Var(z_d) + 1e-4))
    covariance    1 * (c(z) + c(z')),       c(z) = sum over i != j of Cov(z)_ij^2 / d

Differs from the paper: invariance is a mean over dimensions where equation 5 sums, and variance is
halved (`variance_reduction=sum` is the paper's). The projector is 2048 wide where ImageNet's is
8192. On images up to 64 pixels there is no blur, and crops keep a fifth of the area.
Differs from the authors' code: both views have the same recipe (appendix C.1); the learning rate
scales with the square root of the batch, decays to 0 and stands inside LARS's momentum.
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
    Recipe,
    View,
    contrastive_monitors,
    projector,
    setting,
)

SMALL = 64  # pixels up to which blur is left out, as in solo-learn's CIFAR recipe


class VICReg(Method):
    """Keep two views alike and their dimensions varied and uncorrelated (Bardes 2022)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        invariance: float = setting(
            25.0, "weight of the invariance term in the loss", source="Bardes 2022, 4.2", least=0
        )
        variance: float = setting(
            25.0, "weight of the variance term in the loss", source="Bardes 2022, 4.2", least=0
        )
        covariance: float = setting(
            1.0, "weight of the covariance term in the loss", source="Bardes 2022, 4.2", least=0
        )
        variance_reduction: str = setting(
            "mean",
            "of the two views' variance terms: mean is the authors' code, sum the paper",
            source="facebookresearch/vicreg main_vicreg.py",
            choices=("mean", "sum"),
        )
        embedding_dim: int = setting(
            2048, "width of the projector's three layers", source="solo-learn, CIFAR", least=2
        )

    reference = "Bardes et al. 2022, arXiv:2105.04906"
    recipe = Recipe(
        optimizer="lars",
        lr=0.094,
        lr_scaling="sqrt",
        weight_decay=1e-6,
        source="FFCV-SSL README: 1.5 at a batch of 256, kept on held-out images (decision 9); paper: C.4; "
        "the square root is our choice",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.config = config
        width = config.embedding_dim
        self.projector = projector(dim, width, width, layers=3, last_bias=False)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two views alike: appendix C.1, without its blur for small images."""
        view = View(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, blur=0.5, solarise=0.1)
        if image_size <= SMALL:
            view = View(crop_min=0.2, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, solarise=0.1)
        return (view, view)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the projections (n, embedding_dim) of each view by itself."""
        a, b = (self.projector(self.backbone(view)) for view in views)
        return {"a": a, "b": b}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the three weighted terms of the batch."""
        a, b, config = embeddings["a"], embeddings["b"], self.config
        share = 0.5 if config.variance_reduction == "mean" else 1.0
        return {
            "invariance": config.invariance * F.mse_loss(a, b),
            "variance": config.variance * share * (variance_hinge(a) + variance_hinge(b)),
            "covariance": config.covariance * (off_diagonal(a) + off_diagonal(b)),
        }

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the views of an image find each other, though the loss contrasts nothing."""
        return contrastive_monitors(embeddings["a"], embeddings["b"])


def variance_hinge(z: Tensor) -> Tensor:
    """Return how far the standard deviation of each dimension of z (n, d) falls short of 1, averaged."""
    return F.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean()


def off_diagonal(z: Tensor) -> Tensor:
    """Return the sum of the squared covariances of different dimensions of z (n, d), over d."""
    z = z - z.mean(dim=0)
    covariance = z.T @ z / (len(z) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]
