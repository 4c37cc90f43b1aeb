"""What a plugin leaves as it finds it: the random states of the process, and its switches."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.testing.checks import Check


class ProcessState:
    """The random states and the switches of this process, as they are when it is made."""

    def __init__(self) -> None:
        self.random, self.switches = _read_random(), _read_switches()

    def changed_switches(self) -> list[str]:
        """Return which switches are others by now, in words."""
        now = _read_switches()
        return [name for name, value in self.switches.items() if now[name] != value]

    def restore_switches(self) -> None:
        """Put the switches back."""
        for name, value in self.switches.items():
            _SWITCHES[name][1](value)

    def list_seeded(self, other: ProcessState) -> list[str]:
        """Return which random states are alike in both: where they began apart, something seeded them."""
        return [name for name, value in self.random.items() if other.random[name] == value]

    def list_drawn(self, later: ProcessState) -> list[str]:
        """Return which random states are others later, in words."""
        return [name for name, value in self.random.items() if later.random[name] != value]


def _read_random() -> dict[str, Any]:
    numbers: Any = np.random.get_state()  # noqa: NPY002 - the state that all share is what is watched
    return {
        "torch's": torch.get_rng_state().numpy().tobytes(),
        "numpy's": (numbers[1].tobytes(), *numbers[2:]),
        "Python's": random.getstate(),
    }


def _read_switches() -> dict[str, Any]:
    return {name: read() for name, (read, _) in _SWITCHES.items()}


def _set_cudnn(value: tuple[bool, bool]) -> None:
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = value


_SWITCHES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {  # how each is read, and set
    "torch's default type": (torch.get_default_dtype, torch.set_default_dtype),
    "torch.is_grad_enabled()": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's precision of products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "torch's choice of deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "torch.backends.cudnn": (
        lambda: (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        _set_cudnn,
    ),
    "the working directory": (Path.cwd, os.chdir),
}


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed what all share for a while: another seed shows who draws from it, and who seeds it."""
    python, kind_and_keys = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(kind_and_keys)  # noqa: NPY002


@contextlib.contextmanager
def switches_kept() -> Iterator[None]:
    """Put all switches back at the end of the block."""
    process = ProcessState()
    try:
        yield
    finally:
        process.restore_switches()


def keeping_switches(checks: Iterable[Check]) -> Iterator[Check]:
    """Yield checks, each of which puts all switches back."""
    for title, body in checks:
        yield title, switches_kept()(body)
