"""Every image model of timm by its own name, with a stem that suits small images.

Source: timm (Wightman 2019); the stem for small images is SimCLR's, appendix B.9: a 3x3 convolution
of stride 1 and padding 1 in place of the 7x7 one of stride 2, and no max-pool.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import timm.models
import torch
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn

from bench.api import Backbone, BadValue, Unsupported, setting, suggest

SMALL = 64  # pixels up to which `stem=auto` is the small one
MIN_TOKENS = 8  # a side, of a vision transformer
MIN_MAP = 2  # pixels a side, of the last feature map
COUNTER = "num_batches_tracked"  # of a batch norm; not in files of before 2018, and in no feature
CANNOT = (ArithmeticError, AssertionError, RuntimeError, ValueError)  # what timm raises for a size
CONVNEXT_STRIDE = 8  # of the three downsamplings behind a ConvNeXt's stem


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
        self.net = create(name, config, channels, image_size)
        self.dim = probe(name, _stem(config), channels, image_size)[0]
        if config.weights is not None:
            state = read_weights(name, config.weights)
            compare_weights(state, self.net.state_dict(), f"{name} on {image_size} px", config)
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
        _, side = probe(name, _stem(config), channels, image_size)
        if config.stem == "auto" and side is not None and side < MIN_MAP:
            raise Unsupported(
                f"{name} shrinks {image_size} px to a last map of {side}x{side}. Set a larger "
                "--image-size, or backbone.stem=standard to have it all the same."
            )
        if config.pretrained:
            download(name)
        if config.weights is not None:
            with torch.device("meta"):
                wanted = create(name, config, channels, image_size).state_dict()
            compare_weights(read_weights(name, config.weights), wanted, f"{name} on {image_size} px", config)


@functools.cache
def download(name: str) -> None:
    """Bring timm's weights of a model into its cache, where training finds them.

    Raises:
        BadValue: they cannot be had.
    """
    try:
        timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:
        raise BadValue(
            f"{name}: timm's weights cannot be downloaded ({_line(error)}). Connect to the internet, or "
            "set backbone.weights=FILE."
        ) from error


def create(name: str, config: Timm.Config, channels: int, image_size: int) -> nn.Module:
    """Return the timm model for images of this size.

    Raises:
        BadValue: timm has no model of this name, or its family no small stem.
        Unsupported: timm cannot build it for this size.
    """
    stem = _stem(config)
    sizes = _sizes(name, stem, image_size)
    try:
        net: nn.Module = timm.create_model(
            name, pretrained=config.pretrained, num_classes=0, in_chans=channels, **sizes
        )
    except CANNOT as error:
        raise Unsupported(f"{name} cannot be built for {image_size} px: {_line(error)}.") from error
    if _is_small(stem, image_size) and "patch_size" not in sizes:
        known = _use_small_stem(net)
        if not known and stem == "small":
            raise BadValue(f"{name}: backbone.stem=small is not known for its family. Use stem=standard.")
    return net


def _stem(config: Timm.Config) -> str:
    """Return `config.stem` with what pretrained weights ask of it."""
    return "standard" if config.stem == "auto" and config.pretrained else config.stem


def _is_small(stem: str, image_size: int) -> bool:
    return stem == "small" or (stem == "auto" and image_size <= SMALL)


@functools.cache
def _shape_of(name: str) -> nn.Module:
    """Return the model as timm has it, without memory, to see what it is made of."""
    if not timm.is_model(name):
        raise BadValue(f"timm: it has no model named {name!r}.{suggest(name, timm.list_models())}")
    with torch.device("meta"):
        net: nn.Module = timm.create_model(name, num_classes=0)
    return net


@functools.cache
def _takes_patch(name: str) -> bool:
    """Tell whether a patch size can be set: timm's mixers, for one, have theirs in their name."""
    try:
        with torch.device("meta"):
            timm.create_model(name, num_classes=0, patch_size=MIN_TOKENS)
    except TypeError:
        return False
    return True


def _embed(net: nn.Module) -> PatchEmbed | None:
    """Return the layer that cuts images in patches, if there is one."""
    layers = (getattr(net, "patch_embed", None), getattr(net, "stem", None))
    return next((layer for layer in layers if isinstance(layer, PatchEmbed)), None)


