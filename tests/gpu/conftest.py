"""The device that the tests of this folder run on: a GPU, or what BENCH_GPU names.

make gpu                    on CUDA or MPS; each test is skipped where there is neither
BENCH_GPU=cpu make gpu      the tests themselves, on a CPU
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from bench.system.arithmetic import WORKSPACE, repeat_to_the_bit
from bench.system.device import choose_device

os.environ.setdefault(WORKSPACE, ":4096:8")  # read when cuBLAS is first used


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder; one that repeats itself may be told of what torch cannot repeat."""
    for item in items:
        if item.path.parent.name == "gpu":
            item.add_marker(pytest.mark.gpu)
            if "repeating" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.filterwarnings("ignore:.*deterministic implementation"))


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Return the device."""
    name = os.environ.get("BENCH_GPU", "auto")
    chosen = choose_device(name)
    if name == "auto" and chosen.type == "cpu":
        pytest.skip("there is no GPU here")
    return torch.device("cuda", torch.cuda.current_device()) if str(chosen) == "cuda" else chosen


@pytest.fixture
def cuda(device: torch.device) -> torch.device:
    """Return the device if it is one of CUDA."""
    if device.type != "cuda":
        pytest.skip("of CUDA alone")
    return device


@pytest.fixture
def repeating(cuda: torch.device) -> Iterator[torch.device]:
    """Return a device of CUDA whose algorithms repeat themselves to the bit while a test runs."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    repeat_to_the_bit()
    yield cuda
    torch.use_deterministic_algorithms(mode=False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
