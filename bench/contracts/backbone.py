"""What a backbone is: a network from images to features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from bench.config import NoSettings
from bench.errors import Unsupported


@dataclass(frozen=True, kw_only=True)
class BackboneInfo:
    """What is known of a backbone on images of one size, without its weights; none is not known.

    Args:
        dim: of the features that `forward` returns.
        map_size: side of the last feature map, or of the grid of patches.
        grid: rows and columns of patches, of a backbone that offers `tokens`.
        patch_size: side of a patch, in pixels.
        token_dim: of a token.
        prefix: class and register tokens before the patches.
    """

    dim: int | None = None
    map_size: int | None = None
    grid: tuple[int, int] | None = None
    patch_size: int | None = None
    token_dim: int | None = None
    prefix: int = 0


@dataclass(frozen=True)
class Tokens:
    """The tokens of images.

    Args:
        prefix: (n, q, token_dim), the class token first, then registers; q may be 0.
        patches: (n, k, token_dim), row by row of the grid, or those that were kept.
    """

    prefix: Tensor
    patches: Tensor


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
        self.built_for = (name, config, channels, image_size)

    @classmethod
    def check(cls, name: str, config: Any, channels: int, image_size: int) -> None:
        """Raise what the constructor would, at the cost of planning.

        Raises:
            Unsupported: this backbone cannot work on these images: the cell is skipped.
            BadValue: the config cannot work on any.
        """

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        """Return what is known of the backbone before it is built, at the cost of planning."""
        return BackboneInfo()

    @classmethod
    def check_size(cls, name: str, config: Any, channels: int, image_size: int, size: int) -> None:
        """Refuse images of another side than the one the backbone is built for, if it cannot take them.

        Args:
            name: as of the constructor.
            config: as of the constructor.
            channels: as of the constructor.
            image_size: that it is built for.
            size: that a view has.

        Raises:
            Unsupported: it takes images of `image_size` only.
        """
        raise Unsupported(f"{name}: it is not known to take views of {size} px beside {image_size} px.")

    @property
    def info(self) -> BackboneInfo:
        """What is known of this backbone."""
        return self.about(*self.built_for)

    def parameter_layers(self) -> dict[str, int] | None:
        """Return the layer of each parameter by its name, 0 the lowest; none: they are not known.

        Of a vision transformer 0 is the embedding, i + 1 block i, and the highest the norm and the head.
        A learning rate that decays from layer to layer needs them.
        """
        return None

    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """Return the tokens of the last block, normalised as for the features.

        Args:
            images: (n, channels, h, w), as of `forward`.
            keep: (n, k), int64, the patches that are seen, of each image; none is all. The others are
                left out before the first block.

        Raises:
            Unsupported: the backbone has no tokens; `about` says so by `grid`.
        """
        raise Unsupported(f"{self.built_for[0]}: it has no tokens.")
