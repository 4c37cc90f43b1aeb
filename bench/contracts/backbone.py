"""What a backbone is: a network from images to features."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from bench.config import NoSettings


class Backbone(nn.Module):
    """A network from images to features.

    `forward` takes images (n, channels, h, w), float32, normalised, and returns features (n, dim).

    Args:
        name: the name it was asked for by; a family serves many.
        config: a `Config` of its class.
        channels: of the images.
        image_size: side of the images.
    """

    Config: ClassVar[type] = NoSettings
    version: ClassVar[int] = 1
    reference: ClassVar[str] = ""
    dim: int

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__()

    @classmethod
    def check(cls, name: str, config: Any, channels: int, image_size: int) -> None:
        """Raise what the constructor would, at the cost of planning.

        Raises:
            Unsupported: this backbone cannot work on these images: the cell is skipped.
            BadValue: the config cannot work on any.
        """
