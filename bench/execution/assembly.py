"""A cell's network, method and training as they stand before the first step."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.contracts.backbone import Backbone
from bench.contracts.dataset import DatasetInfo
from bench.contracts.method import Method
from bench.keys import seed_of
from bench.planning.cells import Cell
from bench.pretraining.channel_statistics import ChannelStatistics
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry


def build_backbone(cell: Cell, registry: Registry, channels: int) -> Backbone:
    """Return the backbone of a cell as it is initialised, from the random state as it stands."""
    cls = registry.load_class("backbones", cell.backbone.name)
    backbone: Backbone = cls(cell.backbone.name, cell.backbone.config, channels, cell.image_size)
    return backbone


def build_method(cell: Cell, registry: Registry, info: DatasetInfo) -> Method:
    """Return the method of a cell around a fresh backbone, initialised from the cell's seed."""
    torch.manual_seed(seed_of(cell.seed, "init"))
    backbone = build_backbone(cell, registry, info.channels)
    cls = registry.load_class("methods", cell.method.name)
    method: Method = cls(backbone, backbone.dim, cell.method.config, info)
    return method


def build_training_run(
    cell: Cell, statistics: ChannelStatistics, device: torch.device, folder: Path
) -> TrainingRun:
    """Return what the training loop is told of a cell that trains.

    Args:
        cell: whose `training` is not none.
        statistics: of the training data.
        device: where to train.
        folder: for metrics and checkpoints.
    """
    assert cell.training is not None  # noqa: S101
    return TrainingRun(
        what=cell.training_title,
        training=cell.training,
        views=cell.views,
        mean=statistics[0],
        std=statistics[1],
        seed=cell.seed,
        device=device,
        folder=folder,
    )
