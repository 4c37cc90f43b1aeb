"""Build a timm model for images of a size, and see without memory what it makes of them.

The stem for small images is SimCLR's, appendix B.9: `small_stem` in place of the 7x7 convolution of stride 2,
and no max-pool.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import timm
import timm.models
import torch
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn

from bench.api import BadValue, Unsupported, small_stem, suggest

SMALL = 64  # pixels up to which `stem=auto` is the small one
MIN_TOKENS = 8  # a side, of a vision transformer
MOST_TOKENS = 32  # a side, where patches are made smaller than a model's own
FAR = 4  # tokens that a change of the side is worth: a quarter of it doubles their number
MANY = 4  # times the tokens that a model is made for are worth a warning
CANNOT = (ArithmeticError, AssertionError, RuntimeError, ValueError)  # what timm raises for a size
CONVNEXT_STRIDE = 8  # of the three downsamplings behind a ConvNeXt's stem


def build_model(
    name: str, stem: str, channels: int, image_size: int, *, pretrained: bool = False
) -> nn.Module:
    """Return the timm model for images of this size, without its classifier.

    Args:
        name: timm's.
        stem: `auto`, `standard` or `small`.
        channels: of the images.
        image_size: side of the images.
        pretrained: with timm's weights.

    Raises:
        BadValue: timm has no model of this name, or its family no small stem.
        Unsupported: timm cannot build it for this size.
    """
    options = size_options(name, stem, image_size)
    try:
        net: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=0, in_chans=channels, **options
        )
    except CANNOT as error:
        raise Unsupported(f"{name} cannot be built for {image_size} px: {first_line(error)}.") from error
    if is_small(stem, image_size) and "patch_size" not in options:
        known = _use_small_stem(net)
        if not known and stem == "small":
            raise BadValue(f"{name}: backbone.stem=small is not known for its family. Use stem=standard.")
    return net


def build_meta_model(name: str, stem: str, channels: int, image_size: int) -> nn.Module:
    """Return `build_model`'s model in eval mode, with shapes but no memory."""
    with torch.device("meta"):
        return build_model(name, stem, channels, image_size).eval()


@functools.cache
def measure_model(
    name: str, stem: str, channels: int, image_size: int, size: int | None = None
) -> tuple[int, int | None]:
    """Return the features' dimension and the side of the last feature map, by a pass without memory.

    The side is that of the grid of patches where the last features are tokens, None where it is not known.

    Args:
        name: as of `build_model`.
        stem: as of `build_model`.
        channels: as of `build_model`.
        image_size: that the model is built for.
        size: of the images that are passed; None is `image_size`.

    Raises:
        Unsupported: the model does not run on images of this size.
    """
    side = image_size if size is None else size
    net = build_meta_model(name, stem, channels, image_size)
    forward_features: Callable[[Tensor], Any] = net.forward_features  # type: ignore[assignment]
    images = torch.empty(2, channels, side, side, device="meta")
    try:
        with torch.no_grad():
            maps, features = forward_features(images), net(images)
    except CANNOT as error:
        built = f", built for {image_size} px," if side != image_size else ""
        reason = f"{name}{built} does not run on {side} px: {first_line(error)}."
        raise Unsupported(reason + _name_fitting_side(net, side)) from error
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise Unsupported(f"{name} does not pool its features to a vector an image. Use another backbone.")
    return features.shape[1], _map_side(net, maps, side)


def _name_fitting_side(net: nn.Module, side: int) -> str:
    """Return the side nearest to one that a model's patches do not tile, as the end of an error."""
    embed = find_patch_embed(net)
    patch = embed.patch_size[0] if embed is not None else 1
    return (
        f" Its patches of {patch} px tile {max(1, round(side / patch)) * patch} px." if side % patch else ""
    )


def find_patch_embed(net: nn.Module) -> PatchEmbed | None:
    """Return the layer that cuts images into patches, None if there is none."""
    layers = (getattr(net, "patch_embed", None), getattr(net, "stem", None))
    return next((layer for layer in layers if isinstance(layer, PatchEmbed)), None)


