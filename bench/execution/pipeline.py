"""The pipeline as a pull: a score needs features, features need a backbone, each made once.

There is no scheduler. `_scores` asks for features, `_features` asks for the backbone; each is taken
from the cache, or made and put there. A second run finds everything and makes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bench.contracts.backbone import Backbone
from bench.contracts.dataset import Images
from bench.contracts.evaluator import Features, Network, Scores
from bench.evaluation import features as features_of
from bench.evaluation.tasks import build_network, build_task
from bench.execution.assembly import build_backbone, build_method, build_training_run
from bench.execution.cell_record import blank_record
from bench.execution.cost import cost_fields, forward_flops, peak_mb
from bench.execution.failures import FailureReport, StageFailed, failure_fields, in_stage
from bench.execution.provenance import provenance
from bench.planning.cells import Cell, PluginChoice
from bench.planning.open_datasets import Datasets
from bench.pretraining.channel_statistics import measure_channels
from bench.pretraining.loop import pretrain
from bench.pretraining.online_knn import KnnSample, sample_for_knn
from bench.registry.registry import Registry
from bench.splits.label_pool import training_rows
from bench.storage.artifact_files import ABOUT, BACKBONE, PREDICTIONS, write_json
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import Record, RecordStore
from bench.storage.tensors import cpu_copies
from bench.system.malloc import keep_freed_pages
from bench.system.profiler import Profiler
from bench.system.stage_timer import StageTimer

USUAL_PROTOCOL = {"features": "frozen", "probe": "offline", "checkpoint": "last epoch"}


@dataclass
class Pipeline:
    """Where cells are made; what consecutive cells share is kept in memory.

    Args:
        registry: of plugins.
        datasets: as they were opened for the plan.
        store: of records.
        cache: of artifacts.
        device: where to compute.
        live: this process has the terminal to itself, and may draw on it.
        profiler: watches what is made, if it is to be profiled.
        spent: the time of the run by stage.
    """

    registry: Registry
    datasets: Datasets
    store: RecordStore
    cache: ArtifactStore
    device: torch.device
    live: bool = True
    profiler: Profiler | None = None
    spent: StageTimer = field(default_factory=StageTimer)
    _shared: dict[str, Any] = field(default_factory=dict)
    _images: dict[tuple[str, str], Images] = field(default_factory=dict)
    _loaded: dict[str, Features] = field(default_factory=dict)
    _frozen: dict[str, Backbone] = field(default_factory=dict)
    _failed: dict[str, FailureReport] = field(default_factory=dict)

    def run(self, cells: Iterable[Cell]) -> Iterator[Record]:
        """Yield the record of each cell, from the store if it is there, else made and stored.

        A cell that fails does not stop the others, and is tried again by the next run.

        Args:
            cells: those of one backbone one after the other, so that its features are in memory.
        """
        keep_freed_pages()
        for cell in cells:
            yield self.done(cell) or self._kept(self._made(cell))

    def done(self, cell: Cell) -> Record | None:
        """Return the stored record of a cell that is not to be tried again, if there is one."""
        record = self.store.find(cell.names, cell.keys.score)
        if record is None or record["status"] == "failed":
            return None
        return record if record["status"] == "ok" or record["reason"] == cell.skip else None

    def give_up(self, cell: Cell, breakdown: FailureReport) -> Record:
        """Store that a cell failed outside of this process, and return its record."""
        blank = blank_record(cell, provenance(self.device, self.registry))
        return self.done(cell) or self._kept({**blank, **failure_fields(cell, breakdown)})

    def _kept(self, record: Record) -> Record:
        self.store.write(record)
        self.registry.notify("bench_cell_end", record=record)
        return record

    def _made(self, cell: Cell) -> Record:
        record = blank_record(cell, provenance(self.device, self.registry))
        if cell.skip:
            return {**record, "status": "skipped", "reason": cell.skip}
        try:
            self._look_at_images(cell)
            parts = {split: self._features(cell, split) for split in cell.keys.features}
            with in_stage("evaluate"):
                return {**record, **self._found(cell, parts), "status": "ok"}
        except StageFailed as failed:
            return {**record, **failure_fields(cell, failed.breakdown)}

    # ---- a score

    def _found(self, cell: Cell, parts: Mapping[str, Features]) -> dict[str, Any]:
        """Evaluate, and return what a record says of a cell that went well."""
        cls = self.registry.load_class("evaluators", cell.evaluator.name)
        info = self.datasets.open(cell.eval_dataset).info
        task = build_task(parts, info.classes, cell.label_frac, cell.seed, self.device, self._shared)
        if cls.needs == "backbone":
            task = replace(task, network=self._network(cell))
        name = f"evaluate {cell.evaluator.name}"
        with self.spent.time(name), self._profiled(name, cell.keys.score, cell):
            started = time.monotonic()
            scores: Scores = cls(cell.evaluator.config).evaluate(task)
            seconds = time.monotonic() - started
        self._keep_predictions(cell, scores, parts["test"])
        passes = [self._about(key) for key in cell.keys.features.values()]
        return {
            "metrics": {
                name: {
                    "value": float(value),
                    "higher_is_better": name not in scores.lower_is_better,
                    "n": len(parts["test"]),
                }
                for name, value in scores.metrics.items()
            },
            "headline": next(iter(scores.metrics), None),
            "per_class": {name: list(values) for name, values in scores.per_class.items()},
            "classes": list(info.classes),
            "notes": list(dict.fromkeys((*self.datasets.open(cell.dataset).info.notes, *info.notes))),
            "protocol": {**USUAL_PROTOCOL, "training_labels": cell.label_share, **scores.protocol},
            "cost": cost_fields(passes, seconds, peak_mb(self.device)),
        }

    def _network(self, cell: Cell) -> Network:
        trained, info = self._backbone(cell), self.datasets.open(cell.eval_dataset).info
        images = {split: self._images_of(cell.eval_dataset, split) for split in cell.keys.features}
        about = self._about(cell.keys.backbone)
        return build_network(trained, images, info, about, cell.label_frac, cell.seed, self.device)

    def _keep_predictions(self, cell: Cell, scores: Scores, test: Features) -> None:
        if scores.predictions is None:
            return
        tensors = {"label": test.y.int(), "prediction": scores.predictions.cpu().int()}
        if scores.confidence is not None:
            tensors["confidence"] = scores.confidence.cpu().half()
        with self.cache.locked(cell.keys.score), self.cache.write(cell.keys.score) as folder:
            save_file(tensors, folder / PREDICTIONS)

    def _about(self, key: str) -> dict[str, Any]:
        about: dict[str, Any] = json.loads((self.cache.folder / key / ABOUT).read_text())
        return about

    # ---- features

    def _features(self, cell: Cell, split: str) -> Features:
        key = cell.keys.features[split]
        if key not in self._loaded:
            wanted = set(cell.keys.features.values())
            self._loaded = {k: v for k, v in self._loaded.items() if k in wanted}
            with in_stage("features"), self.cache.locked(key):
                if self.cache.find(key) is None:
                    self._extract(cell, split)
                self._loaded[key] = features_of.load(self.cache.folder / key)
        return self._loaded[key]

    def _extract(self, cell: Cell, split: str) -> None:
        backbone = self._backbone(cell)
        images, about = self._images_of(cell.eval_dataset, split), self._about(cell.keys.backbone)
        key = cell.keys.features[split]
        rows = features_of.extract(
            backbone,
            images.pixels,
            image_size=cell.image_size,
            channels=about["channels"],
            mean=tuple(about["mean"]),
            std=tuple(about["std"]),
            device=self.device,
            spec=self.registry.load_class("evaluators", cell.evaluator.name).features(cell.evaluator.config),
        )
        rows = features_of.finite(rows, f"{cell.training_title}: the features of {split}")
        with self.cache.write(key) as folder:
            with self.spent.time("features"), self._profiled("features", key, cell, of=cell.keys.backbone):
                started = time.monotonic()
                features_of.save(rows, images.labels, folder)
                seconds = time.monotonic() - started
            write_json(folder / ABOUT, {"seconds": seconds, "images": len(images), "backbone": about})

    # ---- a backbone

    def _backbone(self, cell: Cell) -> Backbone:
        """Return the trained backbone; one that failed in this run fails again at once."""
        key = cell.keys.backbone
        if key in self._failed:
            raise StageFailed(self._failed[key])
        if key not in self._frozen:
            try:
                with in_stage("pretrain"), self.cache.locked(key):
                    if self.cache.find(key) is None:
                        self._train(cell)
                    self._frozen = {key: self._restored(cell)}
            except StageFailed as failed:
                self._failed[key] = failed.breakdown
                raise
        return self._frozen[key]

    def _train(self, cell: Cell) -> None:
        data = self.datasets.open(cell.dataset)
        images, info = self._images_of(cell.dataset, cell.split), data.info
        mean, std = (info.mean, info.std) if info.mean and info.std else measure_channels(images)
        part = 0 < cell.label_share < 1
        share = training_rows(data, len(images), cell.label_share, cell.seed) if part else None
        method = build_method(cell, self.registry, info).to(self.device)
        backbone = method.backbone
        about: dict[str, Any] = {
            "cell": cell.training_title,
            "mean": mean,
            "std": std,
            "channels": info.channels,
        }
        about |= {"image_size": cell.image_size, "dim": backbone.dim}
        about |= {"params": sum(p.numel() for p in backbone.parameters())}
        about |= {"flops": forward_flops(backbone, info.channels, cell.image_size, self.device)}
        with self.cache.write(cell.keys.backbone) as folder:
            about |= {"seconds": 0.0, "images_per_s": None}
            if cell.training is not None:
                told = build_training_run(cell, (mean, std), self.device, folder)
                told = replace(told, on_epoch=self._on_epoch(cell), live=self.live, knn=self._knn(cell))
                with self.spent.time("pretrain"), self._watching(cell, len(images)) as on_step:
                    told = replace(told, rows=share, on_step=on_step)
                    seen = data.stream(cell.split) or images.resident(self.device)
                    about |= asdict(pretrain(method, seen, told))
            save_file(cpu_copies(backbone.state_dict()), folder / BACKBONE)
            write_json(folder / ABOUT, about)

    def _watching(self, cell: Cell, images: int) -> AbstractContextManager[Callable[[], None]]:
        if self.profiler is None or cell.training is None:
            return nullcontext(lambda: None)
        steps = images // cell.training.step_images * cell.training.epochs
        return self.profiler.profile_training(cell.keys.backbone, cell.training_title, steps)

    def _profiled(self, stage: str, key: str, cell: Cell, of: str = "") -> AbstractContextManager[None]:
        """Watch the first seconds of a stage, unless one like it, `of` the same, was watched already."""
        if self.profiler is None:
            return nullcontext()
        return self.profiler.profile_start(stage, key, cell.training_title, of)

    def _knn(self, cell: Cell) -> KnnSample | None:
        """Return the labelled images that training is watched on: of train and val, never of test."""
        own_val = "val" in self.datasets.open(cell.dataset).splits
        val = self._images_of(cell.dataset, "val") if own_val else None
        return sample_for_knn(self._images_of(cell.dataset, "train"), val)

    def _on_epoch(self, cell: Cell) -> Callable[[int, Mapping[str, float]], None]:
        def tell(epoch: int, metrics: Mapping[str, float]) -> None:
            key = cell.keys.backbone
            self.registry.notify("bench_epoch_end", key=key, epoch=epoch, metrics=dict(metrics))

        return tell

    def _restored(self, cell: Cell) -> Backbone:
        """Return the trained backbone from its artifact, frozen."""
        backbone = build_backbone(cell, self.registry, self.datasets.open(cell.dataset).info.channels)
        backbone.load_state_dict(load_file(self.cache.folder / cell.keys.backbone / BACKBONE))
        backbone.requires_grad_(requires_grad=False).to(self.device).eval()
        return backbone.to(memory_format=torch.channels_last)

    # ---- data

    def _look_at_images(self, cell: Cell) -> None:
        """Load what is evaluated on before a training: a damaged image is found now, not hours later."""
        key = cell.keys.backbone
        if key in self._failed or key in self._frozen or self.cache.has(key):
            return
        for split, features in cell.keys.features.items():
            if not self.cache.has(features):
                self._images_of(cell.eval_dataset, split)

    def _images_of(self, part: PluginChoice, split: str) -> Images:
        """Return the images of a split; those of other datasets are let go.

        A split that is there to pretrain on only is not kept: it may be far larger than the others.
        """
        key, data = part.key, self.datasets.open(part)
        if (key, split) in self._images:
            return self._images[key, split]
        self._images = {k: v for k, v in self._images.items() if k[0] == key}
        with in_stage("data"), self.spent.time("data"):
            images: Images = data.load(split)
        if split in data.splits:
            self._images[key, split] = images
        return images
