"""Say how timm, or torchvision, builds the network of a backbone: with its sizes and its stem."""

from __future__ import annotations

import timm.models
import torch
import torchvision
from torch import nn

from bench.api import ForeignModel, Unsupported

from .timm_shapes import build_meta_model, is_small, size_options

PREFIX = "net."


def describe_in(library: str, name: str, stem: str, channels: int, image_size: int) -> ForeignModel:
    """Return how a library builds a model for images of a size.

    Args:
        library: `timm` or `torchvision`.
        name: timm's.
        stem: as of `build_model`.
        channels: as of `build_model`.
        image_size: as of `build_model`.

    Raises:
        Unsupported: torchvision has no network of this name with the same tensors.
    """
    net = build_meta_model(name, stem, channels, image_size)
    options = size_options(name, stem, image_size)
    changes = _list_stem_changes(net) if is_small(stem, image_size) and "patch_size" not in options else []
    if library == "timm":
        arguments = {"in_chans": channels, "num_classes": 0, **options}
        return ForeignModel(name=name, arguments=arguments, changes=tuple(changes), prefix=PREFIX)
    return _describe_in_torchvision(name, net, channels, changes)


def _list_stem_changes(net: nn.Module) -> list[str]:
    """Return what `timm_shapes` changed of a network whose stem is small, as Python."""
    if isinstance(net, timm.models.ResNet):
        first = net.conv1
        if isinstance(first, nn.Conv2d):
            sizes = f"{first.in_channels}, {first.out_channels}"
            return [
                "model.maxpool = torch.nn.Identity()",
                f"model.conv1 = torch.nn.Conv2d({sizes}, 3, 1, 1, bias=False)",
            ]
        return ["model.maxpool = torch.nn.Identity()", "model.conv1[0].stride = (1, 1)"]
    return (
        ["model.conv_stem.stride = (1, 1)"] if isinstance(getattr(net, "conv_stem", None), nn.Conv2d) else []
    )


def _describe_in_torchvision(name: str, net: nn.Module, channels: int, changes: list[str]) -> ForeignModel:
    unsupported = Unsupported(
        f"{name}: torchvision has no network of this name with the same tensors. Use --to timm, safetensors, "
        "torchscript or onnx."
    )
    if name not in torchvision.models.list_models(torchvision.models):
        raise unsupported
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None)
    if not isinstance(getattr(model, "fc", None), nn.Linear) or not isinstance(model.conv1, nn.Conv2d):
        raise unsupported
    lines = ["model.fc = torch.nn.Identity()", *changes]
    if channels != model.conv1.in_channels and not changes:
        lines.append(
            f"model.conv1 = torch.nn.Conv2d({channels}, {model.conv1.out_channels}, 7, 2, 3, bias=False)"
        )
    known = {key for key in model.state_dict() if not key.startswith("fc.")}
    if known != net.state_dict().keys():
        raise unsupported
    return ForeignModel(name=name, arguments={"weights": None}, changes=tuple(lines), prefix=PREFIX)
