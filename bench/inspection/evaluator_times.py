"""Time an evaluator on made-up features or images, to estimate what it takes on those of a grid."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.evaluator import Evaluator, Features, Network, Task
from bench.evaluation.tasks import build_task
from bench.execution.assembly import build_backbone
from bench.inspection.spans import Span, span_of
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.registry.registry import Registry


class EvaluatorTimer:
    """Runs evaluators on what is made up.

    Args:
        datasets: where datasets are opened; nothing of them is decoded.
        registry: of plugins.
        device: that would compute.
    """

    def __init__(self, datasets: Datasets, registry: Registry, device: torch.device) -> None:
        self.datasets, self.registry, self.device = datasets, registry, device

    def load_class(self, cell: Cell) -> type[Evaluator]:
        """Return the class of a cell's evaluator."""
        cls: type[Evaluator] = self.registry.load_class("evaluators", cell.evaluator.name)
        return cls

    def on_features(self, cell: Cell, classes: tuple[str, ...], rows: int) -> Span:
        """Return the seconds of an evaluator on features that are made up: a cloud a class."""
        rows = max(rows, 4 * len(classes))
        task = self._make_task(cell, classes, rows, rows, self._dim(cell))
        return self._time(self.load_class(cell)(cell.evaluator.config), task)

    def on_images(self, cell: Cell, config: Any, sample: Mapping[str, int], labels_a_class: float) -> Span:
        """Return the seconds of an evaluator of the network on images that are made up.

        Args:
            cell: whose evaluator it is.
            config: of the evaluator.
            sample: images of `train` and of `test`.
            labels_a_class: that the cell has, which decides whether there is anything to choose on.
        """
        info: DatasetInfo = self.datasets.open(cell.eval_dataset).info
        count = max(2, math.ceil(sample["train"] / labels_a_class))
        classes = info.classes[:count] or ("",)
        backbone = build_backbone(cell, self.registry, self._channels(cell)).to(self.device).eval()
        task = self._make_task(cell, classes, sample["train"], sample["test"], backbone.dim)
        halves = (0.5,) * self._channels(cell)
        network = Network(
            trained=backbone,
            train=make_images(info, task.train.y),
            test=make_images(info, task.test.y),
            data=info,
            image_size=cell.image_size,
            channels=self._channels(cell),
            mean=halves,
            std=halves,
            device=self.device,
        )
        return self._time(self.load_class(cell)(config), replace(task, network=network))

    def _make_task(self, cell: Cell, classes: tuple[str, ...], train: int, test: int, dim: int) -> Task:
        generator = torch.Generator().manual_seed(train)
        centres = torch.randn(len(classes), dim, generator=generator)

        def make_up(rows: int) -> Features:
            y = torch.arange(rows) % len(classes)
            return Features(centres[y] + torch.randn(rows, dim, generator=generator), y)

        parts = {"train": make_up(train), "test": make_up(test)}
        return build_task(parts, classes, 1.0, 0, self.device, seen=cell.has_seen_labels)

    def _time(self, evaluator: Evaluator, task: Task) -> Span:
        started = time.perf_counter()
        evaluator.evaluate(task)
        return span_of([time.perf_counter() - started])

    def _channels(self, cell: Cell) -> int:
        """Return the channels that the backbone takes: those of what it is trained on."""
        channels: int = self.datasets.open(cell.dataset).info.channels
        return channels

    def _dim(self, cell: Cell) -> int:
        cls: Any = self.registry.load_class("backbones", cell.backbone.name)
        channels = self._channels(cell)
        dim: int | None = cls.about(cell.backbone.name, cell.backbone.config, channels, cell.image_size).dim
        return dim if dim is not None else build_backbone(cell, self.registry, channels).dim


def make_images(info: DatasetInfo, labels: torch.Tensor) -> Images:
    """Return random images of a dataset's shape, with the labels (n,) that they are to have."""
    shape = (len(labels), info.channels, info.size, info.size)
    return Images(torch.randint(0, 256, shape, dtype=torch.uint8), labels)
