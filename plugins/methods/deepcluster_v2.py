"""DeepCluster v2: all views of an image are assigned to the cluster that it was in, an epoch ago.

Paper: Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
arXiv:2006.09882, section 4 and appendix. Code followed: facebookresearch/swav main_deepclusterv2.py.

    at the start of an epoch, for each head h: C_h, y_h = spherical k-means of M_(h mod 2), 10 iterations
    L = mean over heads, views v and images i of CE( n(z_v)_i C_h^T / T, y_hi ),   n division by the length
    M_v has a row for each image: n(z_v) of the last epoch, of global view v

Each head starts its k-means from other rows, drawn anew. Small local views (multi-crop) are predicted only.

Differs from the paper: on images up to 64 pixels there are no local views unless `local_views` says so, and
rate and warm-up are those of solo-learn for CIFAR, by the authors' LARS: solo-learn's, of a trust of 0.02,
moves a layer by up to a fiftieth of its length a step, too far for the first 400.
Differs from the authors' code: rows are kept in the order of images, there in that of batches; the pass that
fills the banks leaves batch norm's running statistics as they are; the warm-up begins at 0, there at 0.3.

Traps: prototypes are overwritten once an epoch and take no gradient; clusters are those of the epoch before,
not of the embeddings that are trained; an image that the last epoch left out has no cluster and does not
count; a cluster that loses all its images stays where it was; banks are filled before the first epoch (with
random ones, as in solo-learn, it would train on nothing); prototypes may not outnumber images.
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
    Step,
    Training,
    Unsupported,
    View,
    contrastive_monitors,
    each_size,
    multi_crop,
    projector,
    setting,
    spherical_kmeans,
    switch_on_branches,
)

SMALL = 64  # pixels up to which solo-learn's rate for CIFAR is used
GLOBAL, LOCAL = 2, 6  # views, of the published 2x224 + 6x96; the global ones have banks
LOCAL_SHARE, CROP_SPLIT, SMALLEST_CROP = 96 / 224, 0.14, 0.05  # of the side, and of the area
NONE = -100  # the cluster of an image that has none
SCRIPT = "facebookresearch/swav scripts/deepclusterv2_800ep_pretrain.sh"


class DeepClusterV2(Method):
    """Predict the clusters of the epoch before from every view (Caron 2020)."""

    prototypes: Tensor
    assignments: Tensor
    seen: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(0.1, "softmax temperature", source=SCRIPT, above=0)
        prototypes: int = setting(3000, "clusters of a head; not more than images", source=SCRIPT, least=2)
        heads: int = setting(3, "clusterings, each with prototypes of its own", source=SCRIPT, least=1)
        kmeans_iterations: int = setting(10, "of each clustering", source="main_deepclusterv2.py", least=1)
        local_views: int | None = setting(None, "none: 6, 0 up to 64 px", source=SCRIPT, least=0)
        hidden_dim: int = setting(2048, "projector's hidden width", source="main_deepclusterv2.py", least=1)
        embedding_dim: int = setting(128, "projector's output width", source=SCRIPT, least=2)

    reference = "Caron et al. 2020, arXiv:2006.09882"
    version = 2
    recipe = Recipe(
        optimizer="lars",
        lr=4.8 * 256 / 4096,
        lr_scaling="linear",
        weight_decay=1e-6,
        min_lr=0.0048 * 256 / 4096,
        source=f"{SCRIPT}: 4.8 to 0.0048 at a batch of 4,096",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        switch_on_branches(backbone)
        self.config, width = config, config.embedding_dim
        self.projector = projector(dim, config.hidden_dim, width)
        self.banks: Any = nn.ModuleList(MemoryBank(data.images, width) for _ in range(GLOBAL))
        self.register_buffer("seen", torch.zeros(data.images, dtype=torch.bool))
        self.register_buffer("assignments", torch.full((config.heads, data.images), NONE))
        self.register_buffer("prototypes", torch.zeros(config.heads, config.prototypes, width))

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two global views and the local ones of the authors, or solo-learn's for small images."""
        view, usual = View(blur=0.5), LOCAL if image_size > SMALL else 0
        large = replace(view, crop_min=CROP_SPLIT) if image_size > SMALL else view
        small = replace(view, crop_min=SMALLEST_CROP, crop_max=CROP_SPLIT)
        count = usual if config.local_views is None else config.local_views
        side = max(8, round(LOCAL_SHARE * image_size))
        return multi_crop(large, small, large_count=GLOBAL, small_count=count, small_size=side)

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the authors' recipe, or one at solo-learn's rate for small images."""
        if image_size > SMALL:
            return cls.recipe
        cifar = "solo-learn, CIFAR: deepclusterv2.yaml, without its trust of 0.02"
        return replace(cls.recipe, lr=0.6, min_lr=0.0006, warmup_epochs=11, source=cifar)

    @classmethod
    def check_training(cls, config: Any, training: Training, data: DatasetInfo) -> None:
        """Refuse more prototypes than an epoch has images."""
        images = data.images // training.step_images * training.step_images
        if config.prototypes > images:
            raise Unsupported(
                f"deepcluster_v2: an epoch has {images} images, too few for {config.prototypes} clusters. "
                f"Set method.prototypes to at most {images}; a tenth of that is a start."
            )

    @torch.no_grad()
    def before_step(self, step: Step) -> None:
        """Cluster the banks at the start of an epoch."""
        if not step.starts_epoch:
            return
        self.assignments.fill_(NONE)
        for head, prototypes in enumerate(self.prototypes):
            rows = self.banks[head % GLOBAL].rows[self.seen]
            order = torch.randperm(len(rows)).to(rows.device)
            start = rows[order[torch.arange(len(prototypes), device=rows.device) % len(rows)]]
            centroids, nearest = spherical_kmeans(rows, start, self.config.kmeans_iterations)
            prototypes.copy_(centroids)
            self.assignments[head, self.seen] = nearest
        self.seen.zero_()

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return the projection (n, embedding_dim) of each view, the global ones first."""
        features = each_size(self.backbone, views)
        z = self.projector(torch.cat(features)).split([len(h) for h in features])
        return {f"view_{number}": part for number, part in enumerate(z)}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of all views with the clusters of their images, averaged over heads."""
        z = F.normalize(torch.cat(list(embeddings.values())), dim=1)
        losses = []
        for prototypes, assignments in zip(self.prototypes, self.assignments, strict=True):
            targets = assignments[batch.index].repeat(len(embeddings))
            logits = z @ prototypes.T / self.config.temperature
            total = F.cross_entropy(logits, targets, ignore_index=NONE, reduction="sum")
            losses.append(total / (targets != NONE).sum().clamp(min=1))
        return {"cluster": torch.stack(losses).mean()}

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        """Put the global views' embeddings into the rows of their images."""
        for bank, z in zip(self.banks, embeddings.values(), strict=False):
            bank.update(batch.index, z, momentum=0.0)
        self.seen.index_fill_(0, batch.index, value=True)

    first_pass = after_batch  # what the network makes of the images before it is trained

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well global views find each other, and how evenly prototypes are used, in percent."""
        used = torch.stack([evenness(row, self.config.prototypes) for row in self.assignments]).mean()
        return contrastive_monitors(embeddings["view_0"], embeddings["view_1"]) | {"prototypes_used": used}


def evenness(assignments: Tensor, count: int) -> Tensor:
    """Return how many of `count` clusters would be in use if they were used evenly, in percent of them."""
    counts = torch.bincount(assignments[assignments != NONE], minlength=count).float()
    entropy: Tensor = torch.special.entr(counts / counts.sum()).sum()
    return 100 * entropy.exp() / count
