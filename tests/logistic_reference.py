"""Problems for logistic regression, and scikit-learn's answer to them."""

from __future__ import annotations

import torch
from bench_plugins.evaluators.fitting import logistic
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F

CPU = torch.device("cpu")
GRID = torch.logspace(-6, 2, 12, dtype=torch.float64)


def draw_problem(n: int, dim: int, classes: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dim, generator=generator)
    signal = x @ torch.randn(dim, classes, generator=generator)
    return x, (signal + noise * torch.randn(n, classes, generator=generator)).argmax(1)


def objective(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, l2: float) -> float:
    return float(F.cross_entropy(x @ weight.T + bias, y) + l2 / 2 * weight.square().sum())


def reference(x: Tensor, y: Tensor, l2: float) -> float:
    model = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-10, solver="newton-cholesky", max_iter=300)
    model.fit(x.numpy(), y.numpy())
    weight, bias = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    if len(weight) == 1:  # of two classes it fits the second only: half the difference is the same optimum
        weight, bias = torch.cat((-weight, weight)) / 2, torch.cat((-bias, bias)) / 2
        l2 = 2 * l2
    return objective(x, y, weight, bias, l2)


def fit_heads(x: Tensor, y: Tensor, classes: int, l2: Tensor = GRID, block: int = 2**22) -> logistic.Heads:
    return logistic.fit(x, y, classes, l2, tolerance=1e-7, max_iter=1000, device=CPU, block=block)
