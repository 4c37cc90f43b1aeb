"""Gratings: noisy waves, drawn when they are loaded. Where a wave goes is its class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bench.api import Dataset, DatasetInfo, Images, digest, seed_of, setting

SIZE = 16  # pixels a side
COUNTS = {"train": 256, "test": 128}
DRAWS = 1  # raised where other images are drawn of the same settings


class Gratings(Dataset):
    """Tell waves apart by where they go."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What changes the images."""

        directions: int = setting(4, "classes", source="our choice", least=2, most=16)
        noise: float = setting(0.2, "its standard deviation", source="our choice", least=0)

    config: Config
    reference = "made by its own code"

    @classmethod
    def about(cls, config: Config) -> DatasetInfo:
        """Return what is known without the classes; a mirrored wave goes elsewhere."""
        return DatasetInfo(classes=(), channels=1, size=SIZE, flip=False, colour=False)

    @property
    def info(self) -> DatasetInfo:
        """What is known without drawing an image."""
        angles = (f"{180 * k / self.config.directions:g} degrees" for k in range(self.config.directions))
        return DatasetInfo(classes=tuple(angles), channels=1, size=SIZE, flip=False, colour=False)

    def fingerprint(self) -> str:
        """Return a digest of all that decides the images."""
        return digest([DRAWS, SIZE, COUNTS, self.config.directions, self.config.noise])

    def labels(self, split: str) -> Sequence[int]:
        """Return the classes in turn."""
        return [index % self.config.directions for index in range(COUNTS[split])]

    def load(self, split: str) -> Images:
        """Return the images of `split`."""
        generator = torch.Generator().manual_seed(seed_of("gratings", split))
        labels = torch.tensor(self.labels(split))
        angle = (math.pi / self.config.directions * labels)[:, None, None]
        cycles, phase = torch.rand(2, len(labels), 1, 1, generator=generator)
        y, x = torch.meshgrid(torch.arange(SIZE) / SIZE, torch.arange(SIZE) / SIZE, indexing="ij")
        along = x * angle.cos() + y * angle.sin()
        wave = torch.sin(2 * math.pi * ((2 + 2 * cycles) * along + phase))
        noise = self.config.noise * torch.randn(wave.shape, generator=generator)
        pixels = (0.5 + 0.25 * wave + noise).clamp(0, 1).mul(255).byte()
        return Images(pixels[:, None], labels)
