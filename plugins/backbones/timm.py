"""Every image model of timm by its own name, with a stem that suits small images.

Source: timm (Wightman 2019). How it is built is in `timm_shapes`, its weights are in `timm_weights`, and
its tokens in `timm_tokens`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import timm
from timm.models import group_parameters
from torch import Tensor

from bench.api import (
    Backbone,
    BackboneInfo,
    BadValue,
    ForeignModel,
    Normalisation,
    Tokens,
    Unsupported,
    setting,
)

from .timm_export import describe_in
from .timm_shapes import build_meta_model, build_model, describe_patches, measure_model
from .timm_tokens import describe_model, encode_tokens, has_tokens, read_blocks
from .timm_weights import (
    compare_weights,
    download,
    known_normalisation,
    read_normalisation,
    read_weights,
)

MIN_MAP = 2  # pixels a side, of the last feature map


class Timm(Backbone):
    """Any model of timm, pooled and without its classifier."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        stem: str = setting(
            "auto",
            "small: stride 1, no max-pool; auto: small up to 64 px unless pretrained",
            source="Chen 2020, B.9",
            choices=("auto", "standard", "small"),
        )
        pretrained: bool = setting(
            default=False, doc="start from timm's ImageNet weights, downloaded on first use"
        )
        weights: str | None = setting(None, "start from this local checkpoint, strictly", file=True)

    reference = "Wightman 2019, PyTorch Image Models, doi:10.5281/zenodo.4414861"

    def __init__(self, name: str, config: Config, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        stem = _stem(config)
        self.net = build_model(name, stem, channels, image_size, pretrained=config.pretrained)
        self.dim = measure_model(name, stem, channels, image_size)[0]
        if config.weights is not None:
            state, _ = read_weights(name, config.weights, self.net)
            compare_weights(state, self.net.state_dict(), config.weights, _describe(name, config, image_size))
            self.net.load_state_dict(state)

    def forward(self, images: Tensor) -> Tensor:
        """Return the pooled features (n, dim) of images (n, channels, h, w)."""
        features: Tensor = self.net(images)
        return features

    @classmethod
    def check(cls, name: str, config: Any, channels: int, image_size: int) -> None:
        """Build the model without memory and look at the shapes of its maps and its weights."""
        if config.pretrained and config.weights is not None:
            raise BadValue(f"{name}: backbone.pretrained and backbone.weights are both set. Set one.")
        if config.pretrained and not timm.is_model_pretrained(name):
            raise BadValue(f"{name}: timm has no weights for it. Leave backbone.pretrained out.")
        if config.pretrained and config.stem == "small":
            raise BadValue(f"{name}: timm's weights are for the standard stem. Leave backbone.stem out.")
        _, side = measure_model(name, _stem(config), channels, image_size)
        if config.stem == "auto" and side is not None and side < MIN_MAP:
            raise Unsupported(
                f"{name} shrinks {image_size} px to a last map of {side}x{side}. Set a larger "
                "--image-size, or backbone.stem=standard to have it all the same."
            )
        if config.pretrained:
            download(name)
        if config.weights is not None:
            net = build_meta_model(name, _stem(config), channels, image_size)
            state, _ = read_weights(name, config.weights, net)
            compare_weights(state, net.state_dict(), config.weights, _describe(name, config, image_size))

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        """Return what a model without memory says of itself.

        Raises:
            BadValue: timm has no model of this name.
            Unsupported: the model does not run on images of this size.
        """
        return describe_model(name, _stem(config), channels, image_size)

    @classmethod
    def without_weights(cls, config: Any) -> Any:
        """Return settings with the stem that the weights are for, and no weights."""
        return replace(config, stem=_stem(config), pretrained=False, weights=None)

    def in_library(self, library: str) -> ForeignModel:
        """Return timm's arguments for this network, or torchvision's, and what its stem changes."""
        name, config, channels, image_size = self.built_for
        return describe_in(library, name, _stem(config), channels, image_size)

    @classmethod
    def notes(cls, name: str, config: Any, channels: int, image_size: int) -> tuple[str, ...]:
        """Return which patches it has where they are not its own, and what was taken of a file of weights."""
        net = build_meta_model(name, _stem(config), channels, image_size)
        said = describe_patches(name, net, image_size)
        if config.weights is not None:
            said += read_weights(name, config.weights, net)[1]
        return tuple(said)

    @classmethod
    def normalisation(cls, name: str, config: Any, channels: int) -> Normalisation | None:
        """Return what timm says of its own weights, or a file of the weights in it."""
        found = None
        if config.pretrained:
            found = known_normalisation(name)
        elif config.weights is not None:
            found = read_normalisation(config.weights)
        return found and found.match_channels(channels)

    @classmethod
    def check_size(cls, name: str, config: Any, channels: int, image_size: int, size: int) -> None:
        """Pass images of another size through the model without memory, and look at its last map."""
        _, side = measure_model(name, _stem(config), channels, image_size, size)
        if config.stem == "auto" and side is not None and side < MIN_MAP:
            raise Unsupported(
                f"{name}, built for {image_size} px, shrinks {size} px to a last map of {side}x{side}. "
                "Set larger views, or backbone.stem=standard to have it all the same."
            )

    def tokens(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """Return the normalised tokens of the last block, of a vision transformer."""
        if not has_tokens(self.net):
            return super().tokens(images, keep)
        return encode_tokens(self.net, images, keep)

    def blocks(self, images: Tensor, count: int) -> tuple[Tensor | Tokens, ...]:
        """Return the outputs of the last blocks of a transformer, or of the last stages of another model."""
        return read_blocks(self.net, images, count)

    def parameter_layers(self) -> dict[str, int] | None:
        """Return the depth of each parameter, as timm's `group_matcher` has it."""
        matcher: Any = getattr(self.net, "group_matcher", None)
        if matcher is None:
            return None
        layers = group_parameters(self.net, matcher(coarse=False), reverse=True)
        return {f"net.{name}": int(layer) for name, layer in layers.items()}


def _stem(config: Timm.Config) -> str:
    """Return `config.stem`, or the standard one where the weights are for it."""
    return "standard" if config.stem == "auto" and config.pretrained else config.stem


def _describe(name: str, config: Timm.Config, image_size: int) -> str:
    return f"{name} on {image_size} px with stem={config.stem}"
