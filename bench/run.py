"""The pipeline as a pull: a score needs features, features need a backbone, each made once.

There is no scheduler. `_score` asks for features, `_features` asks for the backbone; each is taken
from the cache, or made and put there. A second run finds everything and makes nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from bench import features as features_of
from bench import splits
from bench.cache import Cache
from bench.checkpoint import whole
from bench.contract import Backbone, DatasetInfo, Features, Images, Method, Scores, Task
from bench.errors import BenchError, CellError
from bench.grid import Cell, Datasets, Part
from bench.keys import digest, seed_of
from bench.pretrain import Run, pretrain
from bench.provenance import forward_flops, peak_mb, provenance
from bench.registry import Registry
from bench.store import SCHEMA, Record, Store

BACKBONE, PREDICTIONS = "backbone.safetensors", "predictions.safetensors"
ABOUT = "about.json"  # what an artifact cost and, of a backbone, how it is to be used
TRACEBACK_LINES = 12

log = logging.getLogger("bench")


class Failed(Exception):  # noqa: N818 - carries an error from its stage to the record
    """A stage of a cell failed.

    Args:
        stage: `data`, `pretrain`, `features` or `evaluate`.
        cause: what was raised there.
    """

    def __init__(self, stage: str, cause: Exception) -> None:
        super().__init__(stage)
        self.stage, self.cause = stage, cause


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Say in which stage an error was raised: the boundary between a cell and the harness."""
    try:
        yield
    except Failed:
        raise
    except Exception as error:
        raise Failed(name, error) from error


