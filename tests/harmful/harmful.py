"""A distribution of plugins that print wherever they are called, and do harm where they are told to.

They are told by the setting `harm` of each, or in the environment: `WHERE WHAT`, such as `evaluate segfault`.
"""

from __future__ import annotations

import ctypes
import io
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import (
    Backbone,
    BackboneInfo,
    Batch,
    DataLocation,
    Dataset,
    DatasetInfo,
    Embeddings,
    Evaluator,
    Executor,
    Family,
    FeatureSpec,
    FileStream,
    Images,
    Method,
    Offer,
    Recipe,
    Scores,
    Step,
    Table,
    TableFormat,
    Task,
    View,
    WorkerSpec,
    hookimpl,
    setting,
)

HARM = "HARM"  # in the environment
NOISE = "noise on standard output"


class Own(BaseException):
    """An exception that `except Exception` lets pass."""


def throw(error: BaseException) -> None:
    raise error


def hang() -> None:
    Path(os.environ["HANGING"]).touch()
    time.sleep(600)


def loop() -> None:
    while True:
        pass


def change_all() -> None:
    """Change all that a process has for everything in it."""
    os.chdir(tempfile.gettempdir())
    os.environ["PATH"] = ""
    os.environ["CUDA_VISIBLE_DEVICES"] = "7"
    warnings.simplefilter("ignore")
    sys.stdout = sys.stderr = io.StringIO()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - which is what is to be seen


DEEDS: dict[str, Callable[[], object]] = {
    "raise": lambda: throw(ArithmeticError("it broke")),
    "sys.exit": lambda: sys.exit(0),
    "own": lambda: throw(Own("it left")),
    "interrupt": lambda: throw(KeyboardInterrupt()),
    "close": lambda: throw(GeneratorExit()),
    "os._exit": lambda: os._exit(0),
    "segfault": lambda: ctypes.string_at(0),
    "hang": hang,
    "loop": loop,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),  # as the kernel does where memory runs out
    "memory": lambda: throw(MemoryError("9 GB")),
    "change": change_all,
    "assert": lambda: torch.zeros(1, device="cuda")[torch.ones(1, dtype=torch.long, device="cuda")],
}


@dataclass(frozen=True, kw_only=True)
class Told:
    harm: str = setting("", "where to do what harm")


def call(where: str, config: Any = None) -> None:
    """Print, and do harm if this is where it was asked for."""
    print(NOISE)  # noqa: T201 - what must not be in a result
    os.write(1, f"{NOISE}\n".encode())
    for harm in (os.environ.get(HARM, ""), config.harm if config else ""):
        place, _, deed = harm.partition(" ")
        if where == place:
            DEEDS[deed]()


call("import")


@hookimpl
def bench_methods() -> Iterator[Offer]:
    call("bench_methods")
    yield Offer("harm-method", "harmful:HarmMethod", "Break where it is told to.")


@hookimpl
def bench_backbones() -> Iterator[Offer | Family]:
    yield Offer("harm-backbone", "harmful:HarmBackbone", "Break where it is told to.")
    yield Family("harm-family", "harmful:HarmBackbone", "Break where it is told to.", "harmful:names")


@hookimpl
def bench_datasets() -> Iterator[Offer]:
    yield Offer("harm-dataset", "harmful:HarmDataset", "Break where it is told to.")


@hookimpl
def bench_evaluators() -> Iterator[Offer]:
    yield Offer("harm-evaluator", "harmful:HarmEvaluator", "Break where it is told to.")


@hookimpl
def bench_executors() -> Iterator[Offer]:
    yield Offer("harm-executor", "harmful:HarmExecutor", "Break where it is told to.")


@hookimpl
def bench_formats() -> Iterator[Offer]:
    yield Offer("harm-format", "harmful:HarmFormat", "Break where it is told to.")


@hookimpl
def bench_epoch_end() -> None:
    call("bench_epoch_end")


@hookimpl
def bench_step_interval() -> int:
    call("bench_step_interval")
    return 1


@hookimpl
def bench_step_end() -> None:
    call("bench_step_end")


@hookimpl
def bench_cell_end() -> None:
    call("bench_cell_end")


