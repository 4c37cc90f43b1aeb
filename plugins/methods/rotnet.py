"""RotNet: by how much was the image turned? All four turns of an image are in the batch.

Paper: Gidaris, Singh, Komodakis 2018, "Unsupervised Representation Learning by Predicting Image Rotations",
arXiv:1803.07728. Code followed: gidariss/FeatureLearningRotNet dataloader.py, config/*RotNet*.py.

    L = mean over images and k in {0, 1, 2, 3} of CE( W h(turn(x, k)), k ),   k quarter turns

An image is cropped and mirrored before it is turned, so its four turns are of the same pixels. On images up
to 64 pixels crops are shifts by an eighth of the side, as for CIFAR-10; they need not be of whole pixels.

Differs from the paper: the learning rate decays as a cosine, there in three or four steps; the backbone is
any, there AlexNet or Network in Network.
Differs from the authors' code: nothing but that.

Traps: the last block of the network specialises on orientation, so a probe of what it pools understates the
method: the paper probes an earlier one (the second of four on CIFAR-10), here `--set linear.blocks=4 --set
linear.pool=mean` adds those before the last; images are turned without resampling, whose traces would tell;
one turn an image (as VISSL draws it) is another method; a 0 or a round sign has no orientation to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Batch, DatasetInfo, Embeddings, Method, Recipe, View

SMALL = 64  # pixels up to which the paper's CIFAR-10 recipe is used, section 3.1
SHIFT = 4 / 32  # of the side, gidariss/FeatureLearningRotNet dataloader.py
TURNS = 4


class RotNet(Method):
    """Tell by how many quarter turns an image was turned (Gidaris 2018)."""

    reference = "Gidaris et al. 2018, arXiv:1803.07728"
    passes_per_view = TURNS
    recipe = Recipe(
        optimizer="sgd",
        lr=0.01 * 256 / 192,
        lr_scaling="linear",
        weight_decay=5e-4,
        nesterov=True,
        warmup_epochs=0,
        source="Gidaris 2018, 3.2: 0.01 at a batch of 192 images; Nesterov: the code's config",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.head = nn.Linear(dim, TURNS)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return one view: small images are shifted, others cropped; both are mirrored."""
        if image_size > SMALL:
            return (View(jitter=0.0, grey=0.0),)
        whole = View(crop_min=1.0, crop_max=1.0, crop_ratio=1.0, jitter=0.0, grey=0.0)
        return (replace(whole, affine=1.0, translate=SHIFT, rotate=0.0, zoom=0.0, shear=0.0),)

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the paper's recipe for ImageNet, or that for CIFAR-10 for small images."""
        if image_size > SMALL:
            return cls.recipe
        return replace(
            cls.recipe, lr=0.1 * 256 / 128, source="Gidaris 2018, 3.1: 0.1 at a batch of 128 images"
        )

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `upright`, the features (n, dim) of the images as they are, and `logits` (n, turns, 4)."""
        turned = torch.cat([views[0].rot90(turn, (2, 3)) for turn in range(TURNS)])
        features = self.backbone(turned)
        logits = self.head(features).unflatten(0, (TURNS, -1)).transpose(0, 1)
        return {"upright": features[: len(views[0])], "logits": logits}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy with the turns."""
        logits = embeddings["logits"]
        turns = torch.arange(TURNS, device=logits.device).expand(len(logits), TURNS)
        return {"rotation": F.cross_entropy(logits.flatten(0, 1), turns.flatten())}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the share of turns that are told, in percent: 25 is chance."""
        told = embeddings["logits"].argmax(dim=2)
        return {"rotation_top1": 100 * (told == torch.arange(TURNS, device=told.device)).float().mean()}
