"""What a GPU does with it: `make gpu` on CUDA or MPS writes docs/performance-gpu.md.

Where there is neither, everything is run at a tiny size on the CPU, to see that it runs, and nothing is
written: those numbers say nothing. Times are of the clock on the wall, with the device waited for. Ratios are
of two things done in turn; seconds are of the device that the table names.
"""

from __future__ import annotations

import importlib.util
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from side_by_side import say, side_by_side
from torch import Tensor, nn

from bench.augmentation.apply import apply
from bench.augmentation.draws import draw
from bench.augmentation.view import View
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.evaluator import Features, Task, draw_folds
from bench.contracts.method import Batch
from bench.contracts.recipe import Training
from bench.evaluation.features import extract
from bench.metrics.neighbours import nearest, unit_rows
from bench.pretraining.loop import TrainingLoop
from bench.pretraining.step import DTYPES
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry
from bench.system.device import auto_precision, choose_device, wait_for
from bench.system.memory import forget_peak, peak_mb
from bench.system.progress import Progress

DEVICE = choose_device(os.environ.get("BENCH_GPU", "auto"))
TINY = DEVICE.type == "cpu"
BACKBONE, BATCH, IMAGES = ("test_resnet", 16, 64) if TINY else ("resnet18", 512, 50_000)
ROWS, QUERIES, DIM = (500, 100, 16) if TINY else (50_000, 10_000, 512)
INFO = DatasetInfo(classes=tuple("abcdefghij"), channels=3, size=32)
VIEW = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)  # SimCLR's for CIFAR
PASS: dict[str, Any] = {"image_size": 32, "channels": 3, "mean": (0.5,) * 3, "std": (0.25,) * 3}


@pytest.fixture(autouse=True)
def said(benchmark: Any) -> None:
    """Have the table know what it is of."""
    benchmark.extra_info["tiny"] = TINY


