"""Pretraining on a GPU: every precision and optimiser, what is drawn, resumed and chunked."""

from __future__ import annotations

import warnings
from itertools import islice
from pathlib import Path

import pytest
import torch
from gpu_training import BATCH, INFO, build_method, describe_run, draw_images, draw_pixels, furthest, train
from torch import nn

from bench.augmentation.apply import apply
from bench.augmentation.draws import draw
from bench.augmentation.view import View
from bench.contracts.method import Step
from bench.pretraining import loop as loops
from bench.pretraining.loop import TrainingLoop
from bench.pretraining.optimizers import build_optimizer
from bench.registry.registry import Registry
from bench.system.arithmetic import float32_as
from bench.system.device import auto_precision, to_device

STRONG = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur=0.5, solarise=0.2, affine=0.3)


def test_what_is_sent_is_what_arrives_though_it_is_freed_at_once(device: torch.device) -> None:
    wanted = [torch.randn(257, generator=torch.Generator().manual_seed(seed)) for seed in range(200)]
    there = [to_device(x.clone(), device) for x in wanted]
    for x in (torch.randn(4096) for _ in range(50)):  # takes the memory that was freed
        x.mul_(2)

    assert all(torch.equal(a, b.cpu()) for a, b in zip(wanted, there, strict=True))


@pytest.mark.parametrize(("side", "size"), [(32, 32), (64, 32), (96, 64)])
def test_views_are_those_of_the_cpu(device: torch.device, side: int, size: int) -> None:
    pixels = draw_pixels(64, side)
    drawn = draw(STRONG, 64, side, side, torch.Generator().manual_seed(1))
    apart = (apply(pixels, drawn, STRONG, size) - apply(pixels.to(device), drawn, STRONG, size).cpu()).abs()

    assert float((apart > 2e-3).float().mean()) < 1e-3  # at a threshold, rounding decides
    assert float(apart.mean()) < 1e-4


@pytest.mark.parametrize("way", [{}, {"chunk_size": BATCH // 2}, {"accumulate": 2}], ids=str)
@pytest.mark.parametrize("optimizer", ["lars", "sgd", "adamw"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_every_precision_and_optimiser_trains(
    device: torch.device, precision: str, optimizer: str, way: dict[str, int], tmp_path: Path
) -> None:
    method = train(device, tmp_path, precision=precision, optimizer=optimizer, **way)

    assert all(bool(p.isfinite().all()) for p in method.parameters())


def test_a_first_step_that_overflows_leaves_a_momentum_of_zeros(device: torch.device, tmp_path: Path) -> None:
    network = nn.Linear(1024, 64).to(device)
    training = describe_run(device, tmp_path, optimizer="sgd", precision="float16").training
    optimizer, scaler = build_optimizer(network, training), torch.amp.GradScaler(device.type, init_scale=4.0)
    for step in range(3):
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(network(torch.ones(4, 1024, device=device)).mean()).backward()
        if step == 0:
            assert network.weight.grad is not None
            network.weight.grad[0, 0] = torch.inf
            poison = [torch.full_like(p, torch.nan) for p in network.parameters() for _ in range(4)]
            del poison  # what the next `empty_like` finds
        scaler.step(optimizer)
        scaler.update()

    held = [optimizer.state[p]["momentum_buffer"] for p in network.parameters()]
    assert all(bool(x.isfinite().all()) for x in (*network.parameters(), *held))


WAYS: list[dict[str, object]] = [
    {},
    {"optimizer": "sgd"},
    {"optimizer": "adamw"},
    {"precision": "float16"},
    {"chunk_size": BATCH // 2},
]


@pytest.mark.parametrize("changes", WAYS, ids=str)
def test_a_training_that_was_stopped_is_no_further_off_than_rounding(
    device: torch.device, changes: dict[str, object], tmp_path: Path
) -> None:
    once, again = (train(device, tmp_path / name, **changes) for name in ("once", "again"))
    resumed = train(device, tmp_path / "resumed", stop_after=2, **changes)

    assert furthest(once, resumed) <= 10 * furthest(once, again) + 1e-5


@pytest.mark.parametrize("changes", WAYS, ids=str)
def test_a_training_that_repeats_itself_is_resumed_to_the_bit(
    repeating: torch.device, changes: dict[str, object], tmp_path: Path
) -> None:
    once, resumed = (train(repeating, tmp_path / str(after), after, **changes) for after in (None, 2))

    assert furthest(once, resumed) == 0


def test_chunks_have_the_gradient_of_the_batch(device: torch.device, tmp_path: Path) -> None:
    steps = []
    for size in (None, BATCH // 4):
        torch.manual_seed(0)
        methods = Registry.load().load_class("methods", "simclr")
        layers = nn.Conv2d(3, 8, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        method = methods(nn.Sequential(*layers), 8, methods.Config(), INFO)
        method.projector = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 16))  # no batch norm
        images = draw_images(BATCH, device)
        run = describe_run(device, tmp_path, optimizer="sgd", chunk_size=size)
        with float32_as("float32"):
            loop = TrainingLoop(method.to(device).train(), images, run)
            loop.stepper.take(islice(loop.ready_batches(0), 1), Step(number=0, total=3, epoch=0, epochs=3))
        steps.append(torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None]))

    assert float((steps[0] - steps[1]).norm() / steps[0].norm()) < 1e-4


def test_views_that_are_made_ahead_are_those_made_in_turn(
    repeating: torch.device, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ahead = train(repeating, tmp_path / "ahead", optimizer="sgd")
    monkeypatch.setattr(loops, "open_side_stream", lambda _device, _chunks, _ranks: None)
    in_turn = train(repeating, tmp_path / "in turn", optimizer="sgd")

    assert furthest(ahead, in_turn) == 0


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd", "precision": "float16"}], ids=str)
def test_a_step_waits_for_nothing(cuda: torch.device, changes: dict[str, object], tmp_path: Path) -> None:
    loop = TrainingLoop(
        build_method(cuda), draw_images(8 * BATCH, cuda), describe_run(cuda, tmp_path, **changes)
    )
    batches = loop.ready_batches(0)
    loop.stepper.take(islice(batches, 1), Step(number=0, total=8, epoch=0, epochs=1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")  # warns itself, that it is a prototype
        try:
            for number in range(1, 7):
                loop.stepper.take(islice(batches, 1), Step(number=number, total=8, epoch=0, epochs=1))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [warning for warning in caught if "called a synchronizing" in str(warning.message)]
    allowed = 6 if changes else 0  # of an optimiser that is not fused the scaler asks whether it overflowed

    assert len(waits) <= allowed, [f"{wait.filename}:{wait.lineno}" for wait in waits]


def test_a_gpu_of_another_number_is_used_alone(cuda: torch.device, tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    before = torch.cuda.memory_allocated(cuda)
    other = torch.device("cuda", (cuda.index + 1) % torch.cuda.device_count())
    train(other, tmp_path, precision=auto_precision(other))

    assert torch.cuda.memory_allocated(cuda) <= before
