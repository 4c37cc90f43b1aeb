"""What a backbone is: a network from images to features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from statistics import fmean
from typing import Any

from torch import Tensor, nn

from bench.config import check_fields
from bench.contracts.declared import Declared
from bench.errors import BadValue, Unsupported


@dataclass(frozen=True, kw_only=True)
class BackboneInfo:
    """What is known of a backbone on images of one size, without its weights; None is not known.

    Args:
        dim: of the features that `forward` returns.
        map_size: side of the last feature map, or of the grid of patches.
        grid: rows and columns of patches, of a backbone that offers `tokens`.
        patch_size: side of a patch, in pixels.
        token_dim: of a token.
        prefix: class and register tokens before the patches.
        class_token: the first token of the prefix is a class token.
        blocks: how many of its last blocks or stages `Backbone.blocks` can give; 0 is none.
    """

    dim: int | None = None
    map_size: int | None = None
    grid: tuple[int, int] | None = None
    patch_size: int | None = None
    token_dim: int | None = None
    prefix: int = 0
    class_token: bool = False
    blocks: int = 0


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What weights expect of the images they are given: (x - mean) / std.

    Args:
        mean: a value a channel, in [0, 1].
        std: a value a channel, above 0.

    Raises:
        BadValue: they are not of as many channels, or not in these ranges.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise BadValue(
                f"normalisation: there are {len(self.mean)} means and {len(self.std)} deviations. "
                "Give one of each a channel."
            )
        if not all(0 <= mean <= 1 for mean in self.mean) or not all(0 < std < inf for std in self.std):
            raise BadValue(
                f"normalisation: mean is {list(self.mean)} and std {list(self.std)}. "
                "Use means from 0 to 1 and deviations above 0."
            )

    def match_channels(self, channels: int) -> Normalisation:
        """Return it for images of so many channels: for grey ones the mean of the channels' values.

        The first convolution of weights for colours is summed over them for grey images, which are then
        seen as three equal channels. That is exact where the channels' values are alike, and close elsewhere.

        Raises:
            BadValue: the images are neither grey nor of as many channels.
        """
        if len(self.mean) == channels:
            return self
        if channels != 1:
            raise BadValue(
                f"normalisation: the weights are for {len(self.mean)} channels, the images have {channels}. "
                "Use weights for as many."
            )
        return Normalisation(mean=(fmean(self.mean),), std=(fmean(self.std),))

    def key_fields(self) -> dict[str, list[float]]:
        """Return what a key and a record say of it."""
        return {"mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True)
class Tokens:
    """The tokens of images.

    Args:
        prefix: (n, q, token_dim), the class token first, if there is one, then registers; q may be 0.
        patches: (n, k, token_dim), row by row of the grid, or those that were kept, in their order.
    """

    prefix: Tensor
    patches: Tensor


@dataclass(frozen=True, kw_only=True)
class ForeignModel:
    """How another library builds the network of a backbone, for `bench export`.

    Args:
        name: of the network there.
        arguments: beside its name, of `timm.create_model` or `torchvision.models.get_model`.
        changes: lines of Python that change `model`, which the library built; they may use `torch`.
        prefix: that the names of the backbone's tensors have before those of the library.
    """

    name: str
    arguments: Mapping[str, Any]
    changes: tuple[str, ...] = ()
    prefix: str = ""


class Backbone(Declared, nn.Module):
    """A network from images to features.

    `forward` takes images (n, channels, h, w), float32, normalised, and returns features (n, dim).

    Args:
        name: the name it was asked for by; a family serves many.
        config: a `Config` of its class.
        channels: of the images.
        image_size: side of the images.
    """

    dim: int

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__()
        check_fields(config, name)
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
    def without_weights(cls, config: Any) -> Any:
        """Return the settings that build the same network without the weights it starts from.

        A trained backbone is built so, and has its own weights. Here, files are left out.
        """
        files = [field.name for field in fields(config) if field.metadata.get("file")]
        return replace(config, **dict.fromkeys(files)) if files else config

    def in_library(self, library: str) -> ForeignModel:
        """Return how a library builds this network.

        Args:
            library: `timm` or `torchvision`.

        Raises:
            Unsupported: it does not have it.
        """
        raise Unsupported(
            f"{self.built_for[0]}: {library} does not have it. Use --to safetensors, torchscript or onnx."
        )

    @classmethod
    def notes(cls, name: str, config: Any, channels: int, image_size: int) -> tuple[str, ...]:
        """Return what a user should know of how it is built for these images, a sentence each.

        It is asked while planning, once for all cells, and said before the first is made.
        """
        return ()

    @classmethod
    def normalisation(cls, name: str, config: Any, channels: int) -> Normalisation | None:
        """Return what the weights it starts from expect of images; None: it has none, or they do not say.

        Then images are normalised by the mean and deviation of the data that is trained on. It is asked while
        planning, and is in the key where it is not None.

        Args:
            name: as of the constructor.
            config: as of the constructor.
            channels: as of the constructor; there is a value for each.
        """
        return None

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

    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """Return the tokens of the last block, normalised as for the features.

        Args:
            images: (n, channels, h, w), as of `forward`.
            keep: (n, k), int64, the patches of each image that are seen; None is all. The others are
                left out before the first block, and cost nothing.

        Raises:
            Unsupported: the backbone has no tokens; `about` then has no `grid`.
        """
        raise Unsupported(f"{self.built_for[0]}: it has no tokens. Use a vision transformer.")

    def blocks(self, images: Tensor, count: int) -> tuple[Tensor | Tokens, ...]:
        """Return the outputs of the last blocks or stages, the earliest first.

        Args:
            images: (n, channels, h, w), as of `forward`.
            count: of blocks, at least 1 and at most `BackboneInfo.blocks`.

        Returns:
            For each block its `Tokens`, normalised as those of the last one, or a map (n, c, h, w).

        Raises:
            Unsupported: the backbone does not have that many; `about` says how many.
        """
        raise Unsupported(f"{self.built_for[0]}: the outputs of its blocks cannot be read.")

    def parameter_layers(self) -> dict[str, int] | None:
        """Return the depth of each parameter, for layer-wise learning rates; None if it is not known.

        Returns:
            By the names of `named_parameters`: 0 is the embedding or stem, the highest is the last block,
            norm or head.
        """
        return None
