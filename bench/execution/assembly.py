"""A cell's network, method and training as they stand before the first step."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.contracts.dataset import Backbone, DatasetInfo, Images, Method
from bench.keys import seed_of
from bench.planning.cells import Cell
from bench.pretraining.loop import Run
from bench.registry.registry import Registry

MEASURED = 1_000  # images at a time: they may be in a file that is larger than memory
Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation, a value a channel


def fresh_backbone(cell: Cell, registry: Registry, channels: int) -> Backbone:
    """Return the backbone of a cell as it is initialised, from the random state as it stands."""
    cls = registry.load_class("backbones", cell.backbone.name)
    backbone: Backbone = cls(cell.backbone.name, cell.backbone.config, channels, cell.image_size)
    return backbone


def fresh_method(cell: Cell, registry: Registry, info: DatasetInfo) -> Method:
    """Return the method of a cell around a fresh backbone, initialised from the cell's seed."""
    torch.manual_seed(seed_of(cell.seed, "init"))
    backbone = fresh_backbone(cell, registry, info.channels)
    cls = registry.load_class("methods", cell.method.name)
    method: Method = cls(backbone, backbone.dim, cell.method.config, info)
    return method


def run_of(cell: Cell, statistics: Statistics, device: torch.device, folder: Path) -> Run:
    """Return what the training loop is told of a cell that trains.

    Args:
        cell: whose `training` is not none.
        statistics: of the training data.
        device: where to train.
        folder: for metrics and checkpoints.
    """
    assert cell.training is not None  # noqa: S101
    return Run(
        what=cell.trained,
        training=cell.training,
        views=cell.views,
        mean=statistics[0],
        std=statistics[1],
        seed=cell.seed,
        device=device,
        folder=folder,
    )


def measured(images: Images) -> Statistics:
    """Return the mean and the standard deviation of each channel, in [0, 1], exactly."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.zeros(images.pixels.shape[1], 256, dtype=torch.int64)
    for part in images.pixels.split(MEASURED):
        for channel, count in zip(part.unbind(1), counts, strict=True):
            count.add_(torch.bincount(channel.flatten(), minlength=256))
    mean, std = [], []
    for count in counts:
        share = count.double() / count.sum()
        centre = float((share * values).sum())
        mean.append(centre)
        std.append(max(1 / 255, float((share * (values - centre) ** 2).sum().sqrt())))
    return tuple(mean), tuple(std)
