"""SimSiam: each view predicts the other, which stands still meanwhile. No negatives, no momentum network.

Paper: Chen and He 2021, "Exploring Simple Siamese Representation Learning", arXiv:2011.10566.
Code followed: facebookresearch/simsiam simsiam/builder.py and main_simsiam.py.

    L = - cos(p, stop(z')) / 2 - cos(p', stop(z)) / 2,   z = projector(h), p = predictor(z)

-1 is the least there is, and what collapse gives.

Differs from the paper: nothing, but batch norm's statistics are of one device's share. On images up to 64
pixels blur, learning rate and weight decay are those of its appendix D, and so are the projector's two
layers, whatever the size: on ImageNet it has three.
Differs from the authors' code: the cosine moves every step, there every epoch. Residual branches start on:
that code, for ImageNet, starts them off, and on CIFAR hundreds of steps at this rate hardly switch them on.

Traps: the target takes no gradient, or all collapses; the projection ends in batch norm without scale and
shift, the prediction in none; the predictor's rate does not decay; weight decay is applied to biases and
norms, too; there is no warm-up. A loss of -1 within an epoch is collapse.
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
    ParamGroup,
    Recipe,
    View,
    contrastive_monitors,
    cosine_distance,
    projector,
    setting,
    switch_on_branches,
)

SMALL = 64  # pixels up to which the recipe of the paper's appendix D is used


class SimSiam(Method):
    """Predict the other view, which takes no gradient (Chen 2021)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        projector_layers: int = setting(2, "of the projector", source="Chen 2021, D; ImageNet: 3", least=1)
        hidden_dim: int = setting(2048, "projector's hidden width", source="Chen 2021, 3", least=1)
        embedding_dim: int = setting(2048, "projection's width", source="Chen 2021, 3", least=2)
        predictor_dim: int = setting(512, "predictor's hidden width", source="Chen 2021, 3", least=1)

    reference = "Chen and He 2021, arXiv:2011.10566"
    version = 2
    recipe = Recipe(
        optimizer="sgd",
        lr=0.05,
        lr_scaling="linear",
        weight_decay=1e-4,
        warmup_epochs=0,
        groups=(
            ParamGroup(match="predictor.*", constant_lr=True, decay=True),
            ParamGroup(match="*", decay=True),
        ),
        source="Chen 2021, 3 and table 1",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        switch_on_branches(backbone)
        hidden, out, layers = config.hidden_dim, config.embedding_dim, config.projector_layers
        plain = {"bias": False, "last_bias": False}
        self.projector = projector(dim, hidden, out, layers=layers, last_norm="plain", **plain)
        self.predictor = projector(out, config.predictor_dim, out, bias=False)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two views alike: MoCo v2's, without their blur for small images (appendix D)."""
        blur = 0.0 if image_size <= SMALL else 0.5
        view = View(crop_min=0.2, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur=blur)
        return (view, view)

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the recipe for ImageNet, or that of appendix D for small images."""
        if image_size > SMALL:
            return cls.recipe
        return replace(cls.recipe, lr=0.03, weight_decay=5e-4, source="Chen 2021, D")

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the projections of each view, and what is predicted from each."""
        a, b = (self.projector(self.backbone(view)) for view in views)
        return {"a": a, "b": b, "predicted_a": self.predictor(a), "predicted_b": self.predictor(b)}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return minus the mean cosine of each prediction with the other view's projection."""
        a, b = embeddings["a"].detach(), embeddings["b"].detach()
        one, other = embeddings["predicted_a"], embeddings["predicted_b"]
        distance = cosine_distance(one, b) + cosine_distance(other, a)  # each is 2 - 2 cos
        return {"prediction": distance / 4 - 1}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the projections of an image's two views find each other."""
        return contrastive_monitors(embeddings["a"], embeddings["b"])
