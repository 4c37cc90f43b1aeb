"""A distribution of plugins that count, look and break; on the path of the tests that ask for it."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.api import (
    Backbone,
    Batch,
    DatasetInfo,
    Embeddings,
    Evaluator,
    Executor,
    Method,
    Offer,
    Recipe,
    Scores,
    Task,
    Unsupported,
    View,
    WorkerSpec,
    hookimpl,
    setting,
)

KILL = "PROBES_KILL"  # in the environment: the step of a `probe` in which the process is killed

MADE: list[Method] = []  # every method, as it was made
SEEN: list[Task] = []  # every task, as an evaluator got it
TOLD: list[tuple[Any, ...]] = []  # what observers were told
BREAK: dict[str, Any] = {}  # `step` and `how`, of a method; `evaluator`: to raise there;
# `forget`: backbones that an executor leaves out


@hookimpl
def bench_methods() -> Iterator[Offer]:
    yield Offer("probe", "probes:Probe", "Keep features small, and break when told to.")


@hookimpl
def bench_backbones() -> Iterator[Offer]:
    yield Offer("tiny", "probes:Tiny", "One convolution, for 16 pixels and more.")


@hookimpl
def bench_evaluators() -> Iterator[Offer]:
    yield Offer("witness", "probes:Witness", "Keep the task, and ruin it when told to.")
    yield Offer("norm", "probes:Norm", "Measure the norm of what the backbone gives, without labels.")


@hookimpl
def bench_executors() -> Iterator[Offer]:
    yield Offer("backwards", "probes:Backwards", "The last backbone first, and forget one when told to.")


@hookimpl
def bench_run_start(run: Any) -> None:
    TOLD.append(("start", run.key, run.resumed_epoch))


@hookimpl
def bench_epoch_end(key: str, epoch: int, metrics: Mapping[str, float]) -> None:
    TOLD.append(("epoch", key, epoch, dict(metrics)))


@hookimpl
def bench_run_end(run: Any, status: str) -> None:
    TOLD.append(("end", run.key, status))


@hookimpl
def bench_cell_end(record: Mapping[str, Any], run: Any) -> None:
    TOLD.append(("cell", record["keys"]["score"], record["status"], run.key))


class Backwards(Executor):
    """Work on the last backbone first."""

    def run(self, spec: WorkerSpec, groups: Sequence[Sequence[Any]]) -> Iterator[dict[str, Any]]:
        for group in list(reversed(groups))[BREAK.get("forget", 0) :]:
            yield from spec.work(group)


class Tiny(Backbone):
    """A convolution with a norm and dropout, pooled."""

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        self.dim = 8
        self.first = nn.Conv2d(channels, 4, 3, padding=1)
        self.second = nn.Conv2d(4, self.dim, 3, stride=2)
        self.norm, self.drop = nn.BatchNorm2d(self.dim), nn.Dropout(0.1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm(self.second(torch.relu(self.first(images))))
        return self.drop(torch.relu(maps).mean(dim=(2, 3)))

    @classmethod
    def check(cls, name: str, config: Any, channels: int, image_size: int) -> None:
        if image_size < 16:
            raise Unsupported(f"tiny needs 16 px, the images have {image_size}. Set --image-size.")


class Probe(Method):
    """Two terms, the second of which may become nan."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        pull: float = setting(1.0, "weight", above=0)

    recipe = Recipe(optimizer="sgd", lr=0.05, lr_scaling="none", weight_decay=1e-4, source="our choice")

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.head, self.pull, self.steps = nn.Linear(dim, 4), config.pull, 0
        MADE.append(self)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        return (View(jitter=0.0),)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {"z": self.head(self.backbone(views[0]))}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        self.steps += 1
        if os.environ.get(KILL) == str(self.steps):
            os.kill(os.getpid(), signal.SIGKILL)
        z = embeddings["z"]
        worse = torch.nan if self._breaks("nan") else 1.0
        if self._breaks("raise"):
            raise ArithmeticError("the probe broke")
        return {"pull": self.pull * z.square().mean(), "push": worse * (1 - z.std(dim=0)).relu().mean()}

    def _breaks(self, how: str) -> bool:
        return BREAK.get("how") == how and BREAK["step"] == self.steps


class Witness(Evaluator):
    """Predict class 0."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        ruin: bool = setting(default=False, doc="overwrite the features it was given")

    def evaluate(self, task: Task) -> Scores:
        SEEN.append(copy.deepcopy(task))
        if BREAK.get("evaluator"):
            raise LookupError("the witness\nbroke")
        if self.config.ruin:
            for features in (task.train, task.test):
                features.x.zero_()
                features.y.zero_()
        right = float((SEEN[-1].test.y == 0).double().mean())
        return Scores(
            metrics={"top1": 100 * right, "nll": 1.0},
            predictions=torch.zeros(len(task.test), dtype=torch.int64),
        )


class Norm(Evaluator):
    """Measure the mean norm of test features that it makes itself, and train the copy it made them with."""

    needs: ClassVar[Literal["features", "backbone"]] = "backbone"
    takes_fraction: ClassVar[bool] = False

    def evaluate(self, task: Task) -> Scores:
        SEEN.append(task)
        network = task.needed_network("norm")
        backbone = network.backbone()
        found = backbone(network.clean(network.test.pixels))
        found.sum().backward()
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.zero_()
        return Scores(metrics={"norm": float(found.norm(dim=1).mean())})
