"""The device: which there is, which arithmetic suits it, how a record names it."""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import NoDevice

AMPERE = 8  # compute capability from which on a GPU has bfloat16 and TF32


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is the first of cuda, mps and cpu that is available.

    Raises:
        NoDevice: it is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, present in available.items() if present))
    kind, _, number = name.partition(":")
    known = ", ".join(["auto", *(kind for kind, present in available.items() if present)])
    numbered = kind == "cuda" and number.isdecimal() and int(number) < torch.cuda.device_count()
    if not available.get(kind) or (name != kind and not numbered):
        raise NoDevice(f"--device: {name} is not available here. Use one of {known}.")
    return torch.device(name)


def auto_precision(device: torch.device) -> str:
    """Return bfloat16 where the device computes in it, float32 elsewhere.

    Never float16: it needs its loss scaled, and overflows where bfloat16 does not.
    """
    if device.type == "cuda":
        return "bfloat16" if all(map(has_ampere, list_devices(device))) else "float32"
    if device.type == "cpu":
        read = getattr(torch.cpu, "get_capabilities", dict)  # newer than the oldest torch we run on
        features: Mapping[str, Any] = read()
        return "bfloat16" if features.get("avx512_bf16") or features.get("amx_bf16") else "float32"
    return "float32"


def list_devices(device: torch.device) -> list[torch.device]:
    """Return the devices that a name stands for: `cuda` is every GPU, any other itself."""
    if device.type != "cuda" or ":" in str(device):
        return [device]
    return [torch.device("cuda", number) for number in range(max(1, torch.cuda.device_count()))]


def has_ampere(device: torch.device) -> bool:
    """Tell whether a GPU computes in bfloat16 and TF32; `is_bf16_supported` of torch asks the current one."""
    if getattr(torch.version, "hip", None):  # AMD's
        return True
    major: int = torch.cuda.get_device_properties(device).major
    return major >= AMPERE


def is_lost(device: torch.device) -> bool:
    """Tell whether an error that stays, such as a failed assertion, has left a GPU of no use here."""
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was given, such as the last step that is timed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Return `x` on `device`, without making the host wait for a copy to a GPU.

    MPS may read from memory that was freed meanwhile (pytorch #189690), so the host waits there.
    """
    if device.type == "mps":
        return x.to(device)
    if device.type == "cuda" and x.device.type == "cpu":
        x = x.pin_memory()  # a copy from other memory would make it wait
    return x.to(device, non_blocking=True)


def exact_device(device: torch.device) -> torch.device:
    """Return where float64 is computed for a device: there, or on the CPU if it has none (MPS)."""
    return torch.device("cpu") if device.type == "mps" else device


def move_like(x: Tensor, other: Tensor) -> Tensor:
    """Return `x` on the device and in the type of `other`, each in a step of its own.

    A copy that changes both at once is refused by MPS where one of them is float64.
    """
    if other.dtype == torch.float64:
        return x.to(other.device).to(other.dtype)
    return x.to(other.dtype).to(other.device)


def threads_on(device: torch.device) -> list[int]:
    """Return the number of threads that sums on the device are shared out to, as a list; none on a GPU.

    Another number adds in another order, and rounds otherwise.
    """
    return [torch.get_num_threads()] if device.type == "cpu" else []


def describe_device(device: torch.device) -> str:
    """Return the device's name for a record."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    unit = "thread" if threads == 1 else "threads"
    return f"{device.type} ({_processor_name()}, {threads} {unit})"


@functools.cache
def _processor_name() -> str:
    try:
        match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        match = None
    return match[1] if match else platform.processor() or platform.machine()
