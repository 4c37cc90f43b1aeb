"""The learning rate of a step."""

from __future__ import annotations

import math

import torch


def lr_factor(step: int, steps: int, warmup: float) -> float:
    """Return what the learning rate of `step` is multiplied by: linear warm-up, then half a cosine.

    Args:
        step: counted from 0.
        steps: of the whole run.
        warmup: steps until the full learning rate; may be fractional.

    Source: Chen 2020 (SimCLR), section 2.1; the cosine ends at 0 and does not restart.
    """
    if step + 1 < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * max(0.0, step - warmup) / max(1.0, steps - warmup)))


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr
