"""BYOL: a network predicts what a slowly moving copy of itself makes of the other view. No negatives.

Paper: Grill et al. 2020, "Bootstrap your own latent", arXiv:2006.07733.
Code followed: google-deepmind/deepmind-research byol/byol_experiment.py.

    L = (2 - 2 cos(p, z')) + (2 - 2 cos(p', z)),   p = predictor(projector(h)), z of the momentum network
    w_target <- m w_target + (1 - m) w,            m = 1 - (1 - m0) (cos(pi k / K) + 1) / 2 at step k of K

Differs from the paper: on images up to 64 pixels there is no blur, and m0 and the optimiser are those of
solo-learn's CIFAR recipe (its rate of 1 limits a LARS with a trust of 0.02): with m0 = 0.996 a short training
ends before the target has left its initialisation. Batch norm's statistics are of one device's share.
Differs from the authors' code: nothing. The target's parameters are averaged, its buffers are its own.

Traps: m follows steps, not epochs; the predictor and the output of the projector have no last batch norm;
the target takes no gradient and moves after the optimiser's step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from bench.api import (
    Batch,
    DatasetInfo,
    Embeddings,
    Method,
    MomentumEncoder,
    Recipe,
    Step,
    View,
    contrastive_monitors,
    cosine_distance,
    cosine_schedule,
    projector,
    setting,
)

SMALL = 64  # pixels up to which solo-learn's CIFAR recipe is used


class BYOL(Method):
    """Predict what a momentum network makes of the other view (Grill 2020)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        momentum: float = setting(
            0.99,
            "of the target at the first step; it rises to 1",
            source="solo-learn, CIFAR; Grill 2020, 3.2: 0.996 for 1,000 epochs of ImageNet",
            least=0,
            most=1,
        )
        hidden_dim: int = setting(
            4096, "hidden width of projector and predictor", source="Grill 2020, 3.2", least=1
        )
        embedding_dim: int = setting(256, "width of the projection", source="Grill 2020, 3.2", least=1)

    reference = "Grill et al. 2020, arXiv:2006.07733"
    recipe = Recipe(
        optimizer="lars",
        lr=0.2,
        lr_scaling="linear",
        weight_decay=1.5e-6,
        source="Grill 2020, 3.3",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        width, out = config.hidden_dim, config.embedding_dim
        self.momentum = config.momentum
        self.projector = projector(dim, width, out, last_bias=False)
        self.predictor = projector(out, width, out, last_bias=False)
        self.target = MomentumEncoder(self._online())

    def _online(self) -> nn.Sequential:
        """Return the part of the network that the target follows."""
        return nn.Sequential(self.backbone, self.projector)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return appendix B's two views: one is always blurred, the other now and then and solarised."""
        view = View(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
        if image_size <= SMALL:
            return (view, replace(view, solarise=0.2))
        return (replace(view, blur=1.0), replace(view, blur=0.1, solarise=0.2))

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the paper's recipe, or solo-learn's for small images."""
        if image_size > SMALL:
            return cls.recipe
        solo: dict[str, Any] = {"lr": 1.0, "trust": 0.02, "clip_trust": True, "weight_decay": 1e-5}
        return replace(cls.recipe, **solo, source="solo-learn, CIFAR: byol.yaml")

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the predictions of each view, and the target's projections of each."""
        a, b = (self.predictor(self.projector(self.backbone(view))) for view in views)
        target_a, target_b = (self.target(view) for view in views)
        return {"a": a, "b": b, "target_a": target_a, "target_b": target_b}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the distance of each prediction from the target's projection of the other view."""
        a, b, target_a, target_b = (embeddings[name] for name in ("a", "b", "target_a", "target_b"))
        return {"prediction": cosine_distance(a, target_b) + cosine_distance(b, target_a)}

    def after_step(self, step: Step) -> None:
        """Move the target towards the network."""
        self.target.update(self._online(), cosine_schedule(self.momentum, 1.0, step.progress))

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the predictions of an image's two views find each other."""
        return contrastive_monitors(embeddings["a"], embeddings["b"])
