"""Linear discriminant analysis: a Gaussian a class, all of one covariance, which is shrunk.

    score_c(h) = h.w_c - m_c.w_c / 2 + log p_c,   w_c = S^-1 m_c,   S = (1 - s) C + s (tr C / d) I

m_c is the mean of class c, p_c its share, C the covariance within classes, d the number of features. The
shrinkage s is chosen on held-out training rows. Friedman 1989, "Regularized Discriminant Analysis", JASA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.api import (
    BadValue,
    Evaluator,
    Features,
    Scores,
    Task,
    choose_on_folds,
    refuse_not_finite,
    refuse_too_few,
    score_logits,
    setting,
)


class LDA(Evaluator):
    """Classify by Gaussians of one shrunk covariance (Friedman 1989)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What changes the fit."""

        shrinkage: tuple[float, ...] = setting(
            (0.01, 0.1, 0.5), "values tried", source="our choice", above=0, most=1
        )
        default: float = setting(
            0.1, "where there is nothing to choose on", source="our choice", above=0, most=1
        )

    config: Config
    reference = "Friedman 1989, Regularized Discriminant Analysis, JASA 84"

    def check(self, labelled: int, classes: int) -> None:
        """Refuse an empty grid, a single class and an empty training set."""
        if not self.config.shrinkage:
            raise BadValue("lda: shrinkage is empty. Give lda.shrinkage at least one value.")
        refuse_too_few("lda", labelled, classes)

    def evaluate(self, task: Task) -> Scores:
        """Choose the shrinkage on the folds, fit all training rows, predict the test rows once."""
        self.check(len(task.train), len(task.classes))
        refuse_not_finite("lda", task)
        grid, default = self.config.shrinkage, self.config.default

        def fit_rows(rows: Features, shrinkage: float) -> Callable[[Tensor], Tensor]:
            return fit(rows, len(task.classes), shrinkage)

        shrinkage, chosen = choose_on_folds(task, "shrinkage", grid, fit_rows, default=default)
        logits = fit_rows(task.train, shrinkage)(task.test.x)
        return score_logits(logits, task, {"features": "frozen", **chosen})


def fit(rows: Features, classes: int, shrinkage: float) -> Callable[[Tensor], Tensor]:
    """Return what maps features (n, d) to logits (n, classes).

    Args:
        rows: to fit.
        classes: how many; one without a row is never predicted.
        shrinkage: s, in (0, 1].
    """
    x, d = rows.x.double(), rows.x.shape[1]
    counts = torch.bincount(rows.y, minlength=classes)
    means = torch.zeros(classes, d, dtype=x.dtype).index_add_(0, rows.y, x) / counts.clamp_min(1)[:, None]
    within = x - means[rows.y]
    covariance = within.T @ within / len(x)
    scale = (covariance.trace() / d).clamp_min(1e-12)
    shrunk = (1 - shrinkage) * covariance + shrinkage * scale * torch.eye(d, dtype=x.dtype)
    weight = torch.linalg.solve(shrunk, means.T)  # (d, classes)
    bias = (counts / len(x)).log() - (means.T * weight).sum(dim=0) / 2
    return lambda h: (h.double() @ weight + bias).float()
