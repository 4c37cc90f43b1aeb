"""Estimate what a run takes, by steps of each training, features of some images, evaluators on some rows.

What is of one shape is timed once: seeds and learning rates change no time. Images and features are made up,
so nothing of the data is decoded. Each estimate is a span, from what was fastest to what was slowest or grows
fastest; what is timed is this machine, as busy as it is now.
"""

from __future__ import annotations

import functools
import io
import math
import tempfile
import time
from collections.abc import Callable, Hashable
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from bench.boundary import is_from_user
from bench.contracts.dataset import Images
from bench.contracts.evaluator import Evaluator, Features
from bench.contracts.recipe import Training
from bench.evaluation.tasks import build_task
from bench.execution.assembly import build_backbone, build_method, build_training_run
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.pretraining.loop import TrainingLoop
from bench.registry.registry import Registry
from bench.system.arithmetic import float32_as
from bench.system.progress import Progress, duration

SAMPLE_STEPS, ROUNDS = 2, 3  # steps of a round, and rounds that are timed after one to warm up
FEATURE_IMAGES = 64  # of a forward pass that is timed
FEW_ROWS, MANY_ROWS = 256, 1024  # that an evaluator is timed on, to see how it grows
SLOWEST_GROWTH, FASTEST_GROWTH = 0.5, 1.0  # exponents of the rows, for the span of what grows in between
TIMELESS = {
    "epochs",
    "lr",
    "weight_decay",
    "momentum",
    "warmup_epochs",
    "min_lr",
    "weight_decay_end",
    "betas",
}


@dataclass(frozen=True)
class Span:
    """Seconds that something takes: at least, likely and at most; and how many things are not in it.

    Args:
        low: at least.
        likely: in between.
        high: at most.
        unknown: things that could not be timed.
    """

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0
    unknown: int = 0

    def __add__(self, other: Span) -> Span:
        """Return what both take, one after the other."""
        return Span(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Span)))

    def times(self, factor: float) -> Span:
        """Return so many times the seconds."""
        return replace(self, low=self.low * factor, likely=self.likely * factor, high=self.high * factor)

    def __str__(self) -> str:
        """Return it in words, with its ends where they are said otherwise."""
        low, likely, high = map(duration, (self.low, self.likely, self.high))
        text = likely if low == high else f"{likely} ({low} to {high})"
        return f"{text}, and {self.unknown} that could not be timed" if self.unknown else text


UNKNOWN = Span(unknown=1)


