"""Arrays that are the same everywhere: what authors' code gave on them is written in the tests.

Entry e, in C order, of stream s is sin(0.37 e + s) (1 + 0.5 cos(0.11 e + 2 s)). Such an array has rank 6
at the most.
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor


def sine(stream: int, *shape: int) -> Tensor:
    """Return the array of a stream, float64."""
    e = torch.arange(math.prod(shape), dtype=torch.float64)
    return (torch.sin(0.37 * e + stream) * (1 + 0.5 * torch.cos(0.11 * e + 2 * stream))).view(shape)


def units(stream: int, *shape: int) -> Tensor:
    """Return the array of a stream with rows of length 1."""
    return F.normalize(sine(stream, *shape), dim=-1)


def figures(x: Tensor) -> list[float]:
    """Return sum, sum of squares, first and last entry."""
    return [float(x.sum()), float(x.square().sum()), float(x.flatten()[0]), float(x.flatten()[-1])]


def exactly(*numbers: float) -> object:
    """Return what compares equal to numbers that are written with 12 digits."""
    return pytest.approx(list(numbers), rel=1e-9, abs=1e-12)
