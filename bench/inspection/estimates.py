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
from collections.abc import Callable, Hashable, Mapping
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from bench.boundary import is_from_user
from bench.contracts.evaluator import Evaluator
from bench.contracts.recipe import Training
from bench.evaluation.features import chunk_images
from bench.execution.assembly import build_backbone, build_method, build_training_run
from bench.inspection.evaluator_times import EvaluatorTimer, make_images
from bench.inspection.spans import UNKNOWN, Sample, Span, span_of, span_of_whole
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.pretraining.loop import TrainingLoop
from bench.registry.registry import Registry
from bench.splits.grouped import labelled_splits
from bench.system.arithmetic import float32_as
from bench.system.progress import Progress

SAMPLE_STEPS, ROUNDS = 2, 3  # steps of a round, and rounds that are timed after one to warm up
SMALL_BATCHES = (8, 16)  # that stand for a batch on which so many steps would take longer than
PATIENCE_S = 20.0
FEATURE_IMAGES = 64  # of a forward pass that is timed, at most
FEW_ROWS, MANY_ROWS = 256, 1024  # of features that an evaluator is timed on, to see how it grows
FEW_IMAGES, MANY_IMAGES = 16, 128  # that an evaluator of the network is timed on; the latter if the former
QUICK_S = 1.0  # took less
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


