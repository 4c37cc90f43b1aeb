"""The gradient of what is computed number by number: by central differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def slopes(loss: Callable[[], float], x: Tensor, step: float = 1e-5) -> Tensor:
    """Return the gradient of a loss by each entry of x, float64, which it reads anew at every call."""
    gradient = torch.zeros_like(x)
    values, result = x.view(-1), gradient.view(-1)
    for place in range(x.numel()):
        value = float(values[place])
        values[place] = value + step
        above = loss()
        values[place] = value - step
        result[place] = (above - loss()) / (2 * step)
        values[place] = value
    return gradient
