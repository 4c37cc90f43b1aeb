"""VIbCReg: VICReg with correlations in place of covariances, on embeddings that are whitened in groups.

Paper: Lee and Aune 2021, "VIbCReg: Variance-Invariance-better-Covariance Regularization for Self-Supervised
Learning on Time Series", arXiv:2109.00783. Code followed: ML4ITS/vibcreg pypilib/vibcreg/losses.py.

    invariance   25 * mean (z - z')^2
    variance     25 * (v(z) + v(z')),   v(z) = mean over d of max(0, 1 - sqrt(Var(z_d) + 1e-4))
    covariance  200 * (c(z) + c(z')),   c(z) = sum over i != j of Corr(z)_ij^2 / d^2
    z = scale * IterNorm(projector(h)) + shift,   IterNorm(x) = P x,   P = Cov(x)^-1/2 within a group
    P <- (3 P - P^3 S) / 2, five times from 1;   S = Cov(x) / trace,   P at last over the root of the trace

Differs from the paper: it is about time series and has no recipe for images. This one is solo-learn's for
CIFAR at every size: width 2048 (there 4096), LARS with a trust of 0.02 at 0.3.
Views are solo-learn's for CIFAR, too, and VICReg's for larger images.
Differs from the authors' code: IterNorm is of the whole batch and in float32, also in chunks, and keeps no
running statistics: nothing looks at the projection later.

Traps: c is divided by d^2, VICReg's by d, so 200 here is 0.1 there; the variance terms are added, not
averaged; there are 64 groups, so at 64 dimensions or fewer IterNorm is batch norm; biases and norms learn
at 0.3.
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
    cross_correlation,
    off_diagonal_sum_of_squares,
    projector,
    setting,
)

SMALL = 64  # pixels up to which blur is left out, as in solo-learn's CIFAR recipe
GROUPS, ITERATIONS, EPS = 64, 5, 1e-5  # of IterNorm: pypilib/vibcreg/modules.py


class VIbCReg(Method):
    """Keep two views alike and their whitened dimensions varied and uncorrelated (Lee 2021)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        invariance: float = setting(25.0, "weight of the invariance", source="config_vibcreg.yaml", least=0)
        variance: float = setting(25.0, "weight of the variance", source="config_vibcreg.yaml", least=0)
        covariance: float = setting(200.0, "weight of the covariance", source="config_vibcreg.yaml", least=0)
        iter_norm: bool = setting(default=True, doc="whiten in groups", source="config_vibcreg.yaml")
        embedding_dim: int = setting(2048, "width of the projector", source="solo-learn, CIFAR", least=2)

    reference = "Lee and Aune 2021, arXiv:2109.00783"
    recipe = Recipe(
        optimizer="lars",
        lr=0.3,
        lr_scaling="linear",
        weight_decay=1e-4,
        trust=0.02,
        source="solo-learn, CIFAR: vibcreg.yaml",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.config, width = config, config.embedding_dim
        self.projector = projector(dim, width, width, layers=3)
        self.scale = nn.Parameter(torch.ones(width)) if config.iter_norm else None
        self.shift = nn.Parameter(torch.zeros(width)) if config.iter_norm else None

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two views alike: solo-learn's for CIFAR, or VICReg's for larger images."""
        view = View(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, blur=0.5, solarise=0.1)
        if image_size <= SMALL:
            view = View(crop_min=0.2, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, solarise=0.1)
        return (view, view)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the projections (n, embedding_dim) of each view by itself, not yet whitened."""
        a, b = (self.projector(self.backbone(view)) for view in views)
        return {"a": a, "b": b}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the three weighted terms of the batch."""
        a, b, config = self.whitened(embeddings["a"]), self.whitened(embeddings["b"]), self.config
        return {
            "invariance": config.invariance * F.mse_loss(a, b),
            "variance": config.variance * (variance_hinge(a) + variance_hinge(b)),
            "covariance": config.covariance * (redundancy(a) + redundancy(b)),
        }

    def whitened(self, z: Tensor) -> Tensor:
        """Return the embeddings (n, embedding_dim) that the loss sees."""
        return z if self.scale is None or self.shift is None else self.scale * iter_norm(z) + self.shift

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the views of an image find each other, though the loss contrasts nothing."""
        return contrastive_monitors(self.whitened(embeddings["a"]), self.whitened(embeddings["b"]))


def variance_hinge(z: Tensor) -> Tensor:
    """Return how far the standard deviation of each dimension of z (n, d) falls short of 1, averaged."""
    return F.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean()


def redundancy(z: Tensor) -> Tensor:
    """Return the sum of the squared correlations of different dimensions of z (n, d), over d^2."""
    return off_diagonal_sum_of_squares(cross_correlation(z, z, eps=0.0)) / z.shape[1] ** 2


def iter_norm(z: Tensor, groups: int = GROUPS) -> Tensor:
    """Return z (n, d) whitened within groups of neighbouring dimensions, nearly: iterations are few.

    A group has d / groups dimensions, rounded up; where that does not divide d, half of it, and so on.

    Source: Huang 2019 (IterNorm), arXiv:1904.03441, algorithm 1; huangleiBuaa/IterNorm-pytorch.
    """
    n, d = z.shape
    width = -(-d // groups)
    while d % width:
        width //= 2
    x = (z - z.mean(dim=0)).T.reshape(d // width, width, n)
    identity = torch.eye(width, dtype=z.dtype, device=z.device)
    covariance = x @ x.transpose(1, 2) / n + EPS * identity
    trace = covariance.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]
    p = identity.expand_as(covariance)
    for _ in range(ITERATIONS):
        p = 1.5 * p - 0.5 * p @ p @ p @ (covariance / trace)
    return (p @ x / trace.sqrt()).reshape(d, n).T