def _sizes(name: str, stem: str, image_size: int) -> dict[str, Any]:
    """Return the sizes this model's family is told: of the image, and of a patch on small images."""
    net = _shape_of(name)
    takes_image = "img_size" in inspect.signature(type(net)).parameters
    sizes = {"img_size": image_size} if takes_image else {}
    embed, first = _embed(net), getattr(net, "stem", None)
    if embed is not None and stem != "standard" and _takes_patch(name):
        sizes["patch_size"] = _patch(embed, image_size)
    conv = first[0] if isinstance(first, nn.Sequential) else None
    if isinstance(net, timm.models.ConvNeXt) and isinstance(conv, nn.Conv2d) and _is_small(stem, image_size):
        sizes["patch_size"] = min(conv.stride[0], max(1, image_size // (4 * CONVNEXT_STRIDE)))
    return sizes


def _patch(embed: PatchEmbed, image_size: int) -> int:
    """Return the largest patch that tiles the image in at least 8x8 tokens, at most the model's own.

    At its own image size and above, a model keeps its own patch, however few tokens that leaves.
    """
    own: int = embed.patch_size[0]
    fits = [p for p in range(1, own + 1) if image_size % p == 0]
    if embed.img_size is not None and image_size >= embed.img_size[0] and own in fits:
        return own
    return max((p for p in fits if image_size // p >= MIN_TOKENS), default=1)


def _use_small_stem(net: nn.Module) -> bool:
    """Give a ResNet-like or EfficientNet-like network a stem of stride 1, in place, if it is one."""
    resnet = isinstance(net, timm.models.ResNet)
    first: Any = getattr(net, "conv1" if resnet else "conv_stem", None)
    if resnet:
        net.add_module("maxpool", nn.Identity())
    if resnet and isinstance(first, nn.Conv2d):
        conv = nn.Conv2d(first.in_channels, first.out_channels, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        net.add_module("conv1", conv)
        return True
    conv = first[0] if resnet else first  # the deep stem of a ResNet-D is 3x3 convolutions already
    if isinstance(conv, nn.Conv2d):
        conv.stride = (1, 1)
    return isinstance(conv, nn.Conv2d)


@functools.cache
def probe(name: str, stem: str, channels: int, image_size: int) -> tuple[int, int | None]:
    """Return the features' dimension and the side of the last feature map, by a pass without memory.

    The side is that of the grid of patches where the last features are tokens, if it is known.

    Raises:
        Unsupported: the model does not run on images of this size.
    """
    with torch.device("meta"), torch.no_grad():
        net = create(name, Timm.Config(stem=stem), channels, image_size).eval()
        forward_features: Callable[[Tensor], Any] = net.forward_features  # type: ignore[assignment]
        images = torch.empty(2, channels, image_size, image_size)
        try:
            maps, h = forward_features(images), net(images)
        except CANNOT as error:
            raise Unsupported(f"{name} does not run on {image_size} px: {_line(error)}.") from error
    if not isinstance(h, Tensor) or h.ndim != 2:
        raise Unsupported(f"{name} does not pool its features to a vector an image. Use another backbone.")
    return h.shape[1], _side(net, maps)


def _side(net: nn.Module, maps: Any) -> int | None:
    """Return the side of a model's last features: maps (n, c, h, w) or (n, h, w, c), or tokens."""
    if isinstance(maps, Tensor) and maps.ndim == 4:
        channels_first = maps.shape[1] == getattr(net, "num_features", maps.shape[1])
        return min(maps.shape[2:] if channels_first else maps.shape[1:3])
    embed = _embed(net)
    return min(embed.grid_size) if embed is not None and embed.grid_size is not None else None


def read_weights(name: str, path: str) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under timm's own names, without the classifier we do not build.

    Raises:
        BadValue: the file is not a checkpoint.
    """
    try:
        state = timm.models.load_state_dict(path, device="cpu", weights_only=True)
    except Exception as error:
        raise BadValue(f"{path}: not a checkpoint that can be read ({_line(error)}).") from error
    if state and all(key.startswith("net.") for key in state):  # a backbone this harness saved
        state = {key.removeprefix("net."): value for key, value in state.items()}
    heads = timm.get_pretrained_cfg_value(name, "classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    return {k: v for k, v in state.items() if not k.startswith(tuple(f"{h}." for h in heads))}


def compare_weights(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str, config: Timm.Config
) -> None:
    """Refuse a checkpoint that lacks a tensor, has one too many, or one of another shape.

    Args:
        found: the checkpoint's tensors.
        wanted: the model's.
        what: the model and its image size, for the error.
        config: of the model.

    Raises:
        BadValue: they differ; the error names the tensors.
    """
    missing = sorted(k for k in wanted.keys() - found.keys() if not k.endswith(COUNTER))
    extra = sorted(found.keys() - wanted.keys())
    shapes = sorted(k for k in wanted.keys() & found.keys() if wanted[k].shape != found[k].shape)
    wrong = {"lacks": missing, "has in addition": extra, "has in another shape": shapes}
    said = [f"{verb} {_some(keys)}" for verb, keys in wrong.items() if keys]
    if said:
        raise BadValue(
            f"{Path(config.weights or '').name}: not the weights of {what} with stem={config.stem}: it "
            f"{'; it '.join(said)}. Set backbone.stem or --backbone as it was trained."
        )


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
