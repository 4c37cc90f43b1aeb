"""The learning rate of a step."""

from __future__ import annotations

import math


def lr_factor(step: int, steps: int, warmup: float, end: float = 0.0) -> float:
    """Return what the learning rate of `step` is multiplied by: linear warm-up, then half a cosine.

    Args:
        step: counted from 0.
        steps: of the whole run.
        warmup: steps until the full learning rate; may be fractional.
        end: where the cosine ends, as a share of the full learning rate.

    Source: Chen 2020 (SimCLR), section 2.1; the cosine does not restart.
    """
    if step + 1 < warmup:
        return (step + 1) / warmup
    cosine = 0.5 * (1 + math.cos(math.pi * max(0.0, step - warmup) / max(1.0, steps - warmup)))
    return end + (1 - end) * cosine
