"""A frozen backbone and a split: one clean pass, and the features of every image in order."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bench.contract import Images
from bench.evaluation import Features
from bench.views import match_channels, normalise, resize

CHUNK_PIXELS = 1 << 20  # of images at the backbone's resolution, a pass: 1,024 of 32 px, 20 of 224 px
CPU_SHARE = 4  # a processor is faster by a tenth on a quarter of that, which stays nearer its caches
FILE = "features.safetensors"


def extract(
    backbone: nn.Module,
    images: Images,
    *,
    image_size: int,
    channels: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
) -> Features:
    """Return the features of every image, without augmentation, in float32.

    The backbone is in eval mode and is left as it was found: the statistics of its norms are used,
    not updated.

    Args:
        backbone: on `device`; maps (n, channels, image_size, image_size) to (n, dim).
        images: any size and channels; resized, grey repeated.
        image_size: that the backbone was trained at.
        channels: that the backbone was trained on.
        mean: of the data it was trained on, a value a channel.
        std: of the data it was trained on, a value a channel.
        device: where to compute.
    """
    rows = torch.empty(0)
    chunk = max(1, CHUNK_PIXELS // image_size**2 // (CPU_SHARE if device.type == "cpu" else 1))
    training = backbone.training
    backbone.eval()
    for start in range(0, len(images.pixels), chunk):
        part = images.pixels[start : start + chunk].to(device)
        with torch.inference_mode():
            found = backbone(normalise(match_channels(resize(part, image_size), channels), mean, std))
        if not start:  # joined at the end they would be held twice
            rows = torch.empty(len(images.pixels), found.shape[1])
        rows[start : start + chunk] = found
    backbone.train(training)
    return Features(rows, images.labels.cpu())


def save(features: Features, folder: Path) -> None:
    """Write features into an artifact's folder."""
    save_file({"x": features.x.contiguous(), "y": features.y.contiguous()}, folder / FILE)


def load(folder: Path) -> Features:
    """Read features from an artifact's folder."""
    tensors = load_file(folder / FILE)
    return Features(tensors["x"], tensors["y"])
