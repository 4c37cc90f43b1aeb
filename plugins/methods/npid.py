"""NPID: every image is a class of its own, and its weight vector is what it was when it was last seen.

Paper: Wu, Xiong, Yu, Lin 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
arXiv:1805.01978. Code followed: zhirongw/lemniscate.pytorch cifar.py, lib/LinearAverage.py.

    f = n(linear(h)),   L = mean over images i of the batch of CE( f_i M^T / T, i )
    M_i <- n( m M_i + (1 - m) f_i ),   M a row for each image of the training set, n division by the length

One view of an image, and all images as negatives: the softmax is the full one (the code's `nce_k` = 0), as
the authors train on CIFAR-10. On images up to 64 pixels nothing is mirrored, as there.

Differs from the paper: for ImageNet it estimates the softmax by 4,096 noise samples (NCE) with a proximal
term, which is not in the authors' code either: here a batch of 256 on a million images has logits of 1 GB.
The learning rate decays as a cosine, there in steps.
Differs from the authors' code: the bank is moved after the gradient is there, in the code during it: the
same rows.

Traps: an image's own row takes no gradient, and moves only after the loss has seen it; f comes of a linear
layer, not of an MLP; the bank is in checkpoints; an image comes once in a batch. At first the loss rises
above ln(images), that of chance: rows that were seen are nearer to any image than its own, which was not.
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
    MemoryBank,
    Method,
    Recipe,
    View,
    embedding_std,
    projector,
    setting,
    switch_on_branches,
)

SMALL = 64  # pixels up to which the authors' CIFAR-10 recipe is used


class NPID(Method):
    """Tell each image from all others by what they were (Wu 2018)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(
            0.1, "softmax temperature; ImageNet: 0.07", source="lemniscate.pytorch README, CIFAR10", above=0
        )
        momentum: float = setting(
            0.5, "of a row of the bank", source="lemniscate.pytorch cifar.py", least=0, most=1
        )
        embedding_dim: int = setting(128, "width of an embedding", source="Wu 2018, 3; cifar.py", least=2)

    reference = "Wu et al. 2018, arXiv:1805.01978"
    version = 2
    recipe = Recipe(
        optimizer="sgd",
        lr=0.03,
        lr_scaling="linear",
        weight_decay=1e-4,
        warmup_epochs=0,
        source="Wu 2018, 4.2; lemniscate.pytorch main.py",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        switch_on_branches(backbone)
        self.config = config
        self.projector = projector(dim, dim, config.embedding_dim, layers=1)
        self.bank = MemoryBank(data.images, config.embedding_dim)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return one view: that of main.py, or that of cifar.py, which mirrors nothing, for small images."""
        view = View(crop_min=0.2, jitter=1.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4)
        return (replace(view, flip=0.0) if image_size <= SMALL else view,)

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the recipe for ImageNet, or that for CIFAR-10 for small images."""
        if image_size > SMALL:
            return cls.recipe
        source = "lemniscate.pytorch cifar.py and README: 0.03 at a batch of 128"
        return replace(cls.recipe, lr=0.03 * 256 / 128, weight_decay=5e-4, source=source)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `z`, the projections (n, embedding_dim), of any length."""
        return {"z": self.projector(self.backbone(views[0]))}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of each image with its own row, among the rows of all images."""
        cosines = F.normalize(embeddings["z"], dim=1) @ self.bank.rows.T  # (n, images)
        return {"instance": F.cross_entropy(cosines / self.config.temperature, batch.index)}

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        """Move the rows of the batch's images."""
        self.bank.update(batch.index, embeddings["z"], self.config.momentum)

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the bank's spread, 0 where it has collapsed, and how near the nearest other image is."""
        cosines = F.normalize(embeddings["z"], dim=1) @ self.bank.rows.T
        others = cosines.scatter(1, batch.index[:, None], -torch.inf)
        return {"bank_std": embedding_std(self.bank.rows), "nearest_other": others.amax(dim=1).mean()}
