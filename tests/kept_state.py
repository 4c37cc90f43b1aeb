"""What a method keeps, after a training that was whole, stopped, or in chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_training import IMAGES, Stopped, run_in
from torch import Tensor

from bench.contracts.method import Method
from bench.pretraining.loop import pretrain

State = dict[str, Tensor]
Make = Callable[[], Method]
LENGTH = {"epochs": 3, "batch_size": 10}  # of 45 images: 12 steps


def state_after(make: Make, folder: Path, **changes: Any) -> State:
    """Return what a method holds after a training."""
    method = make()
    pretrain(method, IMAGES, run_in(folder, **LENGTH, **changes))
    return method.state_dict()


def state_after_a_stop(make: Make, folder: Path, **changes: Any) -> State:
    """Return what a method holds that was stopped after two epochs, and went on as another one.

    Args:
        make: returns a method; the second one it returns should start from other weights.
        folder: of the training.
        changes: of the training.
    """

    def stop(done: int, metrics: Mapping[str, float]) -> None:
        if done == 2:
            raise Stopped

    run = run_in(folder, **LENGTH, run={"checkpoint_every_s": 0.0}, **changes)
    with pytest.raises(Stopped):
        pretrain(make(), IMAGES, replace(run, on_epoch=stop))
    second = make()
    pretrain(second, IMAGES, run)
    return second.state_dict()


def largest_difference(one: State, other: State) -> float:
    """Return the largest difference between two states, of numbers around one."""
    pairs = zip(one.values(), other.values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)
