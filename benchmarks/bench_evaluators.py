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
from side_by_side import side_by_side
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


def test_linear(benchmark: Any, features: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Fit the whole grid, and l2 = 0.01 alone with scikit-learn at its default tolerance."""
    l2 = torch.logspace(-6, 2, 12, dtype=torch.float64)
    x, y = (part.numpy() for part in features)
    model = LogisticRegression(C=1 / (0.01 * ROWS), tol=1e-4, max_iter=1000)
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
        warnings.simplefilter("ignore")
        side_by_side(
            benchmark,
            lambda: logistic.fit(*features, CLASSES, l2, tolerance=1e-7, max_iter=1000, device=CPU),
            lambda: model.fit(x, y),
            what="`linear` with 12 penalties, against scikit-learn with one; 50,000 x 512",
            goal="",
            rounds=1,
            warm_up=False,
        )


def test_knn(benchmark: Any, features: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Find the neighbours of 10,000 rows, and with nothing but a product and `topk`, ties as they come."""
    x = knn.unit_rows(features[0])
    side_by_side(
        benchmark,
        lambda: knn.nearest(x[:10_000], x, 200),
        lambda: [(block @ x.T).topk(200, sorted=False).indices for block in x[:10_000].split(256)],
        what="`knn`, 200 neighbours of 10,000 among 50,000, against a product and `topk`",
        goal="",
        rounds=1,
        warm_up=False,
    )
