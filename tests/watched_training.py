"""A training that is watched: a method that keeps what it is given, and runs of a few steps."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.contracts.recipe import Training
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry

INFO = DatasetInfo(classes=("a", "b"), channels=3, size=8)
VIEW = View(crop_min=0.5)
TIMES = ("seconds", "images_per_s")
IMAGES = Images(
    torch.randint(0, 256, (45, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(45) % 2,
)


class Stopped(Exception):
    """Stands for the end of a process."""


def net() -> nn.Module:
    """Return a network with everything that has a state: convolutions, a norm, dropout."""
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


@functools.cache
def load_simclr() -> Any:
    return Registry.load().load_class("methods", "simclr")


def simclr(seed: int = 0) -> Method:
    torch.manual_seed(seed)
    cls = load_simclr()
    method: Method = cls(net(), 6, cls.Config(hidden_dim=16, embedding_dim=8), INFO)
    return method


@dataclass
class Watched:
    """What a method saw."""

    views: list[Tensor]
    autocast: list[bool]
    dtypes: list[torch.dtype]
    progress: list[float]
    batches: list[Batch]


class Watching(Method):
    """A method that keeps what it is given; a term becomes nan at step `nan_at`."""

    def __init__(self, nan_at: int = 0) -> None:
        torch.manual_seed(0)
        super().__init__(net(), 6, None, INFO)
        self.seen, self.nan_at = Watched([], [], [], [], []), nan_at

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        self.seen.views += views
        self.seen.batches.append(batch)
        self.seen.autocast.append(torch.is_autocast_enabled("cpu"))
        return {"first": self.backbone(views[0]), "second": self.backbone(views[-1])}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        self.seen.autocast.append(torch.is_autocast_enabled("cpu"))
        self.seen.dtypes += [z.dtype for z in embeddings.values()]
        broken = math.nan if len(self.seen.batches) == self.nan_at else 0.5
        return {"pull": embeddings["first"].square().mean(), "push": broken * embeddings["second"].mean()}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"largest": embeddings["first"].max()}

    def after_step(self, step: Step) -> None:
        self.seen.progress.append(step.progress)


def run_in(folder: Path, **changes: Any) -> TrainingRun:
    """Return a run of 3 epochs of 2 steps; what is given of `Training` goes there."""
    training = Training(
        epochs=3, batch_size=20, image_size=12, precision="float32", optimizer="sgd", lr=0.05,
        weight_decay=1e-3, momentum=0.9, warmup_epochs=0.5,
    )  # fmt: skip
    trained = {name: changes.pop(name) for name in list(changes) if hasattr(training, name)}
    folder.mkdir(exist_ok=True)
    run = TrainingRun(
        what="the run", key="key",
        training=replace(training, **trained), views=(VIEW, VIEW), mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3), seed=0, device=torch.device("cpu"), folder=folder,
    )  # fmt: skip
    return replace(run, **changes)


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def untimed(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines(folder)]


def stop_at(epoch: int) -> Callable[[int, Mapping[str, float]], None]:
    def stop(done: int, metrics: Mapping[str, float]) -> None:
        if done == epoch:
            raise Stopped

    return stop


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])
