"""Features and views that the tests of measures are computed of."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def skewed(n: int = 40, d: int = 6) -> Tensor:
    """Return correlated features with a mean, as those after a ReLU."""
    return (gaussian(n, d) / torch.arange(1, d + 1) @ gaussian(d, d, seed=1) + 0.3).relu()


def noisy_views(images: int = 12, views: int = 4, d: int = 5) -> Tensor:
    return 2 * gaussian(images, 1, d) + gaussian(images, views, d, seed=1) / torch.arange(1, d + 1) + 1


def unit(x: Tensor) -> NDArray[np.float64]:
    rows = x.double().numpy()
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1))
