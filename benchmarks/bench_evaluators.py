"""Time of the evaluators on 50,000 features of 512 dimensions in 10 classes.

Everything runs on one thread: on a machine with other work, threads that wait for each other can make
scikit-learn (or `eigh`) ten times slower, and a ratio of the two says nothing then.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import threadpoolctl  # type: ignore[import-untyped]
import torch
from bench_plugins.evaluators import knn, logistic
from sklearn.linear_model import LogisticRegression

ROWS, DIM, CLASSES = 50_000, 512, 10
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def features() -> tuple[torch.Tensor, torch.Tensor]:
    """Return correlated Gaussian features: the k-th direction has a deviation of 1/k.

    They flatter the linear solver, whose metric is nearly exact on them.
    """
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(ROWS, DIM, generator=generator)
    signal = 3 * z @ torch.randn(DIM, CLASSES, generator=generator) / DIM**0.5
    y = (signal + torch.randn(ROWS, CLASSES, generator=generator)).argmax(1)
    mix = torch.randn(DIM, DIM, generator=generator) / torch.arange(1, DIM + 1)[:, None]
    x = z @ mix
    return (x - x.mean(0)) / x.std(0), y


def test_linear_twelve_l2(benchmark: Any, features: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Fit the whole grid."""
    l2 = torch.logspace(-6, 2, 12, dtype=torch.float64)
    options = {"tolerance": 1e-7, "max_iter": 1000, "device": CPU}
    heads = benchmark.pedantic(logistic.fit, (*features, CLASSES, l2), options, rounds=1)
    benchmark.extra_info["loss"] = heads.loss.tolist()


def test_scikit_learn_one_l2(benchmark: Any, features: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Fit l2 = 0.01 with scikit-learn at its default tolerance."""
    x, y = (part.numpy() for part in features)
    model = LogisticRegression(C=1 / (0.01 * ROWS), tol=1e-4, max_iter=1000)
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
        warnings.simplefilter("ignore")
        benchmark.pedantic(model.fit, (x, y), rounds=1)


@pytest.mark.parametrize("k", [20, 200])
def test_knn(benchmark: Any, features: tuple[torch.Tensor, torch.Tensor], k: int) -> None:
    """Find the neighbours of 10,000 rows."""
    x = knn.unit_rows(features[0])
    benchmark.pedantic(knn.nearest, (x[:10_000], x, k), rounds=1)


def test_brute_force(benchmark: Any, features: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Find them with nothing but a product and `topk`, ties as they come."""
    x = knn.unit_rows(features[0])

    def run() -> list[torch.Tensor]:
        return [(block @ x.T).topk(200, sorted=False).indices for block in x[:10_000].split(256)]

    benchmark.pedantic(run, rounds=1)
