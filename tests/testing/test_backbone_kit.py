"""The conformance kit finds what a backbone does wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor, nn

from bench.api import (
    Backbone,
    BackboneInfo,
    Tokens,
    Unsupported,
)
from bench.testing import check, check_backbone


def failed(kind: str, cls: type[Any]) -> set[str]:
    return {title for title, error in check(kind, cls, "it") if error is not None}


class Wide(Backbone):
    """Declare another dimension than it has."""

    dim = 4

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def test_a_backbone_of_another_dimension_fails() -> None:
    with pytest.raises(AssertionError, match=r"shape \(4, 3\), not \(4, 4\)"):
        check_backbone(Wide, "wide")


class Patches(Backbone):
    """Cut images into patches of 8 px, and offer each as a token, changed by a linear map."""

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        self.dim = 8
        self.map = nn.Conv2d(channels, self.dim, 8, stride=8)

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(images).patches.mean(1)

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        side = image_size // 8
        return BackboneInfo(dim=8, grid=(side, side), patch_size=8, token_dim=8, blocks=1)

    @classmethod
    def check_size(cls, name: str, config: Any, channels: int, image_size: int, size: int) -> None:
        if size % 8:
            raise Unsupported(f"{name}: {size} is no multiple of 8.")

    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        patches = self.map(images).flatten(2).transpose(1, 2)
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, self.dim))
        return Tokens(prefix=patches[:, :0], patches=patches)

    def blocks(self, images: Tensor, count: int) -> tuple[Tensor | Tokens, ...]:
        return (self.tokens(images),)


class Attending(Patches):
    """Let each token see the patches that are not kept."""

    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        tokens = super().tokens(images, keep)
        return Tokens(tokens.prefix, tokens.patches + super().tokens(images).patches.mean(1, keepdim=True))


class Boasting(Patches):
    """Claim a class token, more blocks and other sizes than there are."""

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        return replace(
            super().about(name, config, channels, image_size), prefix=1, class_token=True, blocks=3
        )

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2] != 32:
            raise ValueError("images have 32 px")
        return super().forward(images)


KINDS_OF_IMAGES = ("3 x 32 x 32 images", "1 x 32 x 32 images")


def test_a_backbone_that_offers_tokens_blocks_and_sizes_passes() -> None:
    check_backbone(Patches, "patches")

    titles = [title for title, _ in check("backbones", Patches, "patches")]
    assert sum("tokens" in title or "blocks" in title or "views of" in title for title in titles) == 8


def test_tokens_that_see_what_is_not_kept_fail() -> None:
    title = "tokens of kept patches see no other patch"

    assert failed("backbones", Attending) == {f"{images}: {title}" for images in KINDS_OF_IMAGES}


def test_a_backbone_that_offers_what_it_has_not_fails() -> None:
    titles = {
        "tokens are per sample, of the shapes that about() says",
        "its last blocks are per sample, each of one shape",
        "views of 48 px give features, as check_size() says",
    }

    assert failed("backbones", Boasting) == {
        f"{images}: {title}" for images in KINDS_OF_IMAGES for title in titles
    }
