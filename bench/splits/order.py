"""Seeded orders, the same on every platform, which all draws are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.keys import seed_of

Index = NDArray[np.int64]
Labels = NDArray[np.integer[Any]]


def permute(count: int, *names: int | str) -> Index:
    """Return the numbers below `count` in the order that the names seed."""
    # the bit stream of PCG64 is the same in every numpy, Generator.permutation need not be (NEP 19)
    draws = np.random.PCG64(seed_of(*names)).random_raw(count)
    return np.argsort(draws, kind="stable")


def sort_rows(parts: Sequence[Index]) -> Index:
    """Return the rows of all parts, ascending."""
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *parts]))
