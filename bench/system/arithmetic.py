"""Which arithmetic a GPU uses for float32, and whether it repeats itself to the bit.

Torch lets cuDNN's convolutions take TF32 for float32 (10 bits of mantissa instead of 23) and products not,
whatever a program asked for. Here float32 is float32 and `tf32` is TF32, in both.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

from bench.errors import BadValue
from bench.system.device import has_ampere, list_devices

TF32 = "tf32"  # a precision of trainings
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # without it, cuBLAS may sum in another order each time


@contextlib.contextmanager
def float32_as(precision: str) -> Iterator[None]:
    """Compute float32 in the block in TF32 if `precision` is `tf32`, and in all its bits if it is not."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = precision == TF32
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def refuse_precision(precision: str, device: torch.device) -> None:
    """Refuse TF32 where there is none: it would be float32 under another name.

    Raises:
        BadValue: the device does not compute in it.
    """
    if precision != TF32:
        return
    if device.type != "cuda" or not all(map(has_ampere, list_devices(device))):
        raise BadValue(
            f"train.precision: tf32 is of NVIDIA GPUs from Ampere on, not of {device}. Use float32 or auto."
        )


def describe_arithmetic(device: torch.device) -> dict[str, Any]:
    """Return what a record says of a GPU's arithmetic: it repeats itself or not, and by which libraries."""
    if device.type != "cuda":
        return {}
    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def repeat_to_the_bit() -> None:
    """Have this process take algorithms that repeat themselves, on a GPU, wherever torch has them.

    Where it has none, torch warns and takes the other. A CPU repeats itself as it is.
    """
    os.environ.setdefault(WORKSPACE, ":4096:8")  # read when cuBLAS is first used
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