def draw_pixels(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


def build_backbone() -> Any:
    torch.manual_seed(0)
    cls: Any = Registry.load().load_class("backbones", BACKBONE)
    return cls(BACKBONE, cls.Config(), 3, 32)


def build_loop(folder: Path, images: int, chunk_size: int | None = None) -> TrainingLoop:
    """Return SimCLR's training on random images that are on the device."""
    backbone = build_backbone()
    methods: Any = Registry.load().load_class("methods", "simclr")
    method = methods(backbone, backbone.dim, methods.Config(), INFO).to(DEVICE).train()
    training = Training(
        epochs=100, batch_size=BATCH, image_size=32, optimizer="sgd", lr=0.06, weight_decay=5e-4,
        momentum=0.9, warmup_epochs=0.0, precision=auto_precision(DEVICE), chunk_size=chunk_size,
    )  # fmt: skip
    run = TrainingRun(
        what="bench", key="key", training=training, views=(VIEW, VIEW), mean=(0.5,) * 3, std=(0.25,) * 3,
        seed=0, device=DEVICE, folder=folder,
    )  # fmt: skip
    pixels = Images(draw_pixels(images), torch.arange(images) % 10)
    return TrainingLoop(method, pixels.resident(DEVICE), run)


def train_epoch(loop: TrainingLoop) -> Callable[[], object]:
    """Return what trains an epoch, the last step done."""
    progress = Progress("", 1, len(loop.images), out=io.StringIO())
    return lambda: loop.epoch(0, progress)


def waited(work: Callable[[], object]) -> Callable[[], None]:
    """Return the work with the device waited for."""

    def wait() -> None:
        work()
        wait_for(DEVICE)

    return wait


def test_a_step_against_a_bare_step(benchmark: Any, tmp_path: Path) -> None:
    steps = 2 if TINY else 40
    loop = build_loop(tmp_path, steps * BATCH)
    method, optimizer = loop.method, loop.stepper.optimizer
    views = [torch.rand(BATCH, 3, 32, 32, device=DEVICE) for _ in range(2)]
    batch = Batch(torch.arange(BATCH, device=DEVICE), torch.zeros(BATCH, dtype=torch.long, device=DEVICE))
    dtype = DTYPES.get(loop.run.training.precision)

    def bare() -> None:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(DEVICE.type, dtype, enabled=dtype is not None):
                embeddings = method.embed(views, batch)
            terms = method.terms({name: z.float() for name, z in embeddings.items()}, batch)
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()

    side_by_side(
        benchmark, train_epoch(loop), waited(bare), what=f"speed of SimCLR on {BACKBONE}, against bare steps",
        goal="at least 0.9", faster=True, clock=time.perf_counter,
    )  # fmt: skip


def test_an_epoch_of_cifar10(benchmark: Any, tmp_path: Path) -> None:
    epoch = train_epoch(build_loop(tmp_path, IMAGES))
    epoch()
    benchmark.pedantic(epoch, rounds=3)
    what = (
        f"an epoch of SimCLR, {BACKBONE} with the small stem, {IMAGES:,} images of 32 px, batches of {BATCH}"
    )
    say(benchmark, what=f"{what} (best public: 11.9 s on an A100)", goal="at most 11.9 s")


def test_chunks_against_the_batch(benchmark: Any, tmp_path: Path) -> None:
    whole = build_loop(tmp_path / "whole", 4 * BATCH)
    chunks = build_loop(tmp_path / "chunks", 4 * BATCH, chunk_size=BATCH // 4)
    held = []
    for loop in (chunks, whole):
        forget_peak(DEVICE)
        train_epoch(loop)()
        held.append(peak_mb(DEVICE))
    side_by_side(
        benchmark, train_epoch(chunks), train_epoch(whole), goal="at most 1.5", clock=time.perf_counter,
        what=f"time in four chunks, against the whole batch; memory {held[0] / held[1]:.2f} of it",
    )  # fmt: skip


@pytest.mark.skipif(importlib.util.find_spec("kornia") is None, reason="kornia is not installed")
def test_views_against_kornia(benchmark: Any) -> None:
    from bench_views import Case, kornia

    pixels = draw_pixels(BATCH).to(DEVICE)
    theirs = kornia(Case("", VIEW, 32, 32, BATCH), pixels)

    def ours() -> None:
        apply(pixels, draw(VIEW, BATCH, 32, 32, torch.Generator()), VIEW, 32)

    side_by_side(
        benchmark, waited(ours), waited(theirs), goal="at least 3", faster=True, clock=time.perf_counter,
        what="views a second, 32 px, SimCLR's for CIFAR, against kornia's",
    )  # fmt: skip


def test_features_against_bare_inference(benchmark: Any) -> None:
    backbone: nn.Module = build_backbone().to(DEVICE, memory_format=torch.channels_last).eval()
    pixels, at_once = draw_pixels(IMAGES), 64 if TINY else 4096
    ready = torch.rand(at_once, 3, 32, 32, device=DEVICE).contiguous(memory_format=torch.channels_last)

    def bare() -> None:
        with torch.inference_mode():
            for _ in range(-(-IMAGES // at_once)):
                backbone(ready).cpu()

    side_by_side(
        benchmark, lambda: list(extract(backbone, pixels, device=DEVICE, **PASS)), waited(bare), faster=True,
        what=f"speed of features of {BACKBONE} at 32 px, against bare inference", goal="at least 0.9",
        clock=time.perf_counter, rounds=3,
    )  # fmt: skip


def describe_task() -> Task:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(10, DIM, generator=generator)

    def draw_features(count: int) -> Features:
        y = torch.arange(count) % 10
        return Features(centres[y] + 6 * torch.randn(count, DIM, generator=generator), y)

    train = draw_features(ROWS)
    return Task(
        train=train, test=draw_features(QUERIES), folds=draw_folds(train, 0), classes=INFO.classes, seed=0,
        device=DEVICE,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["linear", "mlp", "knn"])
def test_an_evaluator(benchmark: Any, name: str) -> None:
    cls: Any = Registry.load().load_class("evaluators", name)
    benchmark.pedantic(lambda: cls(cls.Config()).evaluate(describe_task()), rounds=2)
    say(benchmark, what=f"seconds of `{name}` on {ROWS:,} x {DIM}", goal="")


def test_neighbours_against_faiss(benchmark: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    bank, queries = (unit_rows(torch.randn(n, DIM, generator=generator)).to(DEVICE) for n in (ROWS, QUERIES))
    whose, theirs = "a product and topk", lambda: (queries @ bank.T).topk(20)
    if importlib.util.find_spec("faiss") is not None and DEVICE.type == "cuda":
        faiss: Any = importlib.import_module("faiss")
        if hasattr(faiss, "StandardGpuResources"):
            index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), DIM)
            index.add(bank.cpu().numpy())
            whose, theirs = "faiss-gpu", lambda: index.search(queries.cpu().numpy(), 20)
    side_by_side(
        benchmark, waited(lambda: nearest(queries, bank, 20)), waited(theirs), clock=time.perf_counter,
        what=f"20 neighbours of {QUERIES:,} among {ROWS:,}, against {whose}", goal="at most 1.5",
    )  # fmt: skip
