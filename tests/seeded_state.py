"""Methods of a seed after a training and after one that was stopped: for tests that compare the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_training import IMAGES, Stopped, run_in

from bench.contracts.dataset import FileStream, Images
from bench.contracts.method import Method
from bench.pretraining.loop import pretrain

Make = Callable[[int], Method]  # makes a method, initialised from a seed


def trained(make: Make, folder: Path, images: Images | FileStream = IMAGES, **changes: Any) -> Method:
    """Return a method of seed 0 after a run of `tiny_training`; what is given is of `Training`."""
    method = make(0)
    pretrain(method, images, run_in(folder, **changes))
    return method


def stopped(make: Make, folder: Path, at: int, **changes: Any) -> Method:
    """Return a method of another seed that went on with what one of seed 0 had when it was stopped.

    That is what it was after the epoch before `at`, which is at least 2: one that has begun is done again.
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


def largest_difference(one: Method, other: Method) -> float:
    """Return the largest difference between two states."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)
