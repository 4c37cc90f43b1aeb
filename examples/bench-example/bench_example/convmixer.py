"""ConvMixer: patches, mixed by convolutions over space and over channels in turn.

Paper: Trockman and Kolter 2022, "Patches Are All You Need?", arXiv:2201.09792; its figure 3 is the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from bench.api import Backbone, BackboneInfo, Unsupported, setting


class ConvMixer(Backbone):
    """Mix patches by convolutions (Trockman 2022)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What changes the numbers."""

        width: int = setting(64, "channels", source="our choice; Trockman 2022: 768", least=1)
        depth: int = setting(4, "blocks", source="our choice; Trockman 2022: 32", least=1)
        kernel: int = setting(5, "side of the convolution over space", source="Trockman 2022, A", least=1)
        patch: int = setting(2, "side of a patch, in pixels", source="Trockman 2022, CIFAR-10", least=1)

    reference = "Trockman and Kolter 2022, arXiv:2201.09792"

    def __init__(self, name: str, config: Config, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        self.dim = config.width
        stem = nn.Conv2d(channels, config.width, config.patch, stride=config.patch)
        self.stem = nn.Sequential(stem, nn.GELU(), nn.BatchNorm2d(config.width))
        self.layers = nn.ModuleList(Block(config.width, config.kernel) for _ in range(config.depth))

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean over the last map, (n, width)."""
        return self.blocks(images, 1)[0].mean(dim=(2, 3))

    def blocks(self, images: Tensor, count: int) -> tuple[Tensor, ...]:
        """Return the maps (n, width, h / patch, w / patch) of the last blocks."""
        maps = [self.stem(images)]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return tuple(maps[-count:])

    @classmethod
    def check(cls, name: str, config: Config, channels: int, image_size: int) -> None:
        """Refuse images that are smaller than a patch."""
        if image_size < config.patch:
            raise Unsupported(f"{name}: a patch is {config.patch} px, the images {image_size}. Enlarge them.")

    @classmethod
    def check_size(cls, name: str, config: Config, channels: int, image_size: int, size: int) -> None:
        """Take views of any size that has a patch."""
        cls.check(name, config, channels, size)

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        """Return its sizes."""
        return BackboneInfo(dim=config.width, map_size=image_size // config.patch, blocks=config.depth)


class Block(nn.Module):
    """A convolution over space, beside which its input passes, and one over channels.

    Args:
        width: channels.
        kernel: side of the first convolution.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        space = nn.Conv2d(width, width, kernel, groups=width, padding="same")
        self.space = nn.Sequential(space, nn.GELU(), nn.BatchNorm2d(width))
        self.channels = nn.Sequential(nn.Conv2d(width, width, 1), nn.GELU(), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the shape of x, (n, width, h, w)."""
        mixed: Tensor = self.channels(x + self.space(x))
        return mixed
