"""A distribution of plugins that count, look and break; on the path of the tests that ask for it."""

from __future__ import annotations

import copy
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import current_process
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.api import (
    Backbone,
    BackboneInfo,
    BadValue,
    Batch,
    DatasetInfo,
    Embeddings,
    Evaluator,
    Executor,
    Method,
    Offer,
    ParamGroup,
    Recipe,
    Scores,
    Table,
    TableFormat,
    Task,
    Training,
    Unsupported,
    View,
    WorkerSpec,
    hookimpl,
    multi_crop,
    setting,
)

KILL = "PROBES_KILL"  # in the environment: the step of a `probe` in which the process is killed
LEAVE = "PROBES_LEAVE"  # likewise: the step of a `probe` in which a process that is not the first exits
SIGN = "PROBES_SIGN"  # in the environment: a file by which a `whose` in one process knows of one in another

MADE: list[Method] = []  # every method, as it was made
SEEN: list[Task] = []  # every task, as an evaluator got it
CHECKED: list[tuple[Any, ...]] = []  # what a method was asked to check
TRAININGS: list[tuple[Any, ...]] = []  # and of which trainings
TOLD: list[tuple[Any, ...]] = []  # what observers were told
BREAK: dict[str, Any] = {}  # `step` and `how`, of a method; `evaluator`: to raise there; `score`: its top1;
# `forget`: backbones that an executor leaves out


@hookimpl
def bench_methods() -> Iterator[Offer]:
    yield Offer("probe", "probes:Probe", "Keep features small, and break when told to.")
    yield Offer("crops", "probes:Crops", "Keep the features of two large and three small views alike.")
    yield Offer("picky", "probes:Picky", "Train its head in a way of its own, on maps that are large enough.")


@hookimpl
def bench_backbones() -> Iterator[Offer]:
    yield Offer("tiny", "probes:Tiny", "One convolution, for 16 pixels and more.")
    yield Offer("rigid", "probes:Rigid", "One convolution, for the size it is built for only.")


@hookimpl
def bench_evaluators() -> Iterator[Offer]:
    yield Offer("witness", "probes:Witness", "Keep the task, and ruin it when told to.")
    yield Offer("whose", "probes:Whose", "Say which process evaluates, and end another than the first.")
    yield Offer("norm", "probes:Norm", "Measure the norm of what the backbone gives, without labels.")


@hookimpl
def bench_formats() -> Iterator[Offer]:
    yield Offer("lines", "probes:Lines", "A line a cell: where it is, what it says.")


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


class Lines(TableFormat):
    """A line a cell."""

    def render(self, table: Table) -> str:
        return "\n".join(
            f"{'/'.join(row.labels)} {column.heading}: {cell.text if cell else 'nothing'}"
            for row in table.rows
            for column, cell in zip(table.columns, row.cells, strict=True)
        )


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
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        return BackboneInfo(dim=8, map_size=(image_size - 1) // 2)

    @classmethod
    def check(cls, name: str, config: Any, channels: int, image_size: int) -> None:
        if image_size < 16:
            raise Unsupported(f"tiny needs 16 px, the images have {image_size}. Set --image-size.")

    @classmethod
    def check_size(cls, name: str, config: Any, channels: int, image_size: int, size: int) -> None:
        cls.check(name, config, channels, size)


class Rigid(Tiny):
    """A network that takes no images of another size than its own."""

    @classmethod
    def check_size(cls, name: str, config: Any, channels: int, image_size: int, size: int) -> None:
        raise Unsupported(f"rigid takes {image_size} px only, a view has {size}. Leave views.size out.")


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
        if os.environ.get(LEAVE) == str(self.steps) and is_other():
            sys.exit(3)
        z = embeddings["z"]
        worse = torch.nan if self._breaks("nan") else 1.0
        if self._breaks("raise"):
            raise ArithmeticError("the probe broke")
        return {"pull": self.pull * z.square().mean(), "push": worse * (1 - z.std(dim=0)).relu().mean()}

    def _breaks(self, how: str) -> bool:
        return BREAK.get("how") == how and BREAK["step"] == self.steps


class Crops(Method):
    """The mean distance from an image's mean, over views of two sizes."""

    recipe = Recipe(optimizer="sgd", lr=0.05, lr_scaling="none", weight_decay=1e-4, source="our choice")

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        large, small = View(crop_min=0.3, jitter=0.0), View(crop_min=0.05, crop_max=0.3, jitter=0.0)
        return multi_crop(large, small, small_count=3, small_size=16)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {f"view {number}": self.backbone(view) for number, view in enumerate(views)}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        z = torch.stack(list(embeddings.values()))  # (views, n, dim)
        return {"invariance": z.var(dim=0, correction=0).mean()}


class Picky(Probe):
    """A probe whose recipe depends on its settings, and that refuses maps that are too small."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Probe.Config):
        head_lr: float = setting(1.0, "factor of the head's learning rate", least=0)
        freeze_epochs: int = setting(0, "epochs at the start in which the head is not trained", least=0)
        pattern: str = setting("head.*", "of the parameters that these are of")
        map_size: int = setting(1, "smallest map that it works with")
        least_batch: int = setting(1, "images of the smallest batch that it is trained with")

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe | None:
        assert cls.recipe is not None
        head = ParamGroup(match=config.pattern, lr_factor=config.head_lr, freeze_epochs=config.freeze_epochs)
        return replace(cls.recipe, groups=() if head == ParamGroup(match=config.pattern) else (head,))

    @classmethod
    def check(cls, config: Any, backbone: BackboneInfo, data: DatasetInfo, image_size: int) -> None:
        CHECKED.append((config, backbone, data, image_size))
        if config.map_size < 1:
            raise BadValue(f"picky: map_size is {config.map_size}. Set it to at least 1.")
        if backbone.map_size is not None and backbone.map_size < config.map_size:
            raise Unsupported(
                f"picky: it needs a map of {config.map_size}, the backbone's is {backbone.map_size}."
            )

    @classmethod
    def check_training(cls, config: Any, training: Training, data: DatasetInfo) -> None:
        TRAININGS.append((config, training, data))
        if config.least_batch < 1:
            raise BadValue(f"picky: least_batch is {config.least_batch}. Set it to at least 1.")
        if training.batch_size < config.least_batch:
            raise Unsupported(
                f"picky: it needs {config.least_batch} images a batch, there are {training.batch_size} "
                f"of {data.images}. Set --batch-size."
            )


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
            metrics={"top1": BREAK.get("score", 100 * right), "nll": 1.0},
            predictions=torch.zeros(len(task.test), dtype=torch.int64),
        )


def is_other() -> bool:
    """Tell whether this process is one of several that make a cell together, and does not lead."""
    return current_process().name.startswith("rank ") or os.environ.get("RANK", "0") != "0"


class Whose(Evaluator):
    """Say in which process it is."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        role: str = setting("say", "what it does", choices=("say", "wait", "leave", "end"))

    def evaluate(self, task: Task) -> Scores:
        sign = Path(os.environ.get(SIGN, ""))
        deadline = time.monotonic() + 60
        while self.config.role == "wait" and not sign.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        if self.config.role in ("leave", "end") and is_other():
            sign.touch()
            if self.config.role == "leave":
                sys.exit(3)
            os.kill(os.getpid(), signal.SIGKILL)
        return Scores(metrics={"pid": float(os.getpid())})


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
