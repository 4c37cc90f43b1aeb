"""What a method keeps, after a training that was whole, stopped, or in chunks: to compare them in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_training import IMAGES, Stopped, run_in
from torch import Tensor

from bench.contracts.dataset import FileStream, Images
from bench.contracts.method import Method
from bench.pretraining.loop import pretrain

State = dict[str, Tensor]
Make = Callable[[int], Method]  # makes a method, initialised from a seed
LENGTH = {"epochs": 3, "batch_size": 10}  # of 45 images: 12 steps


def trained(make: Make, folder: Path, images: Images | FileStream = IMAGES, **changes: Any) -> Method:
    """Return a method of seed 0 after a run of `tiny_training`; what is given is of `Training`."""
    method = make(0)
    pretrain(method, images, run_in(folder, **changes))
    return method


def stopped(make: Make, folder: Path, at: int, **changes: Any) -> Method:
    """Return a method of another seed that went on with what one of seed 0 had when it was stopped.

    That is what it was before the last step of epoch `at`: the end of a step leaves a checkpoint.
    """

    def stop(done: int, metrics: Mapping[str, float]) -> None:
        if done == at:
            raise Stopped

    run = run_in(folder, run={"checkpoint_every_s": 0.0}, **changes)
    with pytest.raises(Stopped):
        pretrain(make(0), IMAGES, replace(run, on_epoch=stop))
    second = make(1)
    pretrain(second, IMAGES, run)
    return second


def state_after(make: Callable[[], Method], folder: Path, **changes: Any) -> State:
    """Return what a method holds after a training of `LENGTH`."""
    return trained(lambda _seed: make(), folder, **LENGTH, **changes).state_dict()


def state_after_a_stop(make: Callable[[], Method], folder: Path, **changes: Any) -> State:
    """Return what a method holds that was stopped in its second epoch, and went on as another one.

    Args:
        make: returns a method; the second one it returns should start from other weights.
        folder: of the training.
        changes: of the training.
    """
    return stopped(lambda _seed: make(), folder, 2, **LENGTH, **changes).state_dict()


def largest_difference(one: State, other: State) -> float:
    """Return the largest difference between two states, of numbers around one."""
    pairs = zip(one.values(), other.values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)
