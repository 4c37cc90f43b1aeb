"""MAE: most patches of an image are hidden, and their pixels are predicted from the few that are seen.

Paper: He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners", arXiv:2111.06377.
Code followed: facebookresearch/mae models_mae.py.

    x = patches of the image, each with its own mean and standard deviation (unbiased, eps 1e-6) taken out
    L = mean over hidden patches of mean over pixels of (decoder(encoder(seen patches)) - x)^2

The encoder sees the patches that are left, and its class token; the decoder sees a trained token in the
place of each hidden patch. Only the encoder is kept.

Differs from the paper: nothing but the backbone, whose positions are its own (timm's vision transformers
train theirs). On images up to 64 pixels the learning rate is that of solo-learn.
Differs from the authors' code: nothing.

Traps: the loss is averaged over hidden patches only, whatever is seen; the variance of a patch is the
unbiased one; masks are drawn for each image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench.api import (
    Backbone,
    BackboneInfo,
    Batch,
    DatasetInfo,
    Embeddings,
    Method,
    Recipe,
    TokenDecoder,
    Unsupported,
    View,
    masked_mean,
    patchify,
    random_mask,
    setting,
    visible,
)

SMALL = 64  # pixels up to which solo-learn's CIFAR recipe is used


class MAE(Method):
    """Predict the pixels of hidden patches (He 2022)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        mask_ratio: float = setting(0.75, "share of hidden patches", source="He 2022, 3", above=0, most=0.99)
        normalise_patches: bool = setting(
            default=True, doc="predict each patch without its mean and deviation", source="He 2022, 3"
        )
        decoder_dim: int = setting(512, "width of the decoder", source="He 2022, 4.1", least=4)
        decoder_depth: int = setting(8, "blocks of the decoder", source="He 2022, 4.1", least=1)
        decoder_heads: int = setting(16, "attention heads of the decoder", source="He 2022, A.1", least=1)

    reference = "He et al. 2022, arXiv:2111.06377"
    recipe = Recipe(
        optimizer="adamw",
        lr=1.5e-4,
        lr_scaling="linear",
        weight_decay=0.05,
        betas=(0.9, 0.95),
        warmup_epochs=40,
        source="He 2022, table 8",
    )

    backbone: Backbone

    def __init__(self, backbone: Backbone, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        info = backbone.info
        assert info.grid and info.patch_size and info.token_dim  # noqa: S101, PT018 - `check` asks for them
        self.config, self.patch, self.patches = config, info.patch_size, info.grid[0] * info.grid[1]
        self.decoder = TokenDecoder(
            info.token_dim,
            *(config.decoder_dim, config.decoder_depth, config.decoder_heads),
            self.patch**2 * data.channels,
            *info.grid,
        )

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return one view: a crop, mirrored half the time, and no colours changed (section 4.1)."""
        return (View(crop_min=0.2, jitter=0.0, grey=0.0),)

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the paper's recipe, or solo-learn's learning rate for small images."""
        if image_size > SMALL:
            return cls.recipe
        return replace(cls.recipe, lr=2e-4, source="He 2022, table 8; lr: solo-learn, CIFAR")

    @classmethod
    def check(cls, config: Any, backbone: BackboneInfo, data: DatasetInfo, image_size: int) -> None:
        """Refuse a backbone without patch tokens."""
        if backbone.grid is None:
            raise Unsupported(
                "mae: it hides patches, but this backbone has none. Use a vision transformer, such as "
                "vit_tiny_patch16_224."
            )

    def draw(self, count: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Return which patches are hidden, (count, patches) bool, and which are seen, (count, k)."""
        mask = random_mask(count, self.patches, self.config.mask_ratio, generator)
        return {"mask": mask, "seen": visible(mask)}

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `features`, the mean seen token (n, token_dim), and `error`, that of each patch."""
        images, seen = views[0], batch.draws["seen"]
        tokens = self.backbone.tokens(images, seen)
        predicted = self.decoder(tokens.patches, seen, tokens.prefix)
        target = patch_targets(images, self.patch, normalise=self.config.normalise_patches)
        error = (predicted.float() - target).square().mean(dim=2)
        return {"features": tokens.patches.mean(dim=1), "error": error}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error over hidden patches."""
        return {"reconstruction": masked_mean(embeddings["error"], batch.draws["mask"])}


def patch_targets(images: Tensor, patch: int, *, normalise: bool) -> Tensor:
    """Return what is to be predicted of images (n, c, h, w): (n, patches, patch * patch * c), float32."""
    patches = patchify(images, patch)
    if not normalise:
        return patches
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()
