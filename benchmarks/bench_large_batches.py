"""Memory and time of a SimCLR step in chunks: `pytest benchmarks/bench_large_batches.py`, on Linux.

    memory = (peak of a process that takes one step - its peak before that step), of a batch of 4,096 in
             chunks of 256 over that of a batch of 256
    time   = of a step on 1,024 images in chunks of 256 over that of a step on all at once
    apart  = |gradient in chunks of 64 - gradient of the batch of 256| / |gradient of the batch|, over all
             parameters at once: what it is that batch norm has the chunk's statistics

Images have 32 pixels, everything is in float32 and on one thread. These are two backbones that take 4,096
images in a minute. The smaller one shows what grows with the batch whatever the chunk: images, embeddings
and a block of SimCLR's similarities. All of those, 8,192 x 8,192, would be three times its memory.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Step
from bench.contracts.recipe import Training
from bench.pretraining.loop import TrainingLoop
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry
from bench.system.progress import Progress

CHUNK, LARGE, MIDDLE = 256, 4096, 1024
STEMS = {"test_convnext": "small", "resnet18": "standard"}
MOST = 1.5  # of the memory ratio; without chunks it is 16


def loop_of(
    backbone: str, batch_size: int, chunk_size: int | None, method_name: str = "simclr"
) -> TrainingLoop:
    """Return a run on random images in which an epoch is a step."""
    torch.set_num_threads(1)
    pixels = torch.randint(0, 256, (batch_size, 3, 32, 32), dtype=torch.uint8)
    images = Images(pixels, torch.arange(batch_size) % 10)
    registry, info = Registry.load(), DatasetInfo(classes=tuple("abcdefghij"), channels=3, size=32)
    backbones: Any = registry.load_class("backbones", backbone)
    methods: Any = registry.load_class("methods", method_name)
    network = backbones(backbone, backbones.Config(stem=STEMS[backbone]), 3, 32)
    method = methods(network, network.dim, methods.Config(), info).train()
    training = Training(
        epochs=100, batch_size=batch_size, image_size=32, precision="float32", optimizer="lars", lr=0.1,
        weight_decay=1e-6, momentum=0.9, warmup_epochs=1.0, chunk_size=chunk_size,
    )  # fmt: skip
    run = TrainingRun(
        what="bench", key="key",
        training=training, views=methods.views(methods.Config(), info, 32), mean=(0.5,) * 3,
        std=(0.25,) * 3, seed=0, device=torch.device("cpu"), folder=Path(mkdtemp()),
    )  # fmt: skip
    return TrainingLoop(method, images, run)


def silent() -> Progress:
    return Progress("", 100, 100 * LARGE, out=io.StringIO())


def peak_mb() -> float:
    """Return the most memory that this process has had so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def step_mb(*asked: str) -> float:
    """Return the memory that a step takes, in a process of its own that gives back what it frees."""
    command, environment = (
        [sys.executable, __file__, *asked],
        {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)  # noqa: S603
    return float(done.stdout)


@pytest.mark.parametrize("backbone", STEMS)
def test_memory(benchmark: Any, backbone: str) -> None:
    """Take one step on a batch of 256, and one on 4,096 in chunks of 256."""
    small = step_mb(backbone, str(CHUNK))
    large = benchmark.pedantic(step_mb, (backbone, str(LARGE), str(CHUNK)), rounds=1)
    benchmark.extra_info |= {"mb_of_256": small, "mb_of_4096": large}
    benchmark.extra_info |= {
        "what": f"memory of a SimCLR step on {backbone}, 4,096 images in chunks of 256, against 256",
        "ratio": large / small,
        "goal": "at most 1.2",
    }

    assert large < MOST * small


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("chunk_size", [None, CHUNK], ids=["whole", "chunked"])
def test_time(benchmark: Any, chunk_size: int | None) -> None:
    """Take steps on a batch of 1,024."""
    loop = loop_of("resnet18", MIDDLE, chunk_size)
    benchmark.pedantic(loop.epoch, (0, silent()), rounds=3, warmup_rounds=1)


def gradient(backbone: str, method: str, chunk_size: int | None) -> Tensor:
    """Return the gradient of the first step on 256 images, all parameters in a row."""
    torch.manual_seed(0)
    loop = loop_of(backbone, CHUNK, chunk_size, method)
    loop.stepper.take(islice(loop.ready_batches(0), 1), Step())
    return torch.cat([p.grad.flatten() for p in loop.method.parameters() if p.grad is not None])


@pytest.mark.parametrize("method", ["simclr", "vicreg"])
@pytest.mark.parametrize("backbone", STEMS)
def test_gradient(benchmark: Any, backbone: str, method: str) -> None:
    """Take one step on a batch of 256, at once and in chunks of 64."""
    whole = gradient(backbone, method, None)
    chunked = benchmark.pedantic(gradient, (backbone, method, CHUNK // 4), rounds=1)
    benchmark.extra_info |= {
        "what": f"how far a {method} gradient on {backbone} is off in four chunks of 64, with batch norm",
        "ratio": float((chunked - whole).norm() / whole.norm()),
    }


if __name__ == "__main__":
    name, batch, *chunk = sys.argv[1:]
    asked = loop_of(name, int(batch), int(chunk[0]) if chunk else None)
    before = peak_mb()
    asked.epoch(0, silent())
    print(peak_mb() - before)  # noqa: T201