def first_line(error: BaseException) -> str:
    """Return the first line of an error without its full stop, or the name of its class."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def is_small(stem: str, image_size: int) -> bool:
    """Tell whether a stem is the one for small images."""
    return stem == "small" or (stem == "auto" and image_size <= SMALL)


@functools.cache
def _native_model(name: str) -> nn.Module:
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


def size_options(name: str, stem: str, image_size: int) -> dict[str, Any]:
    """Return timm's options for the sizes of the image and, on small images, of a patch."""
    net = _native_model(name)
    options: dict[str, Any] = {}
    if "img_size" in inspect.signature(type(net)).parameters:
        options["img_size"] = image_size
    embed, stem_layers = find_patch_embed(net), getattr(net, "stem", None)
    if type(net) is timm.models.VisionTransformer and embed is not None:
        options["dynamic_img_size"] = True  # interpolates positions for views of other sizes, and only there
    if embed is not None and stem != "standard" and _takes_patch(name):
        options["patch_size"] = _fit_patch(name, embed, image_size)
    conv = stem_layers[0] if isinstance(stem_layers, nn.Sequential) else None
    if isinstance(net, timm.models.ConvNeXt) and isinstance(conv, nn.Conv2d) and is_small(stem, image_size):
        options["patch_size"] = min(conv.stride[0], max(1, image_size // (4 * CONVNEXT_STRIDE)))
    return options


def _fit_patch(name: str, embed: PatchEmbed, image_size: int) -> int:
    """Return the largest patch that tiles the image in at least 8x8 tokens, at most the model's own.

    At its own image size and above, a model keeps its own patch, however few tokens that leaves.

    Raises:
        Unsupported: only patches so small tile the image that there are more tokens than a model is made for.
    """
    patch = _largest_patch(embed, image_size)
    most = max(MOST_TOKENS, *embed.grid_size) if embed.grid_size else MOST_TOKENS
    if patch == embed.patch_size[0] or image_size // patch <= most:
        return patch
    reach = max(embed.patch_size[0] // 2, MIN_TOKENS)
    sides = range(max(MIN_TOKENS, image_size - reach), image_size + reach + 1)
    near = min(sides, key=lambda side: _rate_side(embed, side, image_size))
    fitting = _largest_patch(embed, near)
    raise Unsupported(
        f"{name}: {image_size} px can be tiled with patches of {patch} px alone, which are "
        f"{(image_size // patch) ** 2:,} tokens. Set --image-size {near}: patches of {fitting} px, "
        f"{(near // fitting) ** 2:,} tokens."
    )


def _rate_side(embed: PatchEmbed, side: int, image_size: int) -> float:
    """Return the tokens a side, more where it is far from the images' own."""
    return side // _largest_patch(embed, side) * (1 + FAR * abs(side - image_size) / image_size)


def _largest_patch(embed: PatchEmbed, image_size: int) -> int:
    """Return the patch of `_fit_patch`, however many tokens that makes."""
    own: int = embed.patch_size[0]
    divisors = [patch for patch in range(1, own + 1) if image_size % patch == 0]
    if embed.img_size is not None and image_size >= embed.img_size[0] and own in divisors:
        return own
    return max((patch for patch in divisors if image_size // patch >= MIN_TOKENS), default=1)


def describe_patches(name: str, net: nn.Module, image_size: int) -> list[str]:
    """Return what a user should know of a model's patches: that they are not its own, or very many."""
    embed, own = find_patch_embed(net), find_patch_embed(_native_model(name))
    if embed is None or own is None or embed.grid_size is None or own.grid_size is None:
        return []
    side, tokens = embed.patch_size[0], math.prod(embed.grid_size)
    said = []
    if side != own.patch_size[0]:
        grid = "x".join(map(str, embed.grid_size))
        said.append(
            f"{name}: on {image_size} px its patches are {side}x{side} px, {grid} tokens; its own are "
            f"{own.patch_size[0]} px."
        )
    if tokens > max(MOST_TOKENS**2, MANY * math.prod(own.grid_size)):
        times = tokens / math.prod(own.grid_size)
        said.append(
            f"{name}: {image_size} px are {tokens:,} tokens an image, {times:.0f} times as many as it is "
            "made for. See with --dry-run what that costs, or set a smaller --image-size."
        )
    return said


def _use_small_stem(net: nn.Module) -> bool:
    """Give a ResNet-like or EfficientNet-like network a stem of stride 1, in place, if it is one."""
    resnet = isinstance(net, timm.models.ResNet)
    first: Any = getattr(net, "conv1" if resnet else "conv_stem", None)
    if resnet:
        net.add_module("maxpool", nn.Identity())
    if resnet and isinstance(first, nn.Conv2d):
        net.add_module("conv1", small_stem(first))
        return True
    conv = first[0] if resnet else first  # the deep stem of a ResNet-D is 3x3 convolutions already
    if isinstance(conv, nn.Conv2d):
        conv.stride = (1, 1)
    return isinstance(conv, nn.Conv2d)


def _map_side(net: nn.Module, maps: Any, size: int) -> int | None:
    """Return the side of a model's last features: maps (n, c, h, w) or (n, h, w, c), or tokens."""
    if isinstance(maps, Tensor) and maps.ndim == 4:
        channels_first = maps.shape[1] == getattr(net, "num_features", maps.shape[1])
        return min(maps.shape[2:] if channels_first else maps.shape[1:3])
    embed = find_patch_embed(net)
    if embed is None or embed.grid_size is None:
        return None
    return min(embed.dynamic_feat_size((size, size)))
