"""The state of a training goes through a file and comes back bit by bit."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.contracts.recipe import Training
from bench.pretraining.checkpoint import FILE, PART, Checkpoint, TrainingProgress
from bench.pretraining.optimizers import build_optimizer

NOTHING = TrainingProgress([])
DONE = TrainingProgress([{"epoch": number, "seconds": 0.5} for number in (1, 2, 3)], threads=(2, 1))
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
    Checkpoint(tmp_path, "key").save(net, optimiser, scaler(), DONE)
    other = fresh(seed=1)
    resumed = build_optimizer(other, training(optimizer))
    done = Checkpoint(tmp_path, "key").resume(other, resumed, scaler())

    assert done == DONE
    assert same(dict(other.state_dict()), dict(net.state_dict()))
    assert optimiser.state_dict()["state"]
    assert same(resumed.state_dict()["state"], optimiser.state_dict()["state"])


@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_a_resumed_optimiser_goes_on_as_if_it_had_not_stopped(tmp_path: Path, optimizer: str) -> None:
    net = fresh()
    optimiser = build_optimizer(net, training(optimizer))
    stepped(net, optimiser, 2)
    Checkpoint(tmp_path, "key").save(net, optimiser, scaler(), DONE)
    other = fresh(seed=1)
    resumed = build_optimizer(other, training(optimizer))
    Checkpoint(tmp_path, "key").resume(other, resumed, scaler())
    stepped(net, optimiser, 4)
    stepped(other, resumed, 4)

    assert same(dict(other.state_dict()), dict(net.state_dict()))


def test_the_scale_of_the_loss_is_resumed(tmp_path: Path) -> None:
    net, first, second = fresh(), scaler(enabled=True), scaler(enabled=True)
    first.load_state_dict({**first.state_dict(), "scale": 8.0, "_growth_tracker": 5})
    optimiser = build_optimizer(net, training("sgd"))
    Checkpoint(tmp_path, "key").save(net, optimiser, first, DONE)
    Checkpoint(tmp_path, "key").resume(net, optimiser, second)

    assert second.state_dict() == first.state_dict()


def test_where_nothing_was_saved_a_run_begins_at_the_beginning(tmp_path: Path) -> None:
    net = fresh()
    before = copy.deepcopy(net.state_dict())
    done = Checkpoint(tmp_path, "key").resume(net, build_optimizer(net, training("lars")), scaler())

    assert done == NOTHING
    assert same(dict(net.state_dict()), dict(before))


@pytest.mark.parametrize("kept", [0, 7, 300, -1])
def test_where_a_file_is_cut_short_a_run_begins_at_the_beginning(tmp_path: Path, kept: int) -> None:
    net = fresh()
    optimiser = build_optimizer(net, training("lars"))
    Checkpoint(tmp_path, "key").save(net, optimiser, scaler(), DONE)
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:kept])

    assert Checkpoint(tmp_path, "key").resume(net, optimiser, scaler()) == NOTHING


def test_tensors_that_share_memory_are_saved_each(tmp_path: Path) -> None:
    net = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    net[1].weight = net[0].weight
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    Checkpoint(tmp_path, "key").save(net, optimiser, scaler(), DONE)

    assert Checkpoint(tmp_path, "key").resume(net, optimiser, scaler()) == DONE


def test_nothing_is_left_of_a_run_that_is_finished(tmp_path: Path) -> None:
    net = fresh()
    Checkpoint(tmp_path, "key").save(net, build_optimizer(net, training("sgd")), scaler(), DONE)
    (tmp_path / PART).write_bytes(b"of a process that was killed while it wrote")
    Checkpoint(tmp_path, "key").forget()

    assert list(tmp_path.iterdir()) == []


def flip_each_part(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the file with one bit flipped: in the header, in its metadata, in the tensors."""
    content = path.read_bytes()
    size = 8 + int.from_bytes(content[:8], "little")
    for position in (
        20,
        content.index(b"seconds"),
        size,
        size + 3,
        (size + len(content)) // 2,
        len(content) - 1,
    ):
        flipped = bytearray(content)
        flipped[position] ^= 1
        yield position, bytes(flipped)


@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_one_flipped_bit_anywhere_is_not_believed(tmp_path: Path, optimizer: str) -> None:
    net = fresh()
    optimiser = build_optimizer(net, training(optimizer))
    stepped(net, optimiser, 1)
    Checkpoint(tmp_path, "key").save(net, optimiser, scaler(), DONE)
    before = copy.deepcopy(net.state_dict())
    for position, content in flip_each_part(tmp_path / FILE):
        (tmp_path / FILE).write_bytes(content)

        assert Checkpoint(tmp_path, "key").resume(net, optimiser, scaler()) == NOTHING, position
        assert same(dict(net.state_dict()), dict(before)), position


def test_the_checkpoint_of_another_training_is_set_aside_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net = fresh()
    optimiser = build_optimizer(net, training("sgd"))
    Checkpoint(tmp_path, "other").save(net, optimiser, scaler(), DONE)
    done = Checkpoint(tmp_path, "key").resume(net, optimiser, scaler())

    assert done == NOTHING
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path / FILE}: the checkpoint is of another training, other. ")
    assert message.endswith(f"set aside as {FILE}.rejected, and the training begins anew.")
    assert [path.name for path in tmp_path.iterdir()] == [f"{FILE}.rejected"]


def test_the_checkpoint_of_a_network_that_was_changed_is_set_aside(tmp_path: Path) -> None:
    net, other = (
        fresh(),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3)),
    )
    Checkpoint(tmp_path, "key").save(net, build_optimizer(net, training("sgd")), scaler(), DONE)
    before = copy.deepcopy(other.state_dict())
    done = Checkpoint(tmp_path, "key").resume(other, build_optimizer(other, training("sgd")), scaler())

    assert done == NOTHING
    assert same(dict(other.state_dict()), dict(before))


@pytest.mark.parametrize("broken", ["save_file", "sync", "os.replace"])
def test_an_error_inside_the_write_leaves_the_checkpoint_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    net = fresh()
    optimiser = build_optimizer(net, training("sgd"))
    Checkpoint(tmp_path, "key").save(net, optimiser, scaler(), TrainingProgress(DONE.log[:1]))
    stepped(net, optimiser, 1)

    def fail(*_: object, **__: object) -> None:
        (tmp_path / PART).write_bytes(b"half")
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(f"bench.pretraining.checkpoint.{broken}", fail)
        with pytest.raises(OSError, match="no space left"):
            Checkpoint(tmp_path, "key").save(net, optimiser, scaler(), DONE)

    assert Checkpoint(tmp_path, "key").resume(fresh(), optimiser, scaler()) == TrainingProgress(DONE.log[:1])
