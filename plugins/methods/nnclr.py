"""NNCLR: a view's prediction finds the neighbour of the image's other view, among earlier images.

Paper: Dwibedi, Aytar, Tompson, Sermanet, Zisserman 2021, "With a Little Help from My Friends:
Nearest-Neighbor Contrastive Learning of Visual Representations", arXiv:2104.14548. Code followed:
vturrisi/solo-learn solo/methods/nnclr.py (the authors' is not public).

    NN(z) = the row of the queue that is nearest to n(z), a constant;   p = predictor(z)
    l(z, p) = mean over i of - log( exp(NN(z_i).n(p_i) / T) / sum over j of exp(NN(z_i).n(p_j) / T) )
    L = (l(z_1, p_2) + l(z_2, p_1)) / 2;   n(z_1) then goes into the queue, and the oldest rows go

Differs from the paper: the term over the columns of the same matrix, that the text adds to equation 3 and
finds not to matter, is left out, as in its pseudo-code. Temperature and queue are solo-learn's for CIFAR
(0.1 and 98,304 in the paper). On images up to 64 pixels there is no blur, and learning rate and weight
decay are solo-learn's; larger ones have SimCLR's views. Batch norm's statistics are of one device's share.
Differs from solo-learn's code: the batch need not divide the queue; no labels are kept beside it.

Traps: gradient goes through p alone; only the first view's z is kept, of length 1 (lightly keeps the second
view's as it is, and contrasts as SimCLR does); a queue of more rows than there are images finds an image's
own past; the first queue / batch steps meet rows of noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import (
    Batch,
    DatasetInfo,
    Embeddings,
    FeatureQueue,
    Method,
    Recipe,
    View,
    contrastive_monitors,
    info_nce,
    projector,
    setting,
)

SMALL = 64  # pixels up to which solo-learn's CIFAR recipe is used


class NNCLR(Method):
    """Find the neighbour of the image's other view, among earlier images (Dwibedi 2021)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(
            0.2, "softmax temperature", source="solo-learn, CIFAR; Dwibedi 2021, algorithm 1: 0.1", above=0
        )
        queue_size: int = setting(
            65536, "embeddings in the queue", source="solo-learn, CIFAR; Dwibedi 2021: 98304", least=1
        )
        hidden_dim: int = setting(
            2048, "projector's hidden width", source="Dwibedi 2021, implementation details", least=1
        )
        embedding_dim: int = setting(
            256, "heads' output width", source="Dwibedi 2021, implementation details", least=1
        )
        predictor_dim: int = setting(
            4096, "predictor's hidden width", source="Dwibedi 2021, implementation details", least=1
        )

    reference = "Dwibedi et al. 2021, arXiv:2104.14548"
    recipe = Recipe(
        optimizer="lars",
        lr=0.3,
        lr_scaling="linear",
        weight_decay=1e-6,
        source="Dwibedi 2021, implementation details",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.temperature, out = config.temperature, config.embedding_dim
        self.projector = projector(dim, config.hidden_dim, out, layers=3, last_norm="affine")
        self.predictor = projector(out, config.predictor_dim, out)
        self.queue = FeatureQueue(config.queue_size, out)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two views: SimCLR's, or solo-learn's for small images, of which one is solarised."""
        if image_size > SMALL:
            return (View(blur=0.5), View(blur=0.5))
        view = View(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
        return (view, replace(view, solarise=0.2))

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the paper's recipe, or solo-learn's for small images."""
        if image_size > SMALL:
            return cls.recipe
        solo: dict[str, Any] = {"lr": 0.4, "trust": 0.02, "clip_trust": True, "weight_decay": 1e-5}
        return replace(cls.recipe, **solo, source="solo-learn, CIFAR: nnclr.yaml")

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the predictions of each view, and `z_a` and `z_b`, what they are made of."""
        z_a, z_b = (self.projector(self.backbone(view)) for view in views)
        a, b = self.predictor(z_a), self.predictor(z_b)
        return {"a": a, "b": b, "z_a": z_a.detach(), "z_b": z_b.detach()}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the contrast of each view's neighbours with the predictions of the other view."""
        a, b = embeddings["a"], embeddings["b"]
        near_a, near_b = (self.neighbours(embeddings[name]) for name in ("z_a", "z_b"))
        both = info_nce(near_a, b, self.temperature) + info_nce(near_b, a, self.temperature)
        return {"contrastive": both / 2}

    @torch.no_grad()
    def neighbours(self, z: Tensor) -> Tensor:
        """Return the nearest row of the queue, by cosine, of each z: both (n, embedding_dim)."""
        rows = self.queue.rows
        return rows[(F.normalize(z, dim=1) @ rows.T).argmax(dim=1)]

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        """Put the first view's embeddings into the queue."""
        self.queue.enqueue(embeddings["z_a"])

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the predictions of an image's two views find each other."""
        return contrastive_monitors(embeddings["a"], embeddings["b"])
