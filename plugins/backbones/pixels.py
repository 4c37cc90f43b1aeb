"""Pixels: no network at all. What a readout finds in the images themselves.

The features are the normalised pixels, channel by channel and row by row. The method of the same name
puts them into a table, beside which every trained network can be held.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from bench.api import Backbone


class Pixels(Backbone):
    """Give the pixels as they are."""

    reference: ClassVar[str] = "Coates, Ng and Lee 2011, An analysis of single-layer networks, AISTATS"

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        self.dim = channels * image_size**2

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, channels * image_size ** 2)."""
        return images.flatten(1)