class Estimator:
    """Times each shape of work once.

    Args:
        datasets: where datasets are opened.
        registry: of plugins.
        device: that would compute.
    """

    def __init__(self, datasets: Datasets, registry: Registry, device: torch.device) -> None:
        self.datasets, self.registry, self.device = datasets, registry, device
        self._known: dict[Hashable, Span] = {}

    def pretraining(self, cell: Cell) -> Span:
        """Return what the training of a cell takes; without the decoding of files that are streamed."""
        if cell.training is None:
            return Span()
        info = self.datasets.open(cell.dataset).info
        training = {
            f.name: getattr(cell.training, f.name) for f in fields(Training) if f.name not in TIMELESS
        }
        method = (cell.method.name, repr(cell.method.config), cell.label_share > 0)
        sizes = (cell.image_size, info.channels, info.size)
        shape = ("train", method, cell.backbone.key, repr(training), repr(cell.views), sizes)
        an_image = self._remember(shape, lambda: self._time_steps(cell))
        return an_image.times(cell.steps * cell.training.step_images)

    def features(self, cell: Cell, split: str) -> Span:
        """Return what the features of a split take."""
        data = self.datasets.open(cell.eval_dataset)
        shape = ("features", cell.backbone.key, cell.image_size, data.info.channels)
        return self._remember(shape, lambda: self._time_forward(cell)).times(len(data.labels(split)))

    def evaluation(self, cell: Cell) -> Span:
        """Return what the evaluator of a cell takes, by how it grows on made-up features."""
        data = self.datasets.open(cell.eval_dataset)
        pool = sum(len(data.labels(split)) for split in cell.keys.features if split != "test")
        rows, classes = max(1, round(pool * (cell.label_frac or 1))), data.info.classes
        width = (cell.backbone.key, cell.image_size, data.info.channels)
        shape = ("evaluate", cell.evaluator.key, width, len(classes))
        sizes = [min(rows, FEW_ROWS), min(rows, MANY_ROWS)]
        few, many = (
            self._remember((*shape, size), functools.partial(self.time_evaluator, cell, classes, size))
            for size in sizes
        )
        if few.unknown or many.unknown:
            return UNKNOWN
        ratio = rows / sizes[1]
        if ratio <= 1:
            return many
        slower = max(1.0, many.likely / max(few.likely, 1e-9))
        growth = math.log(slower) / math.log(MANY_ROWS / FEW_ROWS)
        ends = (min(growth, SLOWEST_GROWTH), growth, max(growth, FASTEST_GROWTH))
        low, likely, high = (many.likely * ratio**exponent for exponent in ends)
        return Span(low, likely, high)

    def _remember(self, shape: Hashable, take: Callable[[], Span]) -> Span:
        """Return the time of a shape; what fails here fails in the run, and is told there."""
        if shape not in self._known:
            try:
                self._known[shape] = take()
            except BaseException as error:
                if is_from_user(error):
                    raise
                self._known[shape] = UNKNOWN
        return self._known[shape]

    def _time_steps(self, cell: Cell) -> Span:
        """Return the seconds an image of a training, from some steps on random images."""
        assert cell.training is not None  # noqa: S101
        info = self.datasets.training_info(cell.dataset, uses_labels=cell.label_share > 0)
        count = cell.training.step_images * SAMPLE_STEPS
        info = replace(info, images=max(info.images, count))
        shape = (count, info.channels, info.size, info.size)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
        images = Images(pixels, torch.zeros(count, dtype=torch.int64)).to(self.device)
        method = build_method(cell, self.registry, info).to(self.device).train()
        halves = (0.5,) * info.channels
        with tempfile.TemporaryDirectory() as folder:
            run = build_training_run(cell, (halves, halves), self.device, Path(folder))
            loop, silent = TrainingLoop(method, images, run), Progress("", 1, count, out=io.StringIO())
            with float32_as(cell.training.precision), closing(loop.view_source):
                speeds = [loop.epoch(0, silent)["images_per_s"] for _ in range(1 + ROUNDS)][1:]
        return _span_of([1 / speed for speed in speeds])

    def _time_forward(self, cell: Cell) -> Span:
        """Return the seconds an image of a forward pass."""
        channels = self.datasets.open(cell.eval_dataset).info.channels
        backbone = build_backbone(cell, self.registry, channels).to(self.device).eval()
        images = torch.randn(FEATURE_IMAGES, channels, cell.image_size, cell.image_size, device=self.device)
        seconds = []
        with torch.no_grad():
            for _ in range(1 + ROUNDS):
                started = time.perf_counter()
                backbone(images).cpu()  # which waits for the device
                seconds.append((time.perf_counter() - started) / FEATURE_IMAGES)
        return _span_of(seconds[1:])

    def time_evaluator(self, cell: Cell, classes: tuple[str, ...], rows: int) -> Span:
        """Return the seconds of an evaluator on features that are made up: a cloud a class."""
        cls: type[Evaluator] = self.registry.load_class("evaluators", cell.evaluator.name)
        if cls.needs == "backbone":
            return UNKNOWN
        channels = self.datasets.open(cell.eval_dataset).info.channels
        dim = self._dim(cell, channels)
        generator = torch.Generator().manual_seed(rows)
        centres = torch.randn(len(classes), dim, generator=generator)
        rows = max(rows, 4 * len(classes))

        def make_up() -> Features:
            y = torch.arange(rows) % len(classes)
            return Features(centres[y] + torch.randn(rows, dim, generator=generator), y)

        task = build_task({"train": make_up(), "test": make_up()}, classes, 1.0, 0, self.device)
        started = time.perf_counter()
        cls(cell.evaluator.config).evaluate(task)
        return _span_of([time.perf_counter() - started])

    def _dim(self, cell: Cell, channels: int) -> int:
        cls: Any = self.registry.load_class("backbones", cell.backbone.name)
        dim: int | None = cls.about(cell.backbone.name, cell.backbone.config, channels, cell.image_size).dim
        return dim if dim is not None else build_backbone(cell, self.registry, channels).dim


def _span_of(seconds: list[float]) -> Span:
    ordered = sorted(seconds)
    return Span(ordered[0], ordered[len(ordered) // 2], ordered[-1])
