"""Time of an epoch of SimCLR on resnet18, by itself and with the vote of the neighbours.

    what monitors cost = 1 + (an epoch with the vote - one without) / (one without * epochs between votes)

Everything runs on one thread, and it is the processor's time that counts: other work on the machine
changes an epoch by more than a vote takes.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from side_by_side import side_by_side

from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.recipe import Training
from bench.pretraining.loop import TrainingLoop
from bench.pretraining.online_knn import knn_interval, sample_for_knn
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry
from bench.system.progress import Progress

COUNT, BATCH, CLASSES = 1280, 256, 10


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> TrainingLoop:
    """Return a run on random images that has made one epoch."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (COUNT, 3, 32, 32), dtype=torch.uint8, generator=generator)
    images = Images(pixels, torch.arange(COUNT) % CLASSES)
    registry = Registry.load()
    backbones: Any = registry.load_class("backbones", "resnet18")
    methods: Any = registry.load_class("methods", "simclr")
    info = DatasetInfo(classes=tuple("abcdefghij"), channels=3, size=32)
    backbone = backbones("resnet18", backbones.Config(stem="standard"), 3, 32)
    method = methods(backbone, backbone.dim, methods.Config(), info).train()
    run = TrainingRun(
        what="bench",
        key="key",
        training=training(),
        views=methods.views(methods.Config(), info, 32),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        seed=0,
        device=torch.device("cpu"),
        folder=Path(tmp_path_factory.mktemp("run")),
        knn=sample_for_knn(images),
    )
    warm = TrainingLoop(method, images, run)
    warm.epoch(0, silent())
    return warm


def training() -> Training:
    return Training(
        epochs=100, batch_size=BATCH, image_size=32, precision="bfloat16", optimizer="lars", lr=0.1,
        weight_decay=1e-6, momentum=0.9, warmup_epochs=1.0,
    )  # fmt: skip


def silent() -> Progress:
    return Progress("", 100, COUNT * 100, out=io.StringIO())


def test_monitors(benchmark: Any, loop: TrainingLoop) -> None:
    """Train for an epoch after which the neighbours vote, and for one after which they do not."""
    assert loop.run.knn is not None
    every = knn_interval(len(loop.run.knn), COUNT, len(loop.run.views))
    found = side_by_side(
        benchmark,
        lambda: loop.epoch(every - 1, silent()),
        lambda: loop.epoch(0, silent()),
        what="SimCLR on resnet18 at 32 px with all monitors, against without the vote",
        goal="",
        rounds=2,
    )
    benchmark.extra_info |= {
        "ratio": 1 + (found.value - 1) / every,
        "spread": f"{1 + (found.low - 1) / every:.3g} to {1 + (found.high - 1) / every:.3g}",
    }
