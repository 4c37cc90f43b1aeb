"""Copy tensors into the form that safetensors takes."""

from __future__ import annotations

import torch
from torch import Tensor


def cpu_copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return copies in the CPU's memory that share nothing and are laid out as safetensors asks."""
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
