"""DINO: a student predicts what a slowly moving teacher, centred and sharpened, makes of other views.

Paper: Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers", arXiv:2104.14294.
Code followed: facebookresearch/dino main_dino.py.

    P_s = softmax(s / T_s),   P_t = softmax((t - c) / T_t)       s, t logits of student and teacher
    L   = mean over global views v, and over all other views w, of - sum_k P_t(v)_k log P_s(w)_k
    c  <- m_c c + (1 - m_c) mean(t)                              once the loss is there
    teacher <- m teacher + (1 - m) student                       m rises to 1 on a cosine

Two global views go through both, small local views (multi-crop) through the student only. The teacher's
backbone is the result. The paper's ImageNet is dino.momentum=0.996, dino.head_norm=false and
dino.prototypes=65536; convolutional backbones are trained there by train.optimizer=sgd, lr=0.03,
weight_decay=1e-4, weight_decay_end=1e-4 and dino.crop_split=0.14 (README of the code).

Differs from the paper: the loss is the mean over pairs of views where equation 3 sums, and gradients are
clipped (as the code). There are 4,096 prototypes, batch norm in the head and a faster teacher, as is usual on
CIFAR: without batch norm a ResNet collapses within an epoch there. On images up to 64 pixels there is no
blur, there are no local views unless `local_views` says so, and the optimiser is that of lightly's CIFAR-10
benchmark.
Differs from the authors' code: the lowest learning rate scales with the batch as the highest does; the
teacher drops paths where the backbone does.

Traps: the loss is centred with what came before the batch; the last layer's rows have length 1 and stand
still at first; the teacher takes no gradient; m follows steps, the temperature epochs. A loss that stays at
ln(prototypes) is collapse: where views have less in common than T_t / T_s, sharpening cannot undo what is
lost between them. Then crop less, or lower `teacher_temperature` to the code's 0.04. A teacher that is slow
for a short training has not left its initialisation: the authors advise a momentum of 0.9995 at a batch of
256, but for a hundred epochs of ImageNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import (
    Batch,
    Centre,
    DatasetInfo,
    DINOHead,
    Embeddings,
    Method,
    MomentumEncoder,
    ParamGroup,
    Recipe,
    Step,
    View,
    contrastive_monitors,
    cosine_schedule,
    each_size,
    linear_schedule,
    multi_crop,
    setting,
    soft_cross_entropy,
    switch_on_branches,
)

LIGHTLY = "lightly cifar10_benchmark.py"
SMALL = 64  # pixels up to which the recipe of lightly's CIFAR-10 benchmark is used
GLOBAL = 2  # views that the teacher sees
LOCAL = 8  # of main_dino.py; the paper's 2x224 + 10x96 is for its largest
LOCAL_SHARE, SMALLEST_CROP = 96 / 224, 0.05  # of the side, to the next 8 pixels (a patch), and of the area


class DINO(Method):
    """Predict what a centred, sharpened teacher makes of other views (Caron 2021)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        student_temperature: float = setting(0.1, "of its softmax", source="Caron 2021, 3.1", above=0)
        teacher_temperature: float = setting(0.07, "of its softmax", source="Caron 2021, 3.2", above=0)
        first_temperature: float = setting(0.04, "the teacher's at first", source="Caron 2021, 3.2", above=0)
        temperature_epochs: int = setting(30, "until it is reached", source="Caron 2021, 3.2", least=0)
        momentum: float = setting(
            0.99, "of the teacher; rises to 1", source=f"{LIGHTLY}; Caron 2021: 0.996", least=0, most=1
        )
        centre_momentum: float = setting(0.9, "of the centre", source="main_dino.py", least=0, most=1)
        prototypes: int = setting(4096, "of the head", source="solo-learn; Caron 2021: 65,536", least=2)
        hidden_dim: int = setting(2048, "width of the head", source="Caron 2021, C", least=1)
        bottleneck_dim: int = setting(256, "of what is made unit length", source="Caron 2021, C", least=1)
        head_norm: bool = setting(
            default=True, doc="batch norm in the head", source=f"{LIGHTLY}; Caron 2021, 3.1: false"
        )
        norm_last_layer: bool = setting(default=True, doc="prototypes of length 1", source="main_dino.py")
        freeze_epochs: int = setting(1, "epochs of still prototypes", source="main_dino.py", least=0)
        local_views: int | None = setting(None, "none: 8, 0 up to 64 px", source="main_dino.py", least=0)
        crop_split: float = setting(0.4, "local from global area", source="main_dino.py", above=0.05, most=1)

    reference = "Caron et al. 2021, arXiv:2104.14294"
    version = 2
    recipe = Recipe(
        optimizer="adamw",
        lr=0.0005,
        lr_scaling="linear",
        min_lr=1e-6,
        weight_decay=0.04,
        weight_decay_end=0.4,
        clip_norm=3.0,
        clip_scope="parameter",
        source="Caron 2021, 3.2; min_lr and clip_norm: facebookresearch/dino main_dino.py",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        switch_on_branches(backbone)
        self.config = config
        widths: dict[str, Any] = {"hidden_dim": config.hidden_dim, "bottleneck_dim": config.bottleneck_dim}
        norms: dict[str, Any] = {"norm": config.head_norm, "norm_last_layer": config.norm_last_layer}
        self.head = DINOHead(dim, config.prototypes, **widths, **norms)
        self.teacher = MomentumEncoder(self._student())
        self.centre = Centre(config.prototypes, config.centre_momentum)

    def _student(self) -> nn.Sequential:
        """Return the network that the teacher follows."""
        return nn.Sequential(self.backbone, self.head)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two global views and the local ones: BYOL's, without their blur for small images."""
        usual, blurs = (0, (0.0, 0.0, 0.0)) if image_size <= SMALL else (LOCAL, (1.0, 0.1, 0.5))
        count, split = usual if config.local_views is None else config.local_views, config.crop_split
        view = View(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
        local = replace(view, crop_min=SMALLEST_CROP, crop_max=split, blur=blurs[2])
        first = replace(view, crop_min=split, blur=blurs[0])
        second = replace(view, crop_min=split, blur=blurs[1], solarise=0.2)
        counts = {"small_count": count, "small_size": 8 * max(1, round(LOCAL_SHARE * image_size / 8))}
        return (first, *multi_crop(second, local, large_count=1, **counts))

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the paper's recipe for transformers, or lightly's for small images; prototypes wait."""
        frozen = ParamGroup(match="head.last.*", freeze_epochs=config.freeze_epochs)
        if image_size > SMALL:
            return replace(cls.recipe, groups=(frozen,))
        groups = (replace(frozen, decay=True), ParamGroup(match="*", decay=True))
        numbers: dict[str, Any] = {"lr": 0.12, "lr_scaling": "linear", "weight_decay": 5e-4}
        source = f"{LIGHTLY}: 0.06 at a batch of 128"
        return Recipe(optimizer="sgd", **numbers, warmup_epochs=0, groups=groups, source=source)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return the student's logits (n, prototypes) of each view, and the teacher's of the global ones."""
        features = each_size(self.backbone, views)
        student = self.head(torch.cat(features)).split([len(h) for h in features])
        teacher = each_size(self.teacher, views[:GLOBAL])
        named = {f"view_{number}": s for number, s in enumerate(student)}
        return named | {f"teacher_{number}": t for number, t in enumerate(teacher)}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of the teacher's global views with the student's other views."""
        student = [s for name, s in embeddings.items() if name.startswith("view_")]
        targets = self.targets(embeddings, batch.step)
        losses = []
        for number, target in enumerate(targets):
            others = student[:number] + student[number + 1 :]
            losses += [soft_cross_entropy(s / self.config.student_temperature, target) for s in others]
        return {"distillation": torch.stack(losses).mean()}

    def targets(self, embeddings: Embeddings, step: Step) -> list[Tensor]:
        """Return the teacher's distributions (n, prototypes) of the global views, without gradient."""
        logits = [embeddings[f"teacher_{number}"].detach() for number in range(GLOBAL)]
        return [torch.softmax(self.centre(t) / self.temperature(step.epoch), dim=-1) for t in logits]

    def temperature(self, epoch: int) -> float:
        """Return the teacher's temperature, at its end in the last of its `temperature_epochs`."""
        config, epochs = self.config, self.config.temperature_epochs
        share = 1.0 if epoch >= epochs else epoch / max(epochs - 1, 1)
        return linear_schedule(config.first_temperature, config.teacher_temperature, share)

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        """Move the centre towards the mean of the teacher's logits."""
        self.centre.update(torch.cat([embeddings[f"teacher_{number}"] for number in range(GLOBAL)]))

    def after_step(self, step: Step) -> None:
        """Move the teacher towards the student."""
        self.teacher.update(self._student(), cosine_schedule(self.config.momentum, 1.0, step.progress))

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well views find each other, and how even the teacher is on an image and on a batch.

        Both entropies are ln(prototypes) where all are uniform and 0 where one takes all: either is collapse.
        """
        p = torch.cat(self.targets(embeddings, batch.step))
        image, mean = (-torch.xlogy(q, q).sum(dim=-1) for q in (p, p.mean(dim=0)))
        entropies = {"teacher_entropy": image.mean(), "usage_entropy": mean}
        return contrastive_monitors(embeddings["view_0"], embeddings["view_1"]) | entropies

    def export(self) -> nn.Module:
        """Return the teacher's backbone, which the authors evaluate."""
        return next(self.teacher.network.children())
