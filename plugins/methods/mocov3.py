"""MoCo v3: a view's prediction finds its image's key, of a momentum network, among the batch's keys.

Paper: Chen, Xie, He 2021, "An Empirical Study of Training Self-Supervised Vision Transformers",
arXiv:2104.02057. Code followed: facebookresearch/moco-v3 moco/builder.py, main_moco.py and CONFIG.md.

    q = n(predictor(projector(h))), k = n(projector'(h')) of the momentum network
    ctr(q, k) = 2 T * mean over i of - log( exp(q_i.k_i / T) / sum over j of exp(q_i.k_j / T) )
    L = ctr(q_1, k_2) + ctr(q_2, k_1),   w' <- m w' + (1 - m) w,   m = 1 - (1 - m0) (cos(pi k / K) + 1) / 2

With `vit`, heads, optimiser and the patch projection, which is not trained, are those of the paper's vision
transformers; else those of its ResNet.

Differs from the paper: the temperature is solo-learn's for CIFAR (1 for the authors' ResNet). On images up
to 64 pixels there is no blur, crops keep 8 % of the area and more, and the learning rate is solo-learn's.
Batch norm's statistics are of one device's share. A transformer's positions are the backbone's own.
Differs from the authors' code: the momentum network moves after the optimiser's step, as in algorithm 1;
there before the next step's keys: the same weights, but for m, which is here that of the step before.

Traps: 2 T belongs to the loss, and moves the best learning rate with T; only parameters are averaged, batch
norm's statistics are the momentum network's own; a ResNet's prediction has no last norm, a transformer's has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from bench.api import (
    BackboneInfo,
    Batch,
    DatasetInfo,
    Embeddings,
    Method,
    MomentumEncoder,
    Recipe,
    Step,
    Unsupported,
    View,
    contrastive_monitors,
    cosine_schedule,
    info_nce,
    projector,
    setting,
)

SMALL = 64  # pixels up to which solo-learn's CIFAR recipe is used


class MoCoV3(Method):
    """Find an image's key among the batch's (Chen 2021)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(
            0.2,
            "softmax temperature",
            source="solo-learn, CIFAR; moco-v3 CONFIG.md: 0.2 for ViT, 1 for ResNet",
            above=0,
        )
        momentum: float = setting(
            0.99,
            "of the key network at the first step; it rises to 1",
            source="facebookresearch/moco-v3 main_moco.py; CONFIG.md: 0.996 for 1,000 epochs",
            least=0,
            most=1,
        )
        vit: bool = setting(
            default=False, doc="heads and recipe for vision transformers", source="moco-v3 moco/builder.py"
        )
        hidden_dim: int = setting(4096, "heads' hidden width", source="moco-v3 moco/builder.py", least=1)
        embedding_dim: int = setting(256, "heads' output width", source="moco-v3 moco/builder.py", least=1)

    reference = "Chen et al. 2021, arXiv:2104.02057"
    recipe = Recipe(
        optimizer="lars",
        lr=0.6,
        lr_scaling="linear",
        weight_decay=1e-6,
        source="facebookresearch/moco-v3 main_moco.py and CONFIG.md: ResNet-50, 100 epochs",
    )
    vit_recipe = Recipe(
        optimizer="adamw",
        lr=1.5e-4,
        lr_scaling="linear",
        weight_decay=0.1,
        warmup_epochs=40,
        source="facebookresearch/moco-v3 CONFIG.md: ViT-Small, 300 epochs",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.temperature, self.momentum = config.temperature, config.momentum
        width, out = config.hidden_dim, config.embedding_dim
        layers, last_norm = (3, "plain") if config.vit else (2, "none")
        self.projector = projector(
            dim, width, out, layers=layers, bias=False, last_bias=False, last_norm="plain"
        )
        self.predictor = projector(out, width, out, bias=False, last_bias=False, last_norm=last_norm)
        if config.vit:
            patches = next(part for part in backbone.modules() if isinstance(part, nn.Conv2d))
            patches.requires_grad_(requires_grad=False)  # "a trick for improving stability"
        self.target = MomentumEncoder(self._online())

    def _online(self) -> nn.Sequential:
        """Return the part of the network that the target follows."""
        return nn.Sequential(self.backbone, self.projector)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return BYOL's two views: one is always blurred, the other now and then and solarised."""
        view = View(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
        if image_size <= SMALL:
            return (view, replace(view, solarise=0.2))
        view = replace(view, crop_min=0.08 if config.vit else 0.2)
        return (replace(view, blur=1.0), replace(view, blur=0.1, solarise=0.2))

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the recipe of the authors' ResNet, that of their transformers, or solo-learn's."""
        if config.vit:
            return cls.vit_recipe
        if image_size > SMALL:
            return cls.recipe
        solo: dict[str, Any] = {"lr": 0.3, "trust": 0.02, "clip_trust": True}
        return replace(cls.recipe, **solo, source="solo-learn, CIFAR: mocov3.yaml")

    @classmethod
    def check(cls, config: Any, backbone: BackboneInfo, data: DatasetInfo, image_size: int) -> None:
        """Refuse the recipe for transformers where there is none."""
        if config.vit and backbone.grid is None:
            raise Unsupported(
                "mocov3.vit: this backbone has no patches to project. Use a vision transformer, or "
                "leave it out."
            )

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the predictions of each view, and the momentum network's key of each."""
        a, b = (self.predictor(self.projector(self.backbone(view))) for view in views)
        key_a, key_b = (self.target(view) for view in views)
        return {"a": a, "b": b, "key_a": key_a, "key_b": key_b}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the contrast of each view's predictions with the other view's keys."""
        a, b, key_a, key_b = (embeddings[name] for name in ("a", "b", "key_a", "key_b"))
        both = info_nce(a, key_b, self.temperature) + info_nce(b, key_a, self.temperature)
        return {"contrastive": 2 * self.temperature * both}

    def after_step(self, step: Step) -> None:
        """Move the key network towards the network."""
        self.target.update(self._online(), cosine_schedule(self.momentum, 1.0, step.progress))

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the predictions of an image's two views find each other."""
        return contrastive_monitors(embeddings["a"], embeddings["b"])
