"""ReSSL: a strong view is as similar to each of many earlier images as a weak view of its image is.

Paper: Zheng et al. 2021, "ReSSL: Relational Self-Supervised Learning with Weak Augmentation",
arXiv:2107.09282. Code followed: mingkai-zheng/ReSSL (once KyleZheng1997/ReSSL) ressl.py, network/ressl.py.

    s_j = n(z).n_j of a strong view, t_j = n(z').n_j of a weak one by the momentum network, n_j the queue
    L   = mean of - sum over j of softmax(t / T_t)_j log softmax(s / T_s)_j
    w' <- m w' + (1 - m) w after each step; the n(z') of the batch then replace the oldest n_j

There are no positives: what is kept of an image is what it is like.

The defaults are the authors' for CIFAR. Their ImageNet is ressl.momentum=0.999, ressl.queue_size=131072,
ressl.hidden_dim=4096 and ressl.embedding_dim=512; rate and weight decay follow the size of the images.

Differs from the paper: nothing in the loss. Batch norm's statistics are of `share_size` images, keys in
another order than queries.
Differs from the authors' code: the queue need not be a multiple of the batch, and starts empty: places that
nothing came to have no part. There they hold noise, a run's first queue_size / batch steps: then what all
images have in common is learnt, and the target becomes uniform, where these steps are most of a run.

Traps: T_t below T_s, or the target is not sharper than the prediction and all become alike; colours and
blur are the strong view's alone; the loss is a cross-entropy whose least value is the target's entropy,
which moves: its fall is no measure of learning; the queue changes after the loss.
"""

from __future__ import annotations

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
    FeatureQueue,
    Method,
    MomentumEncoder,
    Recipe,
    Step,
    View,
    contrastive_monitors,
    in_shares,
    projector,
    setting,
    soft_cross_entropy,
    switch_on_branches,
)

AUTHORS = (
    "ReSSL's authors, CIFAR"  # their code for it is in cywinski/ressl_audio at 9dff2db and in pc-cp/MSVQ
)
EMPTY = -1e4  # in place of a cosine: at any temperature below 100 no share is left of it
SMALL = 64  # pixels up to which the authors' recipe for CIFAR is used


class ReSSL(Method):
    """Keep how similar an image is to earlier ones (Zheng 2021)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(0.1, "of the prediction", source="mingkai-zheng/ReSSL ressl.py", above=0)
        target_temperature: float = setting(
            0.04, "of the target", source="mingkai-zheng/ReSSL ressl.py", above=0
        )
        momentum: float = setting(
            0.99, "of the target network", source=f"{AUTHORS}; on ImageNet: 0.999", least=0, most=1
        )
        queue_size: int = setting(
            4096, "embeddings in the queue", source=f"{AUTHORS}; on ImageNet: 131072", least=2
        )
        share_size: int = setting(
            32,
            "images with batch statistics of their own, keys in another order; 0: the batch",
            source=f"{AUTHORS}: 8 of 256; on ImageNet: 8 devices",
            least=0,
        )
        hidden_dim: int = setting(
            2048, "projector's hidden width", source=f"{AUTHORS}; on ImageNet: 4096", least=1
        )
        embedding_dim: int = setting(
            128, "projector's output width", source=f"{AUTHORS}; on ImageNet: 512", least=1
        )

    reference = "Zheng et al. 2021, arXiv:2107.09282"
    version = 2
    recipe = Recipe(
        optimizer="sgd",
        lr=0.05,
        lr_scaling="linear",
        weight_decay=1e-4,
        warmup_epochs=5,
        source="mingkai-zheng/ReSSL ressl.py: a batch of 256",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        switch_on_branches(backbone)
        self.config = config
        self.projector = projector(dim, config.hidden_dim, config.embedding_dim, norm=False)
        self.target = MomentumEncoder(self._online())
        self.queue = FeatureQueue(config.queue_size, config.embedding_dim, init="empty")

    def _online(self) -> nn.Sequential:
        """Return the part of the network that the target follows."""
        return nn.Sequential(self.backbone, self.projector)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return a strong view, with colours and blur, and a weak one: a crop, mirrored half the time."""
        strong = View(crop_min=0.2, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur=0.5)
        return (strong, View(crop_min=0.2, jitter=0.0, grey=0.0))

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the recipe for ImageNet, or that for CIFAR for small images."""
        if image_size > SMALL:
            return cls.recipe
        return replace(cls.recipe, lr=0.06, weight_decay=5e-4, source=f"{AUTHORS}: a batch of 256")

    def draw(self, count: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Return `order`, (count,), in which the target's images are dealt out to shares."""
        return {"order": torch.rand(count, generator=generator)}

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `strong`, the first view's projections, and `weak`, the target's of the second."""
        strong, weak = views
        size = self.config.share_size
        return {
            "strong": in_shares(self._online(), strong, size),
            "weak": in_shares(self.target, weak, size, batch.draws.get("order")),
        }

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of the weak view's similarities with the strong view's."""
        logits = self._similarities(embeddings["strong"]) / self.config.temperature
        return {"relation": soft_cross_entropy(logits, self._relation(embeddings))}

    @torch.no_grad()
    def _relation(self, embeddings: Embeddings) -> Tensor:
        """Return the target, (n, queue_size): rows sum to 1."""
        return F.softmax(self._similarities(embeddings["weak"]) / self.config.target_temperature, dim=1)

    def _similarities(self, z: Tensor) -> Tensor:
        """Return the cosines of z (n, embedding_dim) with the queue, (n, queue_size), or `EMPTY`."""
        return (F.normalize(z, dim=1) @ self.queue.rows.T).masked_fill(~self.queue.valid, EMPTY)

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        """Put the target's embeddings into the queue."""
        self.queue.enqueue(embeddings["weak"])

    def after_step(self, step: Step) -> None:
        """Move the target towards the network."""
        self.target.update(self._online(), self.config.momentum)

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the target's mean entropy, which the loss cannot fall below, and how views find each other.

        An entropy of ln(queue_size) is collapse: every image is like all others alike.
        """
        entropy = torch.special.entr(self._relation(embeddings)).sum(dim=1).mean()
        return {"target_entropy": entropy, **contrastive_monitors(embeddings["strong"], embeddings["weak"])}