@dataclass
class Workshop:
    """Where cells are made; what consecutive cells share is kept in memory.

    Args:
        registry: of plugins.
        datasets: as they were opened for the plan.
        store: of records.
        cache: of artifacts.
        device: where to compute.
    """

    registry: Registry
    datasets: Datasets
    store: Store
    cache: Cache
    device: torch.device
    _images: dict[tuple[str, str], Images] = field(default_factory=dict)
    _loaded: dict[str, Features] = field(default_factory=dict)
    _frozen: dict[str, Backbone] = field(default_factory=dict)
    _failed: dict[str, Failed] = field(default_factory=dict)

    def run(self, cells: Iterable[Cell]) -> Iterator[Record]:
        """Yield the record of each cell, from the store if it is there, else made and stored.

        A cell that fails does not stop the others, and is tried again by the next run.

        Args:
            cells: those of one backbone one after the other, so that its features are in memory.
        """
        for cell in cells:
            record = self.store.find(cell.names, cell.keys.score)
            if record is None or record["status"] != "ok":
                record = self._made(cell)
                self.store.write(record)
                self.registry.notify("bench_cell_end", record=record)
            yield record

    def _made(self, cell: Cell) -> Record:
        record = blank_record(cell, provenance(self.device, self.registry))
        if cell.skip:
            return {**record, "status": "skipped", "reason": cell.skip}
        try:
            started = time.monotonic()
            parts = {split: self._features(cell, split) for split in cell.keys.features}
            with stage("evaluate"):
                started = time.monotonic()
                scores = self._scores(cell, parts)
                seconds = time.monotonic() - started
                return {**record, **self._found(cell, scores, seconds), "status": "ok"}
        except Failed as failed:
            return {**record, **failure(cell, failed), "status": "failed"}

    # ---- a score

    def _scores(self, cell: Cell, parts: Mapping[str, Features]) -> Scores:
        cls = self.registry.load_class("evaluators", cell.evaluator.name)
        scores: Scores = cls(cell.evaluator.config).evaluate(self._task(cell, parts))
        self._keep_predictions(cell, scores, parts["test"])
        return scores

    def _task(self, cell: Cell, parts: Mapping[str, Features]) -> Task:
        """Return what the evaluator may see: the labelled subset of train and val, and test."""
        known = [parts[split] for split in ("train", "val") if split in parts]
        pool = Features(torch.cat([p.x for p in known]), torch.cat([p.y for p in known]))
        subset = splits.stratified_subset(pool.y.numpy(), cell.label_frac, cell.seed)
        labelled = pool.take(torch.from_numpy(subset))
        if len(known) > 1 and len(labelled) == len(pool):  # the data's own validation split
            rows = np.arange(len(pool))
            folds = ((rows[: len(known[0])], rows[len(known[0]) :]),)
        else:
            folds = splits.folds(labelled.y.numpy(), cell.seed)
        return Task(
            train=labelled,
            test=parts["test"],
            folds=tuple((torch.from_numpy(fit), torch.from_numpy(val)) for fit, val in folds),
            classes=self.datasets.open(cell.eval_dataset).info.classes,
            seed=cell.seed,
            device=self.device,
        )

    def _keep_predictions(self, cell: Cell, scores: Scores, test: Features) -> None:
        tensors = {"label": test.y.int(), "prediction": scores.predictions.cpu().int()}
        if scores.confidence is not None:
            tensors["confidence"] = scores.confidence.cpu().half()
        with self.cache.alone(cell.keys.score):
            if self.cache.find(cell.keys.score) is None:
                with self.cache.making(cell.keys.score) as folder:
                    save_file(tensors, folder / PREDICTIONS)

    def _found(self, cell: Cell, scores: Scores, seconds: float) -> dict[str, Any]:
        """Return what a record says of a cell that went well."""
        info = self.datasets.open(cell.eval_dataset).info
        return {
            "metrics": {
                name: {
                    "value": float(value),
                    "higher_is_better": name not in scores.lower_is_better,
                    "n": len(scores.predictions),
                }
                for name, value in scores.metrics.items()
            },
            "per_class": {name: list(values) for name, values in scores.per_class.items()},
            "classes": list(info.classes),
            "notes": list(dict.fromkeys((*self.datasets.open(cell.dataset).info.notes, *info.notes))),
            "protocol": dict(scores.protocol),
            "cost": self._cost(cell, seconds),
        }

    def _cost(self, cell: Cell, seconds: float) -> dict[str, Any]:
        """Return the cost of a cell by stage, whether a stage was made now or in an earlier run."""
        spent = {name: self._about(key)["seconds"] for name, key in cell.keys.features.items()}
        about = self._about(cell.keys.backbone)
        return {
            "seconds": {"pretrain": about["seconds"], "features": sum(spent.values()), "evaluate": seconds},
            **{name: about[name] for name in ("images_per_s", "params", "flops")},
            "peak_mb": peak_mb(self.device),
        }

    def _about(self, key: str) -> dict[str, Any]:
        about: dict[str, Any] = json.loads((self.cache.folder / key / ABOUT).read_text())
        return about

    # ---- features

    def _features(self, cell: Cell, split: str) -> Features:
        key = cell.keys.features[split]
        if key not in self._loaded:
            wanted = set(cell.keys.features.values())
            self._loaded = {k: v for k, v in self._loaded.items() if k in wanted}
            with stage("features"), self.cache.alone(key):
                folder = self.cache.find(key)
                if folder is None:
                    self._extract(cell, split)
                self._loaded[key] = features_of.load(self.cache.folder / key)
        return self._loaded[key]

    def _extract(self, cell: Cell, split: str) -> None:
        backbone = self._backbone(cell)
        images, about = self._images_of(cell.eval_dataset, split), self._about(cell.keys.backbone)
        started = time.monotonic()
        found = features_of.extract(
            backbone,
            images,
            image_size=cell.image_size,
            channels=about["channels"],
            mean=tuple(about["mean"]),
            std=tuple(about["std"]),
            device=self.device,
        )
        if not torch.isfinite(found.x).all():
            raise CellError(f"{cell.trained}: the features of {split} are not finite. Lower train.lr.")
        with self.cache.making(cell.keys.features[split]) as folder:
            features_of.save(found, folder)
            _write(folder / ABOUT, {"seconds": time.monotonic() - started})

    # ---- a backbone

    def _backbone(self, cell: Cell) -> Backbone:
        """Return the trained backbone; one that failed in this run fails again at once."""
        key = cell.keys.backbone
        if key in self._failed:
            raise self._failed[key]
        if key not in self._frozen:
            try:
                with stage("pretrain"), self.cache.alone(key):
                    if self.cache.find(key) is None:
                        self._train(cell)
                    self._frozen = {key: self._restored(cell)}
            except Failed as failed:
                self._failed[key] = failed
                raise
        return self._frozen[key]

    def _train(self, cell: Cell) -> None:
        data = self.datasets.open(cell.dataset)
        with stage("data"):
            images = self._images_of(cell.dataset, "train")
        info = data.info
        mean, std = (info.mean, info.std) if info.mean and info.std else measured(images)
        method = fresh_method(cell, self.registry, info).to(self.device)
        backbone = method.backbone
        about: dict[str, Any] = {"cell": cell.trained, "mean": mean, "std": std, "channels": info.channels}
        about |= {"image_size": cell.image_size, "dim": backbone.dim}
        about |= {"params": sum(p.numel() for p in backbone.parameters())}
        about |= {"flops": forward_flops(backbone, info.channels, cell.image_size, self.device)}
        with self.cache.making(cell.keys.backbone) as folder:
            about |= {"seconds": 0.0, "images_per_s": None}
            if cell.training is not None:
                told = replace(run_of(cell, (mean, std), self.device, folder), on_epoch=self._on_epoch(cell))
                about |= asdict(pretrain(method, images.to(self.device), told))
            save_file(whole(backbone.state_dict()), folder / BACKBONE)
            _write(folder / ABOUT, about)

    def _on_epoch(self, cell: Cell) -> Callable[[int, Mapping[str, float]], None]:
        def tell(epoch: int, metrics: Mapping[str, float]) -> None:
            key = cell.keys.backbone
            self.registry.notify("bench_epoch_end", key=key, epoch=epoch, metrics=dict(metrics))

        return tell

    def _restored(self, cell: Cell) -> Backbone:
        """Return the trained backbone from its artifact, frozen."""
        backbone = fresh_backbone(cell, self.registry, self.datasets.open(cell.dataset).info.channels)
        backbone.load_state_dict(load_file(self.cache.folder / cell.keys.backbone / BACKBONE))
        frozen: Backbone = backbone.requires_grad_(requires_grad=False).to(self.device).eval()
        return frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    # ---- data

    def _images_of(self, part: Part, split: str) -> Images:
        """Return the images of a split; those of other datasets are let go."""
        key = digest(part.identity)
        if (key, split) not in self._images:
            self._images = {k: v for k, v in self._images.items() if k[0] == key}
            self._images[key, split] = self.datasets.open(part).load(split)
        return self._images[key, split]


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


