"""Fit a linear classifier on frozen features: multinomial logistic regression with an L2 penalty.

Kornblith 2019, "Do better ImageNet models transfer better?", https://arxiv.org/abs/1805.08974,
and SimCLR, https://arxiv.org/abs/2002.05709, appendix B.8. Code followed: none was published.

    f(W, b) = mean cross-entropy(W x + b, y) + l2 / 2 * ||W||^2

Features are standardised by the rows that are fitted. The l2 of a grid are fitted from the strongest to
the weakest, each until it has converged; the best on held-out training rows is refitted on all of them,
and the test rows are predicted once.

Differs from the paper: 12 values of l2 in [1e-6, 1e2] instead of 45 in [1e-6, 1e5]: on standardised
features a stronger penalty only shrinks all weights alike, which leaves the predictions as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.api import (
    BadValue,
    Evaluator,
    Features,
    FeatureSettings,
    FeatureSpec,
    Scores,
    Task,
    describe_choice,
    describe_no_choice,
    is_at_edge,
    is_near_best,
    refuse_not_finite,
    refuse_too_few,
    score_logits,
    setting,
)

from .fitting.last_scores import reuse_scores
from .fitting.logistic import ROWS, Frame, Heads, Part, Rows, fit_all

FAR = 3  # standard errors behind the best, where a weaker penalty is not tried; our choice

log = logging.getLogger(__name__)


class Choice(NamedTuple):
    """What a fit on all rows is made with.

    Args:
        l2: the penalty.
        near: a head of a fold that has it, where the fit starts; None is from zero.
        protocol: what the record says of the choice.
    """

    l2: float
    near: Heads | None
    protocol: dict[str, Any]


class Linear(Evaluator):
    """Multinomial logistic regression whose penalty is chosen on held-out training rows."""

    version: ClassVar[int] = 3
    reference: ClassVar[str] = "Kornblith 2019, https://arxiv.org/abs/1805.08974"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureSettings):
        """What changes the fit."""

        l2_min: float = setting(1e-6, "weakest penalty tried", source="SimCLR, appendix B.8", above=0)
        l2_max: float = setting(1e2, "strongest penalty tried", above=0)
        l2_steps: int = setting(12, "penalties tried, evenly spaced in their logarithm", least=1)
        default_l2: float = setting(1e-2, "penalty where there is nothing to choose on", above=0)
        tolerance: float = setting(1e-9, "gain at which a fit is done, as a share of the objective", above=0)
        first_tolerance: float = setting(
            1e-4, "as tolerance, of fits that may be out of the running", above=0
        )
        max_iter: int = setting(1000, "most evaluations of a fit's objective", least=1)

    config: Config

    @classmethod
    def features(cls, config: Config) -> FeatureSpec:
        """Return the features that the settings ask for."""
        return config.spec

    def check(self, labelled: int, classes: int) -> None:
        """Refuse an empty grid, a single class and an empty training set."""
        low, high = self.config.l2_min, self.config.l2_max
        if low > high:
            raise BadValue(
                f"linear: l2_min is {low:g}, but l2_max is {high:g}. Set linear.l2_min to at most {high:g}."
            )
        refuse_too_few("linear", labelled, classes)

    def evaluate(self, task: Task) -> Scores:
        """Choose l2 on the folds, refit on all training rows, predict the test rows."""
        return reuse_scores("linear", self.config, task, lambda: self._evaluate(task))

    def _evaluate(self, task: Task) -> Scores:
        self.check(len(task.train), len(task.classes))
        refuse_not_finite("linear", task)
        frame = Frame.of(task.train.x, task.device)
        choice = self._choose(task, frame)  # the rows of its folds are gone when all rows are copied
        rows = Rows.of(task.train.x, task.train.y, task.device, frame)
        ((heads,),) = self._fit(task, [rows.sharpen()], [[choice.l2]], self.config.tolerance, [choice.near])
        return _score(task, self.config.spec, choice, heads)

    def _choose(self, task: Task, every: Frame) -> Choice:
        """Return the choice of a task, given what all its training rows are standardised by."""
        if not task.folds:
            nothing = {**describe_no_choice(task, 0), "grid": [], "grid_edge": False}
            return Choice(self.config.default_l2, None, nothing)
        folds, grid = _prepare_folds(task, every), self._grid()
        self._fit_roughly(task, folds, grid)
        candidates = _list_candidates(folds, 1)
        self._fit_candidates(task, folds, candidates, grid)
        return _choose_best(task, grid, folds, candidates)

    def _fit_roughly(self, task: Task, folds: Sequence[_Fold], grid: Sequence[float]) -> None:
        """Fit ever weaker penalties roughly, until two in a row are far behind."""
        from_strongest = range(len(grid) - 1, -1, -1)
        l2 = [[grid[index]] * len(folds) for index in from_strongest]
        fits = self._fit(task, [fold.rows for fold in folds], l2, self.config.first_tolerance)
        for index, heads in zip(from_strongest, fits, strict=False):
            for fold, head in zip(folds, heads, strict=True):
                fold.judge(index, head)
            latest = {index, index + 1}
            if index + 1 < len(grid) and not latest & set(_list_candidates(folds, FAR)):
                return

    def _fit_candidates(
        self, task: Task, folds: Sequence[_Fold], candidates: Sequence[int], grid: Sequence[float]
    ) -> None:
        """Fit the candidates until they have converged, all as one."""
        todo = [(fold, index) for fold in folds for index in candidates]
        l2 = [[grid[index] for _, index in todo]]
        near = [fold.heads[index] for fold, index in todo]
        problems = [rows for rows in [fold.rows.sharpen() for fold in folds] for _ in candidates]
        (ends,) = self._fit(task, problems, l2, self.config.tolerance, near)
        for (fold, index), head in zip(todo, ends, strict=True):
            fold.judge(index, head)

    def _grid(self) -> list[float]:
        c = self.config
        ends = torch.tensor([c.l2_min, c.l2_max], dtype=torch.float64).log10()
        powers = torch.linspace(float(ends[0]), float(ends[1]), c.l2_steps, dtype=torch.float64)
        return [float(f"{10**power:.6g}") for power in powers.tolist()]

    def _fit(
        self,
        task: Task,
        problems: Sequence[Rows],
        l2: Sequence[Sequence[float]],
        tolerance: float,
        near: Sequence[Heads | None] = (),
    ) -> Iterator[list[Heads]]:
        """Yield a head of each problem for each row of `l2`, as `fit_all`; warn of what does not converge."""
        most, strengths = self.config.max_iter, torch.tensor(l2, dtype=torch.float64)
        classes = len(task.classes)
        fits = fit_all(problems, classes, strengths, tolerance=tolerance, max_iter=most, near=near)
        for values, heads in zip(l2, fits, strict=True):
            unfinished = {
                f"{value:g}" for value, head in zip(values, heads, strict=True) if not head.converged.all()
            }
            if unfinished:
                message = "linear: no convergence in %d steps at l2 %s. Raise linear.max_iter."
                log.warning(message, most, ", ".join(sorted(unfinished)))
            yield heads


@dataclass(frozen=True)
class _Fold:
    """A fold of a task, with the latest head of each l2 and what the held-out rows say of it.

    Args:
        rows: to fit.
        labelled: what the fold is of.
        held_out: (m,), int64, the rows of it to judge by.
        heads: by the index of its l2 in the grid.
        scores: likewise, top-1 in percent and negative log-likelihood, (2,), float64.
    """

    rows: Rows
    labelled: Features
    held_out: Tensor
    heads: dict[int, Heads] = field(default_factory=dict)
    scores: dict[int, Tensor] = field(default_factory=dict)

    def judge(self, index: int, head: Heads) -> None:
        """Keep a head and its scores on the held-out rows."""
        self.heads[index] = head
        self.scores[index] = judge(head, self.labelled, self.held_out)


def judge(head: Heads, labelled: Features, index: Tensor) -> Tensor:
    """Return top-1 in percent and negative log-likelihood of some rows, a block at a time.

    Args:
        head: one.
        labelled: features and labels.
        index: (m,), int64, of the rows.

    Returns:
        (2,), float64, on the CPU.
    """
    part, labels = Part(labelled.x, index, head.mean.device), labelled.y[index].cpu()
    # there before the blocks: small pieces kept between them would leave no room for the next where one was
    right, likelihoods = torch.empty(len(labels)), torch.empty(len(labels), 1, dtype=torch.float64)
    places = (tensor.split(ROWS) for tensor in (labels, right, likelihoods))
    for block, own, is_right, likelihood in zip(head.predict(part, 0), *places, strict=True):
        logits = block.cpu()
        is_right.copy_(logits.argmax(1) == own)
        likelihood.copy_(logits.log_softmax(1).gather(1, own[:, None]))
    # of one column, with label 0: so rows are added in the order in which `cross_entropy` of all adds them
    loss = F.nll_loss(likelihoods, torch.zeros_like(labels))
    return torch.stack((100 * right.double().mean(), loss))


def _prepare_folds(task: Task, every: Frame) -> list[_Fold]:
    """Return the folds of a task, standardised each by its own rows, with the axes of all."""
    folds, (x, y) = [], (task.train.x, task.train.y)
    for index, held_out in task.folds:
        frame = Frame.of(x, task.device, index, every)
        folds.append(_Fold(Rows.of(x, y, task.device, frame, index), task.train, held_out))
    return folds


def _average_scores(folds: Sequence[_Fold], indices: Iterable[int]) -> dict[int, list[float]]:
    """Return mean top-1 and negative log-likelihood over folds, by index."""
    return {index: torch.stack([fold.scores[index] for fold in folds]).mean(0).tolist() for index in indices}


def _list_candidates(folds: Sequence[_Fold], errors: int) -> list[int]:
    """Return the indices of what is at most some standard errors of top-1 behind the best."""
    means = _average_scores(folds, folds[0].scores)
    top1 = torch.tensor([top1 for top1, _ in means.values()], dtype=torch.float64)
    near = is_near_best(top1, sum(len(fold.held_out) for fold in folds), errors)
    return [index for index, kept in zip(means, near.tolist(), strict=True) if kept]


def _choose_best(task: Task, grid: list[float], folds: Sequence[_Fold], candidates: Sequence[int]) -> Choice:
    """Return the best candidate by top-1, of equal ones the likelier, then the stronger penalty."""
    means = _average_scores(folds, candidates)
    best = max(candidates, key=lambda i: (round(means[i][0], 9), -means[i][1], grid[i]))
    protocol = {
        "selected": "l2",
        **describe_choice(task),
        "grid": grid,
        "grid_edge": is_at_edge(grid[best], grid),
        "val_top1": means[best][0],
    }
    return Choice(grid[best], folds[-1].heads[best], protocol)


def _score(task: Task, spec: FeatureSpec, choice: Choice, heads: Heads) -> Scores:
    fit = {"l2": choice.l2, "converged": bool(heads.converged.all()), "steps": int(heads.steps[0])}
    protocol = {"features": "frozen", **spec.describe(), **choice.protocol, **fit}
    return score_logits(heads.logits(task.test.x, 0).cpu(), task, protocol)
