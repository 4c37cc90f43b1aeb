"""Evaluators of large sets hold one copy of the features beside them, whatever steps they take."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch
from bench_plugins.evaluators.fitting.logistic import Frame, Rows
from bench_plugins.evaluators.fitting.perceptron import Standard
from torch import Tensor

from bench.metrics.classification import require_finite
from bench.metrics.neighbours import unit_rows
from bench.system.memory import CLEAR, forget_peak, peak_mb

CPU = torch.device("cpu")
ROWS, DIM = 80_000, 256  # 82 MB
X = torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(0))
Y = torch.arange(ROWS) % 10
FIT = torch.arange(ROWS)[torch.arange(ROWS) % 10 > 0]


def copies_held(work: Callable[[], object]) -> float:
    """Return the most memory that some work takes, in copies of the features; it is done once before."""
    work()
    gc.collect()
    forget_peak(CPU)
    before = peak_mb(CPU)
    kept = work()
    held = 1e6 * (peak_mb(CPU) - before) / X.nbytes
    del kept
    return held


def standardise(index: Tensor | None) -> object:
    standard = Standard.of(X, CPU, index)
    return standard.apply(X, CPU, index)


@pytest.mark.skipif(not CLEAR.exists(), reason="this system does not say the peak of a part of a process")
@pytest.mark.parametrize(
    ("work", "most"),
    [
        (lambda: Rows.of(X, Y, CPU, Frame.of(X, CPU)), 1.0),
        (lambda: Rows.of(X, Y, CPU, Frame.of(X, CPU, FIT), FIT), 0.9),
        (lambda: standardise(None), 1.0),
        (lambda: standardise(FIT), 0.9),
        (lambda: unit_rows(X), 1.0),
        (lambda: require_finite(X, "features"), 0.0),
    ],
    ids=["linear", "linear, a fold", "mlp", "mlp, a fold", "knn", "all are looked at"],
)
def test_there_is_one_copy_beside_the_features(work: Callable[[], object], most: float) -> None:
    assert copies_held(work) < most + 0.35  # blocks, and what the allocator rounds up