def run_of(
    cell: Cell, statistics: tuple[tuple[float, ...], tuple[float, ...]], device: torch.device, folder: Path
) -> Run:
    """Return what the training loop is told of a cell that trains.

    Args:
        cell: whose `training` is not none.
        statistics: mean and standard deviation of the training data, a value a channel.
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


def measured(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each channel, in [0, 1], exactly."""
    values = torch.arange(256, dtype=torch.float64) / 255
    mean, std = [], []
    for channel in images.pixels.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256).double()
        share /= share.sum()
        centre = float((share * values).sum())
        mean.append(centre)
        std.append(max(1 / 255, float((share * (values - centre) ** 2).sum().sqrt())))
    return tuple(mean), tuple(std)


def blank_record(cell: Cell, origin: Mapping[str, Any]) -> Record:
    """Return the record of a cell before anything is known of its outcome."""
    parts = ("method", "backbone", "dataset", "eval_dataset", "evaluator")
    return {
        "schema": SCHEMA,
        "keys": asdict(cell.keys),
        "cell": cell.names,
        "settings": dict(cell.settings),
        "config": {
            **{role: _described(getattr(cell, role)) for role in parts},
            "training": asdict(cell.training) if cell.training else {"image_size": cell.image_size},
            "views": [asdict(view) for view in cell.views],
        },
        "status": "",
        "reason": None,
        "metrics": {},
        "per_class": {},
        "classes": [],
        "notes": [],
        "protocol": {},
        "cost": {},
        "provenance": dict(origin),
        "error": None,
    }


def failure(cell: Cell, failed: Failed) -> dict[str, Any]:
    """Return what a record says of a cell that failed, and log its one line."""
    cause = failed.cause
    kind = "" if isinstance(cause, BenchError) else f"{type(cause).__name__}: "
    reason = " ".join(f"{kind}{cause}".split())
    log.error("%s, %s: %s failed. %s", cell.trained, cell.evaluator.name, failed.stage, reason)
    lines = "".join(traceback.format_exception(cause)).splitlines()
    return {
        "reason": reason,
        "error": {
            "stage": failed.stage,
            "type": type(cause).__name__,
            "message": str(cause),
            "traceback": "\n".join(lines[-TRACEBACK_LINES:]),
        },
    }


def _described(part: Part) -> dict[str, Any]:
    """Return what a key hashed of a plugin beside its name, flat."""
    told = {name: value for name, value in part.identity.items() if name not in ("name", "config")}
    return {**part.identity["config"], **told}


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")
