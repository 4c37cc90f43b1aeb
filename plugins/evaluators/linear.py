"""Fit a linear classifier on frozen features: multinomial logistic regression with an L2 penalty.

Kornblith 2019, "Do better ImageNet models transfer better?", https://arxiv.org/abs/1805.08974,
and SimCLR, https://arxiv.org/abs/2002.05709, appendix B.8. Code followed: none was published.

    f(W, b) = mean cross-entropy(W x + b, y) + l2 / 2 * ||W||^2

Features are standardised by the rows that are fitted. Every l2 of a grid is fitted at once, the best
on held-out training rows is refitted on all of them, and the test rows are predicted once.

Differs from the paper: 12 values of l2 in [1e-6, 1e2] instead of 45 in [1e-6, 1e5]: on standardised
features a stronger penalty only shrinks all weights alike, which leaves the predictions as they are.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.api import BadValue, Evaluator, Scores, Task, setting

from .choice import at_edge, selection, unchosen
from .classified import classified
from .logistic import Heads, fit
from .refusals import refuse_broken, refuse_too_little

log = logging.getLogger(__name__)


class Linear(Evaluator):
    """Multinomial logistic regression whose penalty is chosen on held-out training rows."""

    reference: ClassVar[str] = "Kornblith 2019, https://arxiv.org/abs/1805.08974"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What changes the fit."""

        l2_min: float = setting(1e-6, "weakest penalty tried", source="SimCLR, appendix B.8", above=0)
        l2_max: float = setting(1e2, "strongest penalty tried", above=0)
        l2_steps: int = setting(12, "penalties tried, evenly spaced in their logarithm", least=1)
        default_l2: float = setting(1e-2, "penalty where there is nothing to choose on", above=0)
        tolerance: float = setting(1e-7, "gain in nats at which a fit is done", above=0)
        max_iter: int = setting(1000, "most evaluations of a fit's objective", least=1)

    config: Config

    def check(self, labelled: int, classes: int) -> None:
        """Refuse an empty grid, a single class and an empty training set."""
        low, high = self.config.l2_min, self.config.l2_max
        if low > high:
            found = f"l2_min is {low:g}, but l2_max is {high:g}"
            raise BadValue(f"linear: {found}. Set linear.l2_min to at most {high:g}.")
        refuse_too_little("linear", labelled, classes)

    def evaluate(self, task: Task) -> Scores:
        """Choose l2 on the folds, refit on all training rows, predict the test rows."""
        self.check(len(task.train), len(task.classes))
        refuse_broken("linear", task)
        l2, chosen = self._choose(task)
        heads = self._fit(task, torch.arange(len(task.train)), [l2])
        logits = heads.logits(task.test.x, 0).cpu()
        return classified(
            logits,
            task,
            {
                "features": "frozen",
                **chosen,
                "l2": l2,
                "converged": bool(heads.converged.all()),
                "steps": int(heads.steps[0]),
            },
        )

    def _choose(self, task: Task) -> tuple[float, dict[str, Any]]:
        """Return the l2 and what a record says of the choice."""
        if not task.folds:
            return self.config.default_l2, {**unchosen(task, 0), "grid": [], "grid_edge": False}
        grid = self._grid()
        folds = [self._judge(task, rows, held_out, grid) for rows, held_out in task.folds]
        top1, loss = torch.stack(folds).mean(0)
        place = max(range(len(grid)), key=lambda i: (round(float(top1[i]), 9), -float(loss[i]), grid[i]))
        return grid[place], {
            "selected": "l2",
            **selection(task),
            "grid": grid,
            "grid_edge": at_edge(grid[place], grid),
            "val_top1": float(top1[place]),
        }

    def _grid(self) -> list[float]:
        c = self.config
        ends = torch.tensor([c.l2_min, c.l2_max], dtype=torch.float64).log10()
        powers = torch.linspace(float(ends[0]), float(ends[1]), c.l2_steps, dtype=torch.float64)
        return [float(f"{10**power:.6g}") for power in powers.tolist()]

    def _judge(self, task: Task, rows: Tensor, held_out: Tensor, grid: list[float]) -> Tensor:
        """Return top-1 in percent and negative log-likelihood of the held-out rows, (2, grid)."""
        heads = self._fit(task, rows, grid)
        val = task.train.take(held_out)
        labels, found = val.y.cpu(), []
        for head in range(len(grid)):
            logits = heads.logits(val.x, head).cpu()
            right = (logits.argmax(1) == labels).double().mean()
            found.append(torch.stack((100 * right, F.cross_entropy(logits, labels))))
        return torch.stack(found, 1)

    def _fit(self, task: Task, rows: Tensor, l2: list[float]) -> Heads:
        part, c = task.train.take(rows), self.config
        strengths = torch.tensor(l2, dtype=torch.float64)
        heads = fit(
            part.x,
            part.y,
            len(task.classes),
            strengths,
            tolerance=c.tolerance,
            max_iter=c.max_iter,
            device=task.device,
        )
        unfinished = [
            f"{value:g}" for value, done in zip(l2, heads.converged.tolist(), strict=True) if not done
        ]
        if unfinished:
            log.warning(
                "linear: no convergence in %d steps at l2 %s. Raise linear.max_iter.",
                c.max_iter,
                ", ".join(unfinished),
            )
        return heads