def names() -> list[str]:
    call("names")
    return ["harm-member"]


class HarmMethod(Method):
    """The square of what a head makes of one view."""

    Config = Told
    recipe = Recipe(optimizer="sgd", lr=0.01, lr_scaling="none", weight_decay=0.0, source="our choice")

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        call("method", config)
        self.config, self.head = config, nn.Linear(dim, 4)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        call("views", config)
        return (View(jitter=0.0),)

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe | None:
        call("recipe_for", config)
        return cls.recipe

    @classmethod
    def check(cls, config: Any, backbone: BackboneInfo, data: DatasetInfo, image_size: int) -> None:
        call("check", config)

    def draw(self, count: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        call("draw", self.config)
        return {}

    def before_step(self, step: Step) -> None:
        call("before_step", self.config)

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        call("after_batch", self.config)

    def after_step(self, step: Step) -> None:
        call("after_step", self.config)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        call("embed", self.config)
        return {"z": self.head(self.backbone(views[0]))}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        call("terms", self.config)
        return {"square": embeddings["z"].square().mean()}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        call("monitors", self.config)
        return {}

    def export(self) -> nn.Module:
        call("export", self.config)
        return self.backbone


class HarmBackbone(Backbone):
    """The mean of patches."""

    Config = Told

    def __init__(self, name: str, config: Any, channels: int, image_size: int) -> None:
        super().__init__(name, config, channels, image_size)
        call("backbone", config)
        self.config, self.dim = config, 8
        self.patches = nn.Conv2d(channels, self.dim, 4, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        call("forward", self.config)
        return self.patches(images).mean(dim=(2, 3))

    @classmethod
    def about(cls, name: str, config: Any, channels: int, image_size: int) -> BackboneInfo:
        call("about", config)
        return BackboneInfo(dim=8, map_size=image_size // 4)

    @classmethod
    def check(cls, name: str, config: Any, channels: int, image_size: int) -> None:
        call("check", config)


class HarmDataset(Dataset):
    """Sixty images of two greys."""

    Config = Told

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        super().__init__(name, config, location)
        call("dataset", config)

    @property
    def info(self) -> DatasetInfo:
        call("info", self.config)
        return DatasetInfo(classes=("dark", "light"), channels=1, size=16)

    @property
    def splits(self) -> tuple[str, ...]:
        call("splits", self.config)
        return ("train", "test")

    def fingerprint(self) -> str:
        call("fingerprint", self.config)
        return "greys"

    def labels(self, split: str) -> Any:
        call("labels", self.config)
        return (torch.arange(60) % 2).numpy()

    def stream(self, split: str) -> FileStream | None:
        call("stream", self.config)
        return None

    def load(self, split: str) -> Images:
        call("load", self.config)
        labels = torch.arange(60) % 2
        pixels = torch.randint(0, 100, (60, 1, 16, 16), generator=torch.Generator().manual_seed(0))
        return Images((pixels + 100 * labels[:, None, None, None]).to(torch.uint8), labels)


class Odd:
    """What cannot be written down."""

    def __str__(self) -> str:
        raise ArithmeticError("no words")


class HarmEvaluator(Evaluator):
    """Predict class 0."""

    Config = Told
    takes_fraction: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        call("evaluator", config)
        super().__init__(config)

    @classmethod
    def features(cls, config: Any) -> FeatureSpec:
        call("features", config)
        return FeatureSpec()

    def check(self, labelled: int, classes: int) -> None:
        call("check", self.config)

    def evaluate(self, task: Task) -> Scores:
        call("evaluate", self.config)
        protocol = {"odd": Odd()} if self.config.harm == "odd protocol" else {}
        return Scores(metrics={"top1": 100 * float((task.test.y == 0).double().mean())}, protocol=protocol)


class HarmExecutor(Executor):
    """Make the first backbone, and go on to the others."""

    def run(self, spec: WorkerSpec, groups: Sequence[Sequence[Any]]) -> Iterator[dict[str, Any]]:
        for group in groups:
            yield from spec.build().run(group)
            call("executor")


class HarmFormat(TableFormat):
    """The caption."""

    def render(self, table: Table) -> str:
        call("render")
        return f"a table of {table.caption.metrics}"
