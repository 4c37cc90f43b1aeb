"""Every image model of timm by its own name, with a stem that suits small images.

Source: timm (Wightman 2019); the stem for small images is SimCLR's, appendix B.9: a 3x3 convolution
of stride 1 and padding 1 in place of the 7x7 one of stride 2, and no max-pool.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import timm.layers
import timm.models
import torch
from torch import Tensor, nn

from bench.api import Backbone, BadValue, Unsupported, setting

SMALL = 64  # pixels up to which `stem=auto` is the small one
MIN_TOKENS = 8  # a side, of a vision transformer
MIN_MAP = 2  # pixels a side, of the last feature map
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
        pretrained: bool = setting(False, "start from timm's ImageNet weights, downloaded on first use")
        weights: str | None = setting(None, "start from this local checkpoint, strictly", file=True)

    reference = "Wightman 2019, PyTorch Image Models, doi:10.5281/zenodo.4414861"

    def __init__(self, name: str, config: Config, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        self.net = create(name, config, channels, image_size)
        self.dim = probe(name, config, channels, image_size)[0]
        if config.weights is not None:
            self.net.load_state_dict(read_weights(name, config.weights))

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
        _, side = probe(name, config, channels, image_size)
        if config.stem == "auto" and side is not None and side < MIN_MAP:
            raise Unsupported(
                f"{name} shrinks {image_size} px to a last map of {side}x{side}. Set a larger "
                "--image-size, or backbone.stem=standard to have it all the same."
            )
        if config.weights is not None:
            _compare_weights(name, config, channels, image_size)


def create(name: str, config: Timm.Config, channels: int, image_size: int) -> nn.Module:
    """Return the timm model for images of this size.

    Raises:
        Unsupported: timm cannot build it for this size.
    """
    sizes = _sizes(name, image_size)
    small = config.stem == "small" or (
        config.stem == "auto" and image_size <= SMALL and not config.pretrained
    )
    if not small:
        sizes.pop("patch_size", None)
    try:
        net: nn.Module = timm.create_model(
            name, pretrained=config.pretrained, num_classes=0, in_chans=channels, **sizes
        )
    except (AssertionError, RuntimeError, ValueError) as error:
        raise Unsupported(f"{name} cannot be built for {image_size} px: {_line(error)}.") from error
    if small and "patch_size" not in sizes:
        _use_small_stem(name, net, required=config.stem == "small")
    return net


@functools.lru_cache(maxsize=None)
def _shape_of(name: str) -> nn.Module:
    """Return the model as timm has it, without memory, to see what it is made of."""
    with torch.device("meta"):
        net: nn.Module = timm.create_model(name, num_classes=0)
    return net


def _sizes(name: str, image_size: int) -> dict[str, int]:
    """Return the sizes this model's family is told: of the image, and of a patch on small images."""
    net = _shape_of(name)
    embed, stem = getattr(net, "patch_embed", None), getattr(net, "stem", None)
    if isinstance(embed, timm.layers.PatchEmbed):
        own = embed.patch_size[0]
        fitting = [p for p in range(1, own + 1) if image_size % p == 0 and image_size // p >= MIN_TOKENS]
        return {"img_size": image_size, "patch_size": max(fitting, default=1)}
    first = stem[0] if isinstance(stem, nn.Sequential) else None
    if isinstance(net, timm.models.ConvNeXt) and isinstance(first, nn.Conv2d):
        return {"patch_size": min(first.stride[0], max(1, image_size // (4 * CONVNEXT_STRIDE)))}
    return {"img_size": image_size} if embed is not None else {}


def _use_small_stem(name: str, net: nn.Module, *, required: bool) -> None:
    """Give a ResNet-like or EfficientNet-like network a stem of stride 1, in place."""
    first = getattr(net, "conv1", None)
    if isinstance(net, timm.models.ResNet) and isinstance(first, nn.Conv2d):
        net.conv1 = nn.Conv2d(first.in_channels, first.out_channels, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        net.maxpool = nn.Identity()
    elif isinstance(net, timm.models.ResNet) and isinstance(first, nn.Sequential):
        first[0].stride = (1, 1)
        net.maxpool = nn.Identity()
    elif isinstance(getattr(net, "conv_stem", None), nn.Conv2d):
        net.conv_stem.stride = (1, 1)
    elif required:
        raise BadValue(f"{name}: backbone.stem=small is not known for its family. Use stem=standard.")


@functools.lru_cache(maxsize=None)
def probe(name: str, config: Timm.Config, channels: int, image_size: int) -> tuple[int, int | None]:
    """Return the features' dimension and the side of the last feature map, by a pass without memory.

    The side is none where the last features are tokens.
    """
    plain = Timm.Config(stem=_resolved_stem(config, image_size))
    with torch.device("meta"), torch.no_grad():
        net = create(name, plain, channels, image_size).eval()
        images = torch.empty(2, channels, image_size, image_size)
        try:
            maps = net.forward_features(images)
            dim = net(images).shape[1]
        except (RuntimeError, AssertionError, ValueError) as error:
            raise Unsupported(f"{name} does not run on {image_size} px: {_line(error)}.") from error
    if maps.ndim != 4:  # noqa: PLR2004
        return dim, None
    channels_first = maps.shape[1] == getattr(net, "num_features", maps.shape[1])
    return dim, min(maps.shape[2:] if channels_first else maps.shape[1:3])


def _resolved_stem(config: Timm.Config, image_size: int) -> str:
    """Return `config.stem` with what pretrained weights ask of it."""
    if config.stem == "auto" and (config.pretrained or image_size > SMALL):
        return "standard"
    return config.stem


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


def _compare_weights(name: str, config: Timm.Config, channels: int, image_size: int) -> None:
    """Refuse a checkpoint that lacks a tensor, has one too many, or one of another shape."""
    with torch.device("meta"):
        wanted = create(name, config, channels, image_size).state_dict()
    found = read_weights(name, config.weights or "")
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    shapes = [k for k in wanted.keys() & found.keys() if wanted[k].shape != found[k].shape]
    wrong = {"lacks": missing, "has in addition": extra, "has in another shape": sorted(shapes)}
    said = [f"{what} {_some(keys)}" for what, keys in wrong.items() if keys]
    if said:
        path = Path(config.weights or "").name
        raise BadValue(
            f"{path}: not the weights of {name} on {image_size} px with stem={config.stem}: it "
            f"{'; it '.join(said)}. Set backbone.stem or --backbone as it was trained."
        )


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""  # noqa: PLR2004
    return ", ".join(keys[:3]) + more


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
