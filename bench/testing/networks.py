"""Small backbones that methods are checked on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.config import NoSettings
from bench.contracts.backbone import Backbone, BackboneInfo, Tokens

CHANNELS, SIDE, DIM, PATCH = 3, 32, 16, 8


class Convolution(Backbone):
    """A convolution that is quick, takes images of any size, and has batch norm, as most networks do."""

    def __init__(self) -> None:
        super().__init__("a convolution", NoSettings(), CHANNELS, SIDE)
        self.dim = DIM
        self.layers = nn.Sequential(
            nn.Conv2d(CHANNELS, DIM, 3, stride=4, bias=False),
            nn.BatchNorm2d(DIM),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (n, 16) of images (n, 3, h, w)."""
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
    """Patch tokens and a class token that they are added to, in the place of a vision transformer."""

    def __init__(self) -> None:
        super().__init__("patches", NoSettings(), CHANNELS, SIDE)
        self.dim = DIM
        self.embed = nn.Conv2d(CHANNELS, DIM, PATCH, stride=PATCH)
        self.positions = nn.Parameter(0.1 * torch.randn((SIDE // PATCH) ** 2, DIM))
        self.class_token = nn.Parameter(torch.zeros(1, DIM))
        self.mix, self.norm = nn.Linear(DIM, DIM), nn.LayerNorm(DIM)

    def forward(self, images: Tensor) -> Tensor:
        """Return the class token (n, 16) of images (n, 3, 32, 32)."""
        return self.tokens(images).prefix[:, 0]

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        """Return its sizes."""
        side = image_size // PATCH
        return BackboneInfo(
            dim=DIM, map_size=side, grid=(side, side), patch_size=PATCH, token_dim=DIM, prefix=1
        )

    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """Return the tokens of all patches, or of those that are kept."""
        patches = self.embed(images).flatten(2).transpose(1, 2) + self.positions
        if keep is not None:
            patches = patches.gather(1, keep.unsqueeze(2).expand(-1, -1, DIM))
        mixed = self.norm(patches + self.mix(patches).mean(dim=1, keepdim=True))
        return Tokens((self.class_token + mixed.mean(dim=1)).unsqueeze(1), mixed)
