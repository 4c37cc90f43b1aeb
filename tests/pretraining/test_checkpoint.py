"""The state of a training goes through a file and comes back bit by bit."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.contracts.recipe import Training
from bench.pretraining import checkpoint
from bench.pretraining.checkpoint import Progress
from bench.pretraining.optimizers import build_optimizer

OPTIMISERS = ("lars", "sgd", "adamw")


def training(optimizer: str) -> Training:
    return Training(
        epochs=2, batch_size=2, image_size=8, precision="float32", optimizer=optimizer, lr=1e-3,
        weight_decay=0.01, momentum=0.9, warmup_epochs=0,
    )  # fmt: skip


def fresh(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    return net.to(memory_format=torch.channels_last)


def stepped(net: nn.Module, optimizer: torch.optim.Optimizer, times: int) -> None:
    for number in range(times):
        images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(number))
        optimizer.zero_grad()
        net(images.contiguous(memory_format=torch.channels_last)).square().sum().backward()
        optimizer.step()


def scaler(*, enabled: bool = False) -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", enabled=enabled)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype and one.stride() == other.stride()
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_what_was_saved_is_resumed_to_the_last_bit_and_stride(tmp_path: Path, optimizer: str) -> None:
    net = fresh()
    optimiser = build_optimizer(net, training(optimizer))
    stepped(net, optimiser, 3)
    checkpoint.save(tmp_path, net, optimiser, scaler(), Progress(3, 1.5, (2, 1)))
    other = fresh(seed=1)
    resumed = build_optimizer(other, training(optimizer))
    done = checkpoint.resume(tmp_path, other, resumed, scaler())

    assert done == Progress(3, 1.5, (2, 1))
    assert same(dict(other.state_dict()), dict(net.state_dict()))
    assert optimiser.state_dict()["state"]
    assert same(resumed.state_dict()["state"], optimiser.state_dict()["state"])


@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_a_resumed_optimiser_goes_on_as_if_it_had_not_stopped(tmp_path: Path, optimizer: str) -> None:
    net = fresh()
    optimiser = build_optimizer(net, training(optimizer))
    stepped(net, optimiser, 2)
    checkpoint.save(tmp_path, net, optimiser, scaler(), Progress(1, 0.0))
    other = fresh(seed=1)
    resumed = build_optimizer(other, training(optimizer))
    checkpoint.resume(tmp_path, other, resumed, scaler())
    stepped(net, optimiser, 4)
    stepped(other, resumed, 4)

    assert same(dict(other.state_dict()), dict(net.state_dict()))


def test_the_scale_of_the_loss_is_resumed(tmp_path: Path) -> None:
    net, first, second = fresh(), scaler(enabled=True), scaler(enabled=True)
    first.load_state_dict({**first.state_dict(), "scale": 8.0, "_growth_tracker": 5})
    optimiser = build_optimizer(net, training("sgd"))
    checkpoint.save(tmp_path, net, optimiser, first, Progress(1, 0.0))
    checkpoint.resume(tmp_path, net, optimiser, second)

    assert second.state_dict() == first.state_dict()


def test_where_nothing_was_saved_a_run_begins_at_the_beginning(tmp_path: Path) -> None:
    net = fresh()
    before = copy.deepcopy(net.state_dict())
    done = checkpoint.resume(tmp_path, net, build_optimizer(net, training("lars")), scaler())

    assert done == Progress(0, 0.0)
    assert same(dict(net.state_dict()), dict(before))


@pytest.mark.parametrize("kept", [0, 7, 300, -1])
def test_where_a_file_is_cut_short_a_run_begins_at_the_beginning(tmp_path: Path, kept: int) -> None:
    net = fresh()
    optimiser = build_optimizer(net, training("lars"))
    checkpoint.save(tmp_path, net, optimiser, scaler(), Progress(3, 1.5))
    file = tmp_path / checkpoint.FILE
    file.write_bytes(file.read_bytes()[:kept])

    assert checkpoint.resume(tmp_path, net, optimiser, scaler()) == Progress(0, 0.0)


def test_tensors_that_share_memory_are_saved_each(tmp_path: Path) -> None:
    net = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    net[1].weight = net[0].weight
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    checkpoint.save(tmp_path, net, optimiser, scaler(), Progress(1, 0.0))

    assert checkpoint.resume(tmp_path, net, optimiser, scaler())[0] == 1


def test_nothing_is_left_of_a_run_that_is_finished(tmp_path: Path) -> None:
    net = fresh()
    checkpoint.save(tmp_path, net, build_optimizer(net, training("sgd")), scaler(), Progress(1, 0.0))
    (tmp_path / checkpoint.PART).write_bytes(b"of a process that was killed while it wrote")
    checkpoint.forget(tmp_path)

    assert list(tmp_path.iterdir()) == []
