"""LeJEPA: views of an image agree, and embeddings are spread like an isotropic Gaussian. Nothing else.

Paper: Balestriero and LeCun 2025, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the
Heuristics", arXiv:2511.08544. Code followed: rbalestr-lab/lejepa MINIMAL.md.

    L = (1 - l) mean over views, dimensions of (m - z_v)^2  +  l mean over views v of SIGReg(z_v)
    SIGReg(z) = mean over directions u of  n * integral over [-3, 3] of |c(t) - exp(-t^2/2)|^2 exp(-t^2/2) dt
    m = mean of the image's global views,   c(t) = mean over the batch of exp(i t u.z),   u random, |u| = 1

The integral is by trapezoids on 17 knots of [0, 3], doubled. The same directions are for all views.

Differs from the paper: 256 directions, there 1024 (as MINIMAL.md). On images up to 64 pixels there is no
blur, there are no local views unless `local_views` says so, crops keep a fifth of the area (eb_jepa), and the
rate is MINIMAL.md's: at the README's a ResNet-18 is still at its random features after 400 steps on CIFAR-10.
Differs from the authors' code: biases and norms are not decayed. Directions come from the data's generator
on the CPU, so they are the same in chunks, after a stop and on every device.

Traps: the statistic has a factor n, so l belongs to a batch size: at twice the batch half of it. Others write
it without: facebookresearch/eb_jepa's MSE(z, z') + L * SIGReg / n is this for two views if L is
4 n l / (1 - l). Its best L on CIFAR-10, 10 at a batch of 256, is l = 0.0097. Global views are regularised,
too. The gradient of SIGReg vanishes with the scale of z, which batch norm in the projector keeps up. The
README's weight decay for residual networks is 5e-4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    each_size,
    multi_crop,
    projector,
    setting,
)

SMALL = (
    64  # pixels up to which views are those of facebookresearch/eb_jepa for CIFAR, and the rate MINIMAL.md's
)
GLOBAL = 2  # views, of which the mean is what all are pulled to
LOCAL = 6  # of the README's 2 x 224 + 6 x 98
LOCAL_SHARE, SMALLEST_CROP, SPLIT = 98 / 224, 0.05, 0.3  # of the side, and of the area: README
KNOTS, LARGEST_T = 17, 3.0  # MINIMAL.md


class LeJEPA(Method):
    """Make views agree and spread them like an isotropic Gaussian (Balestriero 2025)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        weight: float = setting(
            0.02, "l, share of SIGReg", source="MINIMAL.md, batch of 256; README: 0.05", least=0, most=1
        )
        directions: int = setting(256, "drawn each step", source="MINIMAL.md; README: 1024", least=1)
        local_views: int | None = setting(None, "none: 6, 0 up to 64 px", source="README", least=0)
        hidden_dim: int = setting(2048, "projector's hidden width", source="MINIMAL.md", least=1)
        embedding_dim: int = setting(128, "width of the projection", source="MINIMAL.md, eb_jepa", least=2)

    reference = "Balestriero and LeCun 2025, arXiv:2511.08544"
    recipe = Recipe(
        optimizer="adamw",
        lr=5e-4,
        lr_scaling="none",
        min_lr=5e-7,
        weight_decay=0.05,
        warmup_epochs=1,
        source="rbalestr-lab/lejepa README, for vision transformers; warm-up: MINIMAL.md",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.config = config
        self.projector = projector(dim, config.hidden_dim, config.embedding_dim, layers=3)

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the README's recipe, or for small images one at the rate of MINIMAL.md."""
        if image_size > SMALL:
            return cls.recipe
        return replace(cls.recipe, lr=2e-3, min_lr=2e-6, source="MINIMAL.md; decay to a thousandth: README")

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two global views and the local ones: README's, or eb_jepa's for small images."""
        view = View(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
        usual, least = (0, 0.2) if image_size <= SMALL else (LOCAL, SPLIT)
        count = usual if config.local_views is None else config.local_views
        view = replace(view, solarise=0.1) if image_size <= SMALL else replace(view, blur=0.5, solarise=0.2)
        local = replace(view, crop_min=SMALLEST_CROP, crop_max=SPLIT)
        unit = 8 if image_size <= SMALL else 1  # pixels: patches of small images divide it
        counts = {"small_count": count, "small_size": unit * max(1, round(LOCAL_SHARE * image_size / unit))}
        return multi_crop(replace(view, crop_min=least), local, large_count=GLOBAL, **counts)

    def draw(self, count: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Return the numbers that a step's directions are made of, a share of them with each image."""
        share = math.ceil(self.config.directions * self.config.embedding_dim / count)
        return {"directions": torch.randn(count, share, generator=generator)}

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return the projection (n, embedding_dim) of each view, the global ones first."""
        features = each_size(self.backbone, views)
        z = self.projector(torch.cat(features)).split([len(h) for h in features])
        return {f"view_{number}": part for number, part in enumerate(z)}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how far views are from their image's mean, and how far from a Gaussian the batch is."""
        z, weight = torch.stack(list(embeddings.values())), self.config.weight  # (views, n, embedding_dim)
        shape = self.config.directions, self.config.embedding_dim
        drawn = batch.draws["directions"].flatten()[: math.prod(shape)].view(shape)
        invariance = (z[:GLOBAL].mean(dim=0) - z).square().mean()
        regularity = torch.stack([sigreg(view, F.normalize(drawn, dim=1)) for view in z]).mean()
        return {"invariance": (1 - weight) * invariance, "sigreg": weight * regularity}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the global views of an image find each other, though nothing is contrasted."""
        return contrastive_monitors(embeddings["view_0"], embeddings["view_1"])


def sigreg(z: Tensor, directions: Tensor) -> Tensor:
    """Return n times the mean distance of the batch's characteristic functions from a Gaussian's.

    Args:
        z: (n, d).
        directions: (k, d), of length 1.
    """
    t = torch.linspace(0, LARGEST_T, KNOTS, dtype=z.dtype, device=z.device)
    gaussian = torch.exp(-t.square() / 2)
    angles = (z @ directions.T.to(z)).unsqueeze(2) * t  # (n, k, knots)
    apart = (angles.cos().mean(dim=0) - gaussian).square() + angles.sin().mean(dim=0).square()
    return 2 * len(z) * torch.trapezoid(apart * gaussian, t, dim=1).mean()