class Estimator:
    """Times each shape of work once.

    Args:
        datasets: where datasets are opened.
        registry: of plugins.
        device: that would compute.
    """

    def __init__(self, datasets: Datasets, registry: Registry, device: torch.device) -> None:
        self.datasets, self.registry, self.device = datasets, registry, device
        self.evaluators = EvaluatorTimer(datasets, registry, device)
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
        an_image = self._remember(shape, lambda: self._time_training(cell))
        return an_image.times(cell.steps * cell.training.step_images)

    def features(self, cell: Cell, split: str) -> Span:
        """Return what the features of a split take."""
        data, trained_on = self.datasets.open(cell.eval_dataset), self.datasets.open(cell.dataset).info
        shape = ("features", cell.backbone.key, cell.image_size, trained_on.channels)
        an_image = self._remember(shape, lambda: self._time_forward(cell, trained_on.channels))
        return an_image.times(len(data.labels(split)))

    def evaluation(self, cell: Cell) -> Span:
        """Return what the evaluator of a cell takes, by how it grows on what is made up."""
        cls = self.evaluators.load_class(cell)
        info, trained_on = (self.datasets.open(data).info for data in (cell.eval_dataset, cell.dataset))
        sizes = (cell.image_size, info.channels, info.size, trained_on.channels)
        shape = (
            "evaluate",
            cell.evaluator.key,
            cell.backbone.key,
            sizes,
            len(info.classes),
            cell.has_seen_labels,
        )
        if cls.needs == "backbone":
            return self._evaluation_on_images(cell, cls, shape)
        return self._evaluation_on_features(cell, info.classes, shape)

    def _evaluation_on_features(
        self, cell: Cell, classes: tuple[str, ...], shape: tuple[Hashable, ...]
    ) -> Span:
        rows = self._count_rows(cell)["train"]
        sizes = [min(rows, FEW_ROWS), min(rows, MANY_ROWS)]
        few, many = (
            self._remember(
                (*shape, size), functools.partial(self.evaluators.on_features, cell, classes, size)
            )
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

    def _evaluation_on_images(self, cell: Cell, cls: type[Evaluator], shape: tuple[Hashable, ...]) -> Span:
        """Return what an evaluator of the network takes, from a few images, and more if these are quick."""
        whole = self._count_rows(cell)
        few = self._take_excerpt(cell, cls, shape, whole, FEW_IMAGES)
        size = MANY_IMAGES if few.span.likely < QUICK_S else FEW_IMAGES
        return span_of_whole(few, self._take_excerpt(cell, cls, (*shape, "again"), whole, size))

    def _take_excerpt(
        self,
        cell: Cell,
        cls: type[Evaluator],
        shape: tuple[Hashable, ...],
        whole: Mapping[str, int],
        size: int,
    ) -> Sample:
        train = min(size, whole["train"])
        sample = {
            "train": train,
            "test": min(whole["test"], max(4, round(train * whole["test"] / whole["train"]))),
        }
        config, factor = cls.excerpt(cell.evaluator.config, sample, whole)
        classes = len(self.datasets.open(cell.eval_dataset).info.classes)
        each = max(1.0, whole["train"] / max(1, classes))
        take = functools.partial(self.evaluators.on_images, cell, config, sample, each)
        return Sample(self._remember((*shape, *sample.values(), min(each, size)), take), 1 / factor)

    def _count_rows(self, cell: Cell) -> dict[str, int]:
        """Return how many labelled images, and how many of the test split, the evaluator of a cell has."""
        data = self.datasets.open(cell.eval_dataset)
        used = labelled_splits([split for split in cell.keys.features if split != "test"])
        labels = np.concatenate([np.asarray(data.labels(split)) for split in used])
        images = np.bincount(labels[labels >= 0], minlength=1)
        counts = [cell.amount.count(int(count)) for count in images] if cell.amount else images
        return {"train": max(1, int(sum(counts))), "test": len(data.labels("test"))}

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

    def _time_training(self, cell: Cell) -> Span:
        """Return the seconds an image of a training; of small batches, where its own would take long."""
        assert cell.training is not None  # noqa: S101
        images = cell.training.step_images * SAMPLE_STEPS * (1 + ROUNDS)
        if images > max(SMALL_BATCHES) * SAMPLE_STEPS * (1 + ROUNDS):
            an_image = span_of_whole(*(self._sample_batch(cell, size) for size in SMALL_BATCHES))
            if not an_image.unknown and an_image.low * images > PATIENCE_S:
                return an_image
        return self._time_steps(cell, ROUNDS)

    def _sample_batch(self, cell: Cell, size: int) -> Sample:
        """Return what a step of a training takes in batches of `size`, as a multiple of one image."""
        assert cell.training is not None  # noqa: S101
        training = replace(cell.training, batch_size=size, accumulate=1, chunk_size=None)
        small = replace(cell, training=training)
        shape = ("batch", cell.keys.backbone, size)
        an_image = self._remember(shape, lambda: self._time_steps(small, rounds=1, steps=1))
        return Sample(an_image.times(size), size)

    def _time_steps(self, cell: Cell, rounds: int, steps: int = SAMPLE_STEPS) -> Span:
        """Return the seconds an image of a training, from rounds of some steps on random images."""
        assert cell.training is not None  # noqa: S101
        info = self.datasets.training_info(cell.dataset, uses_labels=cell.label_share > 0)
        count = cell.training.step_images * steps
        info = replace(info, images=max(info.images, count))
        images = make_images(info, torch.zeros(count, dtype=torch.int64)).to(self.device)
        method = build_method(cell, self.registry, info).to(self.device).train()
        halves = (0.5,) * info.channels
        with tempfile.TemporaryDirectory() as folder:
            run = build_training_run(cell, (halves, halves), self.device, Path(folder))
            loop, silent = TrainingLoop(method, images, run), Progress("", 1, count, out=io.StringIO())
            with float32_as(cell.training.precision), closing(loop.view_source):
                speeds = [loop.epoch(0, silent)["images_per_s"] for _ in range(1 + rounds)][1:]
        return span_of([1 / speed for speed in speeds])

    def _time_forward(self, cell: Cell, channels: int) -> Span:
        """Return the seconds an image of a forward pass."""
        backbone = build_backbone(cell, self.registry, channels).to(self.device).eval()
        count = min(FEATURE_IMAGES, chunk_images(cell.image_size, self.device))
        images = torch.randn(count, channels, cell.image_size, cell.image_size, device=self.device)
        seconds = []
        with torch.no_grad():
            for _ in range(1 + ROUNDS):
                started = time.perf_counter()
                backbone(images).cpu()  # which waits for the device
                seconds.append((time.perf_counter() - started) / count)
        return span_of(seconds[1:])
