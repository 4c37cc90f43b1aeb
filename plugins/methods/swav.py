"""SwAV: the prototypes that one view is assigned to are predicted from the other views.

Paper: Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
arXiv:2006.09882. Code followed: facebookresearch/swav main_swav.py.

    s_v = n(z_v) C^T,   C the prototypes, unit rows        q_v = Sinkhorn(s_v / eps): codes, used evenly
    L   = mean over global views v, and over all other views w, of - sum_k q_vk log softmax(s_w / T)_k

Two global views are assigned and predicted; small local views (multi-crop) are predicted only. Codes are
made of the batch and, from `queue_epoch` on, of a queue of earlier embeddings of the same view.

Differs from the paper: the loss is the mean over pairs of views where equation 2 and its multi-crop form
sum (as the code). On images up to 64 pixels there are no local views unless `local_views` says so, half
the colour distortion and no blur (solo-learn's CIFAR recipe).
Differs from the authors' code: the queue is filled from the first step on, there from `queue_epoch` on and
used once full; Sinkhorn runs on logarithms, so that a small epsilon does not divide 0 by 0.

Traps: prototypes are made unit length before each step and stand still at first; codes take no gradient;
a loss that stays at ln(prototypes) is collapse (lower epsilon).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import (
    Batch,
    DatasetInfo,
    Embeddings,
    FeatureQueue,
    Method,
    ParamGroup,
    Prototypes,
    Recipe,
    Step,
    Training,
    Unsupported,
    View,
    contrastive_monitors,
    each_size,
    multi_crop,
    projector,
    setting,
    sinkhorn,
    soft_cross_entropy,
    switch_on_branches,
)

SMALL = 64  # pixels up to which solo-learn's CIFAR recipe is used
GLOBAL = 2  # views that are assigned
LOCAL = 6  # of the published 2x224 + 6x96
LOCAL_SHARE, SMALLEST_CROP = 96 / 224, 0.05  # of the side, and of the area


class SwAV(Method):
    """Predict the prototypes of one view from the others (Caron 2020)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(0.1, "softmax temperature", source="Caron 2020, A", above=0)
        epsilon: float = setting(0.05, "softness of the codes", source="Caron 2020, A", above=0)
        prototypes: int = setting(3000, "how many there are", source="Caron 2020, A", least=2)
        freeze_epochs: int = setting(1, "epochs of still prototypes", source="swav_200ep_bs256", least=0)
        queue_size: int = setting(3840, "embeddings in a queue; 0: none", source="swav_200ep_bs256", least=0)
        queue_epoch: int = setting(15, "epochs before the queue is used", source="swav_200ep_bs256", least=0)
        local_views: int | None = setting(None, "none: 6, 0 up to 64 px", source="Caron 2020, 4", least=0)
        crop_split: float = setting(0.14, "largest local crop area", source="Caron 2020", above=0.05, most=1)
        hidden_dim: int = setting(2048, "projector's hidden width", source="Caron 2020, A", least=1)
        embedding_dim: int = setting(128, "projector's output width", source="Caron 2020, A", least=1)

    reference = "Caron et al. 2020, arXiv:2006.09882"
    version = 2
    recipe = Recipe(
        optimizer="lars",
        lr=0.6,
        lr_scaling="linear",
        weight_decay=1e-6,
        min_lr=0.0006,
        warmup_epochs=0,
        source="facebookresearch/swav scripts/swav_200ep_bs256_pretrain.sh",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        switch_on_branches(backbone)
        self.config = config
        self.projector = projector(dim, config.hidden_dim, config.embedding_dim)
        self.prototypes = Prototypes(config.embedding_dim, config.prototypes)
        count = GLOBAL if config.queue_size else 0
        width = config.queue_size, config.embedding_dim
        self.queues: Any = nn.ModuleList(FeatureQueue(*width) for _ in range(count))

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two global views and the local ones: appendix A, or half its colours for small images."""
        usual, view = LOCAL, View(blur=0.5)
        if image_size <= SMALL:
            usual, view = 0, View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        count = usual if config.local_views is None else config.local_views
        large = replace(view, crop_min=config.crop_split)
        small = replace(view, crop_min=SMALLEST_CROP, crop_max=config.crop_split)
        side = max(8, round(LOCAL_SHARE * image_size))
        return multi_crop(large, small, large_count=GLOBAL, small_count=count, small_size=side)

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the recipe, with the prototypes standing still at first."""
        frozen = ParamGroup(match="prototypes.*", freeze_epochs=config.freeze_epochs)
        return replace(cls.recipe, groups=(frozen,))

    @classmethod
    def check_training(cls, config: Any, training: Training, data: DatasetInfo) -> None:
        """Refuse more prototypes than there are images: most would stand for none."""
        if config.prototypes > data.images:
            raise Unsupported(
                f"swav: {config.prototypes} prototypes are more than the {data.images} images. Set "
                f"method.prototypes to at most {data.images}; a tenth of that is a start."
            )

    def before_step(self, step: Step) -> None:
        """Give the prototypes length 1."""
        self.prototypes.normalise_()

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return the projection (n, embedding_dim) of each view, the global ones first."""
        features = each_size(self.backbone, views)
        z = self.projector(torch.cat(features)).split([len(h) for h in features])
        return {f"view_{number}": part for number, part in enumerate(z)}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of each global view's codes with what all other views predict."""
        scores = [self.prototypes(z) for z in embeddings.values()]
        losses = []
        for view in range(GLOBAL):
            codes = self.codes(view, scores[view], batch.step)
            others = scores[:view] + scores[view + 1 :]
            losses += [soft_cross_entropy(other / self.config.temperature, codes) for other in others]
        return {"assignment": torch.stack(losses).mean()}

    @torch.no_grad()
    def codes(self, view: int, scores: Tensor, step: Step) -> Tensor:
        """Return the codes of a global view's scores, both (n, prototypes); the queue shares in them."""
        n = len(scores)
        if len(self.queues) > 0 and step.epoch >= self.config.queue_epoch:
            scores = torch.cat([self.prototypes(self.queues[view].rows), scores])
        return sinkhorn(scores, epsilon=self.config.epsilon)[-n:]

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        """Put the global views' embeddings into their queues."""
        for queue, z in zip(self.queues, embeddings.values(), strict=False):
            queue.enqueue(z)

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the global views of an image find each other."""
        return contrastive_monitors(embeddings["view_0"], embeddings["view_1"])
