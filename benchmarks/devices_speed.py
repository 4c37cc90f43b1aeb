"""Processor time of a step of SimCLR on resnet18, in one process and in several that share the batch.

    python benchmarks/devices_speed.py [BATCH] [STEPS]

    overhead of W = (the processor time of W processes together) / (that of one) - 1

What they would gain in time on W processors is W / (1 + overhead), less what they wait for each other. On
a machine that is shared, only processor time says something.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.recipe import Training
from bench.pretraining.loop import TrainingLoop
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry
from bench.system.progress import Progress
from bench.system.ranks import ALONE, Ranks, join_ranks, leave_ranks

SIZES = (1, 2, 4)


def open_loop(batch: int, steps: int, folder: Path, ranks: Ranks = ALONE) -> TrainingLoop:
    """Return a training of resnet18 on random images of 32 pixels."""
    drawn = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (steps * batch, 3, 32, 32), dtype=torch.uint8, generator=drawn)
    registry = Registry.load()
    backbones: Any = registry.load_class("backbones", "resnet18")
    methods: Any = registry.load_class("methods", "simclr")
    info = DatasetInfo(classes=("a", "b"), channels=3, size=32)
    torch.manual_seed(0)
    backbone = backbones("resnet18", backbones.Config(stem="standard"), 3, 32)
    method = methods(backbone, backbone.dim, methods.Config(), info).train()
    training = Training(
        epochs=100, batch_size=batch, image_size=32, precision="float32", optimizer="lars", lr=0.1,
        weight_decay=1e-6, momentum=0.9, warmup_epochs=1.0,
    )  # fmt: skip
    run = TrainingRun(
        what="bench", key="key", training=training, views=methods.views(methods.Config(), info, 32),
        mean=(0.5,) * 3, std=(0.25,) * 3, seed=0, device=torch.device("cpu"), folder=folder, ranks=ranks,
    )  # fmt: skip
    return TrainingLoop(method, Images(pixels, torch.zeros(len(pixels), dtype=torch.int64)), run)


def measure(batch: int, steps: int, folder: Path, size: int, rank: int) -> None:
    """Write down the processor time of a step after a first epoch, as one of some ranks."""
    ranks = ALONE
    if size > 1:
        store = dist.FileStore(str(folder / f"store-{size}"), size)
        ranks = join_ranks(store, rank, size, torch.device("cpu"))
    loop = open_loop(batch, steps, folder, ranks)
    silent = Progress("", 100, 1, out=io.StringIO())
    for epoch in (0, 1):
        began = time.process_time()
        if rank:
            for _ in loop.steps_of(epoch):
                pass
            loop.run.ranks.find_difference(loop.method.state_dict())
        else:
            loop.epoch(epoch, silent)
    (folder / f"{size}-{rank}").write_text(str((time.process_time() - began) / steps))
    leave_ranks()


def main(batch: int = 128, steps: int = 3) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        open_loop(batch, steps, folder).view_source.close()  # loads all that is loaded late, once
        for size in SIZES:
            children = []
            for rank in range(size):
                if child := os.fork():
                    children.append(child)
                    continue
                measure(batch, steps, folder, size, rank)
                os._exit(0)
            for child in children:
                os.waitpid(child, 0)
            seconds = [float((folder / f"{size}-{rank}").read_text()) for rank in range(size)]
            alone = float((folder / "1-0").read_text())
            print(f"{size}: {sum(seconds):.2f} s a step, {sum(seconds) / alone:.2f} times that of one")  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
