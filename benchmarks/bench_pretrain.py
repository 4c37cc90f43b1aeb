"""Time of an epoch of pretraining, against the bare steps of the same network on a batch that is there.

A bare step embeds prepared views, takes the loss, goes back and lets the optimiser step, in the same
precision and layout. What an epoch takes more is shuffling, views, the schedule, progress and monitors.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from side_by_side import side_by_side
from torch import Tensor

from bench.contract import Batch, DatasetInfo, Images
from bench.pretrain import Loop, Run
from bench.progress import Progress
from bench.recipe import Training
from bench.registry import Registry

STEPS, BATCH = 4, 256


def loop_of(name: str, folder: Path) -> Loop:
    """Return a run on random images, of `STEPS` steps an epoch."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    count = STEPS * BATCH
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    images = Images(pixels, torch.arange(count) % 10)
    registry, info = Registry.load(), DatasetInfo(classes=tuple("abcdefghij"), channels=3, size=32)
    backbones: Any = registry.load_class("backbones", "resnet18")
    methods: Any = registry.load_class("methods", name)
    backbone = backbones("resnet18", backbones.Config(stem="standard"), 3, 32)
    method = methods(backbone, backbone.dim, methods.Config(), info).train()
    training = Training(
        epochs=100, batch_size=BATCH, image_size=32, precision="bfloat16", optimizer="lars", lr=0.1,
        weight_decay=1e-6, momentum=0.9, warmup_epochs=1.0,
    )  # fmt: skip
    run = Run(
        what="bench", training=training, views=methods.views(methods.Config(), info, 32), mean=(0.5,) * 3,
        std=(0.25,) * 3, seed=0, device=torch.device("cpu"), folder=folder,
    )  # fmt: skip
    return Loop(method, images, run)


def bare_steps(loop: Loop, views: list[Tensor]) -> None:
    """Take as many steps as an epoch has, on one batch of views that is there already."""
    method, optimizer = loop.method, loop.optimizer
    batch = Batch(torch.arange(BATCH), torch.zeros(BATCH, dtype=torch.int64))
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = method.embed(views, batch)
        terms = method.terms({name: z.float() for name, z in embeddings.items()}, batch)
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("method", ["simclr", "vicreg"])
def test_pretraining(benchmark: Any, tmp_path: Path, method: str) -> None:
    """Train for an epoch, and take as many bare steps."""
    loop = loop_of(method, tmp_path)
    views = [torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last) for _ in range(2)]
    silent = Progress("", 100, 100 * STEPS * BATCH, out=io.StringIO())
    side_by_side(
        benchmark,
        lambda: loop.epoch(0, silent),
        lambda: bare_steps(loop, views),
        what=f"speed of {method} on resnet18 at 32 px, against bare steps",
        goal="at least 0.95",
        rounds=3,
        faster=True,
    )
