"""Memory of a device: how much is free, how much a stage held, and what says that it is full."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import torch

FULL = (  # in messages of errors that torch has no class for
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "backend out of memory",  # MPS
    "can't allocate memory",  # a CPU
    "not enough memory",  # a CPU, on Windows
)
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the memory of a device, or the machine's, is full."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in FULL)


_sharers: dict[torch.device, int] = {}  # of the memory of each device, this process among them


def share_memory(device: torch.device, sharers: int) -> None:
    """Have this process take no more of a GPU's memory than its share, so that others have theirs.

    Args:
        device: of type cuda; any other has no such limit.
        sharers: processes on the device.
    """
    if device.type == "cuda" and sharers > 1:
        torch.cuda.set_per_process_memory_fraction(1 / sharers, device)
        _sharers[device] = sharers


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on the device; on the CPU, where images are anyway, no limit.

    What torch's allocator holds and does not use is free: the next tensor is made in it.
    """
    if device.type == "cuda":
        allocated = torch.cuda.memory_allocated(device)
        free, total = torch.cuda.mem_get_info(device)
        return min(
            free + torch.cuda.memory_reserved(device) - allocated,
            total // _sharers.get(device, 1) - allocated,
        )
    if device.type == "mps":
        held = torch.mps.driver_allocated_memory() - torch.mps.current_allocated_memory()
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory() + held
    return sys.maxsize


def give_back(device: torch.device) -> None:
    """Give back what torch's allocator holds and does not use, to other processes on the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def forget_peak(device: torch.device) -> None:
    """Have `peak_mb` count from now on; where a system does not allow it, it goes on counting."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        CLEAR.write_text("5")  # man proc_pid_clear_refs: the peak of the resident set becomes what it is now
    except OSError:
        return


def peak_mb(device: torch.device) -> float:
    """Return the most memory that was held since `forget_peak`, in MB: the device's, or this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", STATUS.read_text())[0]) / 1e6
    except (OSError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
