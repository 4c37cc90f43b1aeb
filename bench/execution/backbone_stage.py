"""The backbone of a cell: restored if it was trained before, otherwise trained and saved."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bench.contracts.backbone import Backbone
from bench.contracts.dataset import FileStream, Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Method
from bench.errors import one_line
from bench.execution.assembly import build_backbone, build_method, build_training_run, exported_state
from bench.execution.cost import forward_flops
from bench.execution.failures import StageFailed, in_stage
from bench.execution.image_cache import ImageCache
from bench.execution.observed_run import ObservedRun, describe_pretraining
from bench.execution.observers import VIEWS, Observers
from bench.execution.shown_training import ShownTraining
from bench.execution.team import Team
from bench.execution.training_views import draw_training_views
from bench.nn.tiny_maps import skip_padding
from bench.planning.cells import Cell
from bench.planning.failure_report import FailureReport
from bench.pretraining.channel_statistics import ChannelStatistics, measure_channels
from bench.pretraining.joined_splits import join_images, join_streams
from bench.pretraining.loop import pretrain
from bench.pretraining.online_knn import KnnSample, sample_for_knn
from bench.pretraining.training_run import TrainingCost, TrainingRun
from bench.registry.registry import Registry
from bench.splits.grouped import labelled_splits
from bench.splits.label_pool import labelled_rows, pooled_groups
from bench.storage.artifact_files import ABOUT, BACKBONE, read_about, write_json
from bench.storage.artifacts import ArtifactStore
from bench.storage.tensors import cpu_copies
from bench.system.arithmetic import float32_as
from bench.system.leaving import finishes
from bench.system.memory import forget_peak, peak_mb
from bench.system.ranks import Ranks
from bench.system.stage_watch import StageWatch

log = logging.getLogger("bench")


class BackboneStage:
    """Trains backbones and restores them; the last one stays in memory.

    Args:
        registry: of plugins.
        artifacts: where backbones are kept.
        images: to train on.
        device: where to compute.
        watch: over each training.
        observers: of each training.
        team: the processes that train together.
        live: this process has the terminal to itself, and may draw on it.
    """

    def __init__(
        self,
        registry: Registry,
        artifacts: ArtifactStore,
        images: ImageCache,
        device: torch.device,
        watch: StageWatch,
        observers: Observers,
        team: Team,
        *,
        live: bool = True,
    ) -> None:
        self.registry, self.artifacts, self.images = registry, artifacts, images
        self.device, self.watch, self.observers, self.live = device, watch, observers, live
        self.team = team
        self._restored: dict[str, Backbone] = {}
        self._failed: dict[str, FailureReport] = {}

    def get(self, cell: Cell) -> Backbone:
        """Return the trained backbone of a cell, frozen.

        Raises:
            StageFailed: it cannot be trained; one that failed in this run fails again at once.
        """
        key = cell.keys.backbone
        if key in self._failed:
            raise StageFailed(self._failed[key])
        if key not in self._restored:
            try:
                with in_stage("pretrain", cell), self.watch.entered("pretrain"), self.artifacts.locked(key):
                    if self.artifacts.find(key) is None:
                        with in_stage("pretrain", cell):  # what it changes is put back at once
                            self._make(cell)
                    self.read(cell)
            except StageFailed as failed:
                self._failed[key] = failed.report
                raise
        return self._restored[key]

    def read(self, cell: Cell) -> Backbone:
        """Return the trained backbone of a cell, of an artifact that is there and whole, frozen."""
        key = cell.keys.backbone
        if key not in self._restored:
            self._restored = {key: self.restore(cell)}
        return self._restored[key]

    def has(self, cell: Cell) -> bool:
        """Tell whether the backbone of a cell is there and whole."""
        key = cell.keys.backbone
        return key in self._restored or not self.artifacts.find_damage(key)

    def must_train(self, cell: Cell) -> bool:
        """Tell whether the backbone of a cell would have to be trained now."""
        key = cell.keys.backbone
        return not (key in self._failed or key in self._restored or self.artifacts.has(key))

    def about(self, cell: Cell) -> dict[str, Any]:
        """Return what the artifact of a trained backbone says of it."""
        return read_about(self.artifacts.folder / cell.keys.backbone)

    def _make(self, cell: Cell) -> None:
        """Build the backbone of a cell, train it if it is to be trained, and save it."""
        images = self.images.get(cell.dataset, cell.split)
        info = self._training_info(cell)
        statistics = choose_statistics(cell, info, images)
        method = build_method(cell, self.registry, info).to(self.device)
        exported_state(method)  # what cannot be saved is found before the training
        about = self._describe(cell, method.backbone, info.channels, statistics)
        with finishes(), self.artifacts.write(cell.keys.backbone) as folder:
            if cell.training is not None:
                run = build_training_run(cell, statistics, self.device, folder)
                run = replace(run, live=self.live, knn=self._knn_sample(cell))
                forget_peak(self.device)
                with self.team.sharing("pretrain", cell, statistics) as ranks:
                    about |= asdict(self._train(cell, method, images, replace(run, ranks=ranks)))
                about["peak_mb"] = peak_mb(self.device)
            # one entry: safetensors writes several in an order that is another in each process
            stated = {"normalisation": json.dumps({"mean": statistics[0], "std": statistics[1]})}
            save_file(cpu_copies(exported_state(method)), folder / BACKBONE, metadata=stated)
            write_json(folder / ABOUT, about)

    def _training_info(self, cell: Cell) -> DatasetInfo:
        """Return what the method of a cell is told of its data: what it was told when it was planned."""
        datasets = self.images.datasets
        if cell.training is None:
            info: DatasetInfo = datasets.open(cell.dataset).info
            return info
        return datasets.training_info(cell.dataset, uses_labels=cell.label_share > 0)

    def _open_source(self, cell: Cell, images: Images) -> Images | FileStream:
        """Return what a method is trained on; of one that uses labels, train and val as one pool.

        Args:
            cell: that is trained.
            images: of its split, which are not loaded twice.
        """
        dataset = self.images.datasets.open(cell.dataset)
        splits = labelled_splits(dataset.splits) if cell.label_share else (cell.split,)
        streams = [stream for split in splits if (stream := dataset.stream(split)) is not None]
        if len(streams) == len(splits):
            return join_streams(streams)
        others = [self.images.get(cell.dataset, split) for split in splits if split != cell.split]
        return join_images([images, *others]).resident(self.device)

    def _describe(
        self, cell: Cell, backbone: nn.Module, channels: int, statistics: ChannelStatistics
    ) -> dict[str, Any]:
        """Return what the artifact says of a backbone before its training."""
        return {
            "cell": cell.training_title,
            "mean": statistics[0],
            "std": statistics[1],
            "channels": channels,
            "image_size": cell.image_size,
            "dim": backbone.dim,
            "params": sum(p.numel() for p in backbone.parameters()),
            "flops": forward_flops(backbone, channels, cell.image_size, self.device),
            "seconds": 0.0,
            "images_per_s": None,
            "threads": [],
            "devices": [],
        }

    def _train(self, cell: Cell, method: Method, images: Images, run: TrainingRun) -> TrainingCost:
        results = self.artifacts.folder.parent
        described = describe_pretraining(cell, results, run.folder)
        observed, shown = ObservedRun(self.observers, described), ShownTraining(self.watch.heartbeat, cell)
        picture = self._draw_views(cell, images) if self.observers.has(VIEWS) else b""
        with (
            observed,
            self.watch.training(cell.keys.backbone, cell.training_title, described.steps) as end_step,
        ):

            def on_start(epochs: int) -> None:
                observed.start(epochs, picture)
                shown.start(epochs)

            def on_step(step: int, terms: Mapping[str, float]) -> None:
                end_step()
                observed.end_step(step, terms)
                shown.end_step(step, terms)

            def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
                observed.end_epoch(epoch, metrics)
                shown.end_epoch(metrics)

            run = replace(run, on_start=on_start, on_epoch=on_epoch, on_step=on_step)
            cost = self._pretrain(cell, method, images, run)
            assert cost is not None  # noqa: S101 - this process leads
            return cost

    def _draw_views(self, cell: Cell, images: Images) -> bytes:
        """Return a picture of what the method sees; nothing where none can be drawn, which is said."""
        try:
            return draw_training_views(cell, images, self._training_info(cell))
        except Exception as error:  # noqa: BLE001 - a picture must not cost a training
            log.warning("%s: its views cannot be drawn (%s).", cell.training_title, one_line(error))
            return b""

    def join(self, cell: Cell, statistics: ChannelStatistics, ranks: Ranks) -> None:
        """Do this process's part of a training that another one leads.

        Args:
            cell: that is trained.
            statistics: that the images are normalised by.
            ranks: that train together.
        """
        method = build_method(cell, self.registry, self._training_info(cell)).to(self.device)
        run = build_training_run(cell, statistics, self.device, self.artifacts.folder)
        images = self.images.get(cell.dataset, cell.split)
        self._pretrain(cell, method, images, replace(run, live=False, ranks=ranks))

    def _pretrain(self, cell: Cell, method: Method, images: Images, run: TrainingRun) -> TrainingCost | None:
        source = self._open_source(cell, images)
        if cell.label_share:
            groups = pooled_groups(self.images.datasets.open(cell.dataset))
            rows = labelled_rows(source.labels.cpu(), cell.amount, cell.seed, groups)
            run = replace(run, rows=rows, epoch_images=cell.epoch_images)
        with float32_as(run.training.precision):
            return pretrain(method, source, run)

    def _knn_sample(self, cell: Cell) -> KnnSample | None:
        """Return the labelled images that a training is watched on: of train and val, never of test."""
        has_val = "val" in self.images.datasets.open(cell.dataset).splits
        val = self.images.get(cell.dataset, "val") if has_val else None
        return sample_for_knn(self.images.get(cell.dataset, "train"), val)

    def restore(self, cell: Cell) -> Backbone:
        """Return the trained backbone from its artifact, frozen."""
        info = self.images.datasets.open(cell.dataset).info
        backbone = build_backbone(cell, self.registry, info.channels)
        backbone.load_state_dict(load_file(self.artifacts.folder / cell.keys.backbone / BACKBONE))
        backbone.requires_grad_(requires_grad=False).to(self.device).eval()
        skip_padding(backbone)
        return backbone.to(memory_format=torch.channels_last)


def choose_statistics(cell: Cell, info: DatasetInfo, images: Images) -> ChannelStatistics:
    """Return the mean and the deviation that images are normalised by.

    They are those of the weights that the backbone starts from, or of the data it is trained on.

    Args:
        cell: with what its weights expect.
        info: of the data.
        images: of the data, to measure where `info` does not know.
    """
    if cell.normalisation:
        return cell.normalisation.mean, cell.normalisation.std
    return (info.mean, info.std) if info.mean and info.std else measure_channels(images)
