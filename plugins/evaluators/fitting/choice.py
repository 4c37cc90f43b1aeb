"""Tell which settings the held-out rows do not tell apart by top-1."""

from __future__ import annotations

from torch import Tensor


def is_near_best(top1: Tensor, rows: int, errors: float) -> Tensor:
    """Tell of each setting whether it is at most some standard errors of top-1 behind the best.

    Args:
        top1: (...,), in percent, of the same held-out rows.
        rows: number of held-out rows.
        errors: how many.

    Returns:
        As `top1`, bool.
    """
    best = top1.amax()
    share = (best / 100 * rows + 1) / (rows + 2)  # above 0 and below 1
    return top1 >= best - errors * 100 * (share * (1 - share) / rows).sqrt()
