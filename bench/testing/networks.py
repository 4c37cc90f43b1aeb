"""Small backbones that methods are checked on."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.config import NoSettings
from bench.contracts.backbone import Backbone, BackboneInfo, Tokens

CHANNELS, SIDE, DIM, PATCH, HEADS = 3, 32, 16, 8, 2


class Convolution(Backbone):
    """A convolution that is quick, takes images of any size, and has batch norm, as most networks do.

    Args:
        channels: of the images.
    """

    title = "a convolutional net"

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__(self.title, NoSettings(), channels, SIDE)
        self.dim = DIM
        self.layers = nn.Sequential(
            nn.Conv2d(channels, DIM, 3, stride=4, bias=False),
            nn.BatchNorm2d(DIM),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (n, 16) of images (n, channels, h, w)."""
        features: Tensor = self.layers(images)
        return features

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        """Return its sizes: it has a map of 8x8 and no tokens."""
        return BackboneInfo(dim=DIM, map_size=image_size // 4)

    @classmethod
    def check_size(cls, name: str, config: Any, channels: int, image_size: int, size: int) -> None:
        """Take views of any size."""


class Patches(Backbone):
    """A vision transformer of one block of attention, with a class token.

    Args:
        channels: of the images.
    """

    title = "a small ViT"

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__(self.title, NoSettings(), channels, SIDE)
        self.dim = DIM
        self.embed = nn.Conv2d(channels, DIM, PATCH, stride=PATCH)
        self.positions = nn.Parameter(0.1 * torch.randn((SIDE // PATCH) ** 2, DIM))
        self.class_token = nn.Parameter(0.1 * torch.randn(1, 1, DIM))
        self.first_norm, self.norm = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, images: Tensor) -> Tensor:
        """Return the class token (n, 16) of images (n, channels, 32, 32)."""
        return self.tokens(images).prefix[:, 0]

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        """Return its sizes."""
        side = image_size // PATCH
        return BackboneInfo(
            dim=DIM,
            map_size=side,
            grid=(side, side),
            patch_size=PATCH,
            token_dim=DIM,
            prefix=1,
            class_token=True,
        )

    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """Return the tokens of all patches, or of those that are kept."""
        patches = self.embed(images).flatten(2).transpose(1, 2) + self.positions
        if keep is not None:
            patches = patches.gather(1, keep.unsqueeze(2).expand(-1, -1, DIM))
        x = torch.cat([self.class_token.expand(len(patches), 1, DIM), patches], dim=1)
        q, k, v = self.qkv(self.first_norm(x)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.norm(x + self.out(seen))
        return Tokens(x[:, :1], x[:, 1:])
