"""W-MSE: embeddings are whitened, so they cannot collapse, and the views of an image are pulled together.

Paper: Ermolov, Siarohin, Sangineto, Sebe 2021, "Whitening for Self-Supervised Representation Learning",
arXiv:2007.06346. Code followed: htdt/self-supervised methods/w_mse.py, methods/whitening.py.

    w = L^-1 (z - mean),   L L^T = (1 - eps) Cov(z) + eps I: of `window` images of a view, drawn anew
    L = mean over pairs of views (v, v') of mean over images of 2 - 2 cos(w_v, w_v')

A batch is shared out to windows at random, alike in all views; `iterations` such shares are averaged. With
`views=4` it is the paper's W-MSE 4, at half the batch.

Differs from the paper: Adam's weight decay is decoupled (AdamW), where at 1e-6 either is next to nothing;
the learning rate decays as a cosine where theirs drops to a fifth 50 and 25 epochs before the end, and warms
up as elsewhere where theirs takes 500 steps.
Differs from the authors' code: whitening is in float64 where there is any, theirs in float32; a covariance
that has no Cholesky factor makes the loss nan, which ends the training, where theirs raises an error.

Traps: with a window of as many images as dimensions the covariance is singular, and Cholesky does not fail
but returns noise: the window has to be twice the dimension; whitening stays out of autocast; both views take
gradient (solo-learn's loss detaches the second); the factor is applied transposed to rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import (
    BackboneInfo,
    BadValue,
    Batch,
    DatasetInfo,
    Embeddings,
    Method,
    Recipe,
    Training,
    Unsupported,
    View,
    contrastive_monitors,
    cosine_distance,
    exact_device,
    move_like,
    projector,
    setting,
    switch_on_branches,
)

SMALL = 32  # pixels up to which the authors' CIFAR recipe is used
README = "htdt/self-supervised README"


class WMSE(Method):
    """Pull whitened views together (Ermolov 2021)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        views: int = setting(2, "of an image; 4 is W-MSE 4, at half the batch", source=README, least=2)
        window: int = setting(
            128, "images that are whitened together; STL-10: 256", source=f"{README}, CIFAR", least=4
        )
        iterations: int = setting(
            1, "shares of a batch into windows; STL-10 with 2 views: 4", source=f"{README}, CIFAR", least=1
        )
        epsilon: float = setting(
            0.0,
            "share of the identity in the covariance",
            source="htdt/self-supervised cfg.py",
            least=0,
            most=1,
        )
        hidden_dim: int = setting(
            1024, "projector's hidden width", source="htdt/self-supervised cfg.py", least=1
        )
        embedding_dim: int = setting(
            64, "projector's output width, at most half the window; STL-10: 128", source=README, least=2
        )

    reference = "Ermolov et al. 2021, arXiv:2007.06346"
    version = 2
    recipe = Recipe(
        optimizer="adamw",
        lr=2e-3,
        lr_scaling="none",
        weight_decay=1e-6,
        source=f"{README}: STL-10 and Tiny ImageNet; weight decay: cfg.py",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        switch_on_branches(backbone)
        self.config = config
        self.projector = projector(dim, config.hidden_dim, config.embedding_dim)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return views alike, of the code's cfg.py, for images of any size."""
        view = View(crop_min=0.2, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grey=0.1)
        return (view,) * int(config.views)

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the recipe, with the learning rate for CIFAR for small images."""
        if image_size > SMALL:
            return cls.recipe
        return replace(cls.recipe, lr=3e-3, source=f"{README}: CIFAR; weight decay: cfg.py")

    @classmethod
    def check(cls, config: Any, backbone: BackboneInfo, data: DatasetInfo, image_size: int) -> None:
        """Refuse a window that is too small for its covariance to be of full rank, and well so."""
        if config.window < 2 * config.embedding_dim:
            raise BadValue(
                f"wmse: a window of {config.window} images is less than twice the embedding_dim of "
                f"{config.embedding_dim}. Set method.window to at least {2 * config.embedding_dim}, or "
                f"method.embedding_dim to at most {config.window // 2}."
            )

    @classmethod
    def check_training(cls, config: Any, training: Training, data: DatasetInfo) -> None:
        """Refuse a batch that is no number of whole windows."""
        if training.batch_size % config.window:
            raise Unsupported(
                f"wmse: a batch of {training.batch_size} images cannot be shared out to windows of "
                f"{config.window}. Set --batch-size to a multiple of that, or method.window."
            )

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return the projection (n, embedding_dim) of each view; the projector's norm is of all of them."""
        z = self.projector(torch.cat([self.backbone(view) for view in views])).chunk(len(views))
        return {f"view_{number}": part for number, part in enumerate(z)}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the mean distance of whitened views, over pairs of views and shares into windows."""
        z, config = torch.stack(list(embeddings.values())), self.config
        orders = (torch.randperm(z.shape[1], device=z.device) for _ in range(config.iterations))
        distances = [whitened_distance(z[:, order], config.window, config.epsilon) for order in orders]
        return {"whitened": torch.stack(distances).mean()}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well two views of an image find each other before they are whitened."""
        return contrastive_monitors(embeddings["view_0"], embeddings["view_1"])


def whitened_distance(z: Tensor, window: int, epsilon: float) -> Tensor:
    """Return the mean distance of views (views, n, d), whitened in windows that follow each other."""
    white = whiten(z.unflatten(1, (-1, window)), epsilon)  # (views, windows, window, d)
    distances = [cosine_distance(one, other) for one, other in combinations(white, 2)]
    return move_like(torch.stack(distances).mean(), z)


def whiten(z: Tensor, epsilon: float = 0.0) -> Tensor:
    """Return rows z (..., n, d), float64, with mean 0 and covariance 1; nan where that cannot be."""
    x = z.to(exact_device(z.device)).double()
    x = x - x.mean(dim=-2, keepdim=True)
    covariance = x.mT @ x / (x.shape[-2] - 1)
    identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    factor, failed = torch.linalg.cholesky_ex((1 - epsilon) * covariance + epsilon * identity)
    factor = factor.masked_fill((failed > 0)[..., None, None], torch.nan)
    white: Tensor = torch.linalg.solve_triangular(factor, x.mT, upper=False).mT
    return white
