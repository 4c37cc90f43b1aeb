"""The device at hand: which there is, what arithmetic suits it, what it is called."""

from __future__ import annotations

import functools
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import BadValue


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is the first of cuda, mps, cpu that is there.

    Raises:
        BadValue: it is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, found in there.items() if found))
    kind, _, number = name.partition(":")
    known = ", ".join(["auto", *(kind for kind, found in there.items() if found)])
    numbered = kind == "cuda" and number.isdecimal() and int(number) < torch.cuda.device_count()
    if not there.get(kind) or (name != kind and not numbered):
        raise BadValue(f"--device: {name} was asked for, but it is not there. Use one of {known}.")
    return torch.device(name)


def auto_precision(device: torch.device) -> str:
    """Return bfloat16 where the device computes in it, float32 elsewhere.

    Never float16: it needs its loss scaled, and overflows where bfloat16 does not.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu":
        read = getattr(torch.cpu, "get_capabilities", dict)  # newer than the oldest torch we run on
        can: Mapping[str, Any] = read()
        return "bfloat16" if can.get("avx512_bf16") or can.get("amx_bf16") else "float32"
    return "float32"


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on the device; of the CPU, where images are anyway, no limit."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return sys.maxsize


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Return `x` on `device`, without making the host wait for a copy to a GPU."""
    if device.type == "cuda" and x.device.type == "cpu":
        x = x.pin_memory()  # a copy from other memory would make it wait
    return x.to(device, non_blocking=True)


def describe_device(device: torch.device) -> str:
    """Return what the device is, for the record."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device.type} ({_processor()}, {threads} thread{'s' * (threads != 1)})"


@functools.cache
def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
