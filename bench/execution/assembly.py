"""A cell's network, method and training as they stand before the first step."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bench.contracts.backbone import Backbone
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Method
from bench.errors import CellError
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
    """Return the method of a cell around a fresh backbone, initialised from the cell's seed.

    Args:
        cell: that is trained.
        registry: of plugins.
        info: of the data, with its number of `images`.
    """
    torch.manual_seed(seed_of(cell.seed, "init"))
    backbone = build_backbone(cell, registry, info.channels)
    cls = registry.load_class("methods", cell.method.name)
    method: Method = cls(backbone, backbone.dim, cell.method.config, info)
    return method


def build_training_run(
    cell: Cell, statistics: ChannelStatistics, device: torch.device, folder: Path
) -> TrainingRun:
    """Return what the training loop needs to know of a cell that trains.

    Args:
        cell: one whose `training` is not none.
        statistics: of the training data.
        device: where to train.
        folder: for metrics and checkpoints.
    """
    assert cell.training is not None  # noqa: S101
    return TrainingRun(
        what=cell.training_title,
        key=cell.keys.backbone,
        training=cell.training,
        views=cell.views,
        mean=statistics[0],
        std=statistics[1],
        seed=cell.seed,
        device=device,
        folder=folder,
    )


def exported_state(method: Method) -> dict[str, Tensor]:
    """Return the state of the network that a method exports, to be saved as the backbone.

    Raises:
        CellError: it is not built like the backbone, so that the backbone could not be restored from it.
    """
    backbone, exported = method.backbone.state_dict(), method.export().state_dict()
    where = f"{type(method).__name__}.export"
    advice = "Return a network built like self.backbone."
    for name in sorted(backbone.keys() ^ exported.keys()):
        lacks = "the backbone" if name in exported else "the exported network"
        raise CellError(f"{where}: {lacks} has no {name!r}. {advice}")
    for name, value in exported.items():
        shape, expected = tuple(value.shape), tuple(backbone[name].shape)
        if shape != expected:
            raise CellError(f"{where}: {name!r} has shape {shape}, the backbone's has {expected}. {advice}")
    return exported
