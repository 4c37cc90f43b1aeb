"""TWIST: both views of an image are of one class, each surely, and all classes are used alike.

Paper: Wang et al. 2021, "Self-Supervised Learning by Estimating Twin Class Distributions", arXiv:2110.07402.
Code followed: none; the objective of section 3.

    p_i, q_i = softmax of the head's outputs for the two views of image i
    L = mean of (KL(p_i | q_i) + KL(q_i | p_i)) / 2  +  mean of H  -  H of the mean,   H the entropy,
        the last two averaged over the views

Differs from the paper: fewer classes, the recipe and the views, which are ours; no self-labelling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Batch, DatasetInfo, Embeddings, Method, Recipe, View, projector, setting


class Twist(Method):
    """Have two views agree on a class (Wang 2021)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What changes the numbers."""

        classes: int = setting(256, "outputs of the head", source="our choice; Wang 2021: 4096", least=2)
        hidden_dim: int = setting(512, "hidden width of the head", source="our choice", least=1)
        diversity: float = setting(1.0, "weight of using all classes", source="Wang 2021, 3", least=0)

    reference = "Wang et al. 2021, arXiv:2110.07402"
    recipe = Recipe(optimizer="sgd", lr=0.06, lr_scaling="linear", weight_decay=5e-4, source="our choice")

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.diversity = config.diversity
        # batch norm last: without it the outputs of all images become one class
        self.head = projector(dim, config.hidden_dim, config.classes, last_norm="plain")

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two views alike."""
        view = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        return (view, view)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the outputs (n, classes) for both views."""
        a, b = (self.head(self.backbone(view)) for view in views)
        return {"a": a, "b": b}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how far the views are apart, how unsure they are, and how unevenly classes are used."""
        a, b = (F.log_softmax(embeddings[name], dim=1) for name in ("a", "b"))
        return {
            "consistency": (divergence(a, b) + divergence(b, a)) / 2,
            "sharpness": (entropy(a).mean() + entropy(b).mean()) / 2,
            "diversity": -self.diversity * (entropy(mean_class(a)) + entropy(mean_class(b))) / 2,
        }


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Return the mean over rows of KL(p | q), both log-probabilities (n, classes)."""
    return (p.exp() * (p - q)).sum(dim=1).mean()


def entropy(p: Tensor) -> Tensor:
    """Return the entropy of log-probabilities (..., classes), in nats."""
    return -(p.exp() * p).sum(dim=-1)


def mean_class(p: Tensor) -> Tensor:
    """Return the logarithm of the mean over rows of probabilities, from log-probabilities (n, classes)."""
    return p.exp().mean(dim=0).clamp_min(1e-12).log()
