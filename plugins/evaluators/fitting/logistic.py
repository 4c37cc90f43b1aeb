"""Fit multinomial logistic regressions, one for each L2 strength, each from where a stronger one ended.

    f(W, b) = mean over rows of cross-entropy(W x + b, y) + l2 / 2 * ||W||^2

The features are standardised and turned to their principal axes, which the penalty does not notice
and the solver (`descent`) profits from. That is done once for all strengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.api import exact_device, move_like

from .descent import RESOLUTION, State, change_penalty, have_converged, minimise, start

BLOCK = 2**20  # float32 features or logits at a time: 4 MB, which fit a processor's cache
GPU_SHARE = 32  # times that on another device
EXACT = 2**22  # features up to which a fit can be in float64: 32 MB
RANK = 1e-12  # a direction with less of the largest variance is not there
RESOLVED = 1e-7  # a feature that varies by less of its mean is constant: float32 resolves no more
ROWS = 1024  # standardised in float64 at a time: few enough for a cache


@dataclass(frozen=True)
class Heads:
    """Linear classifiers, one for each L2 strength.

    Args:
        mean: (dim,), float64, subtracted from the features.
        scale: (dim,), float64, the features are divided by it; infinite for a constant one, which so has no
            effect.
        weight: (heads, classes, dim), float64, of the standardised features.
        bias: (heads, classes), float64.
        loss: (heads,), float64, the objective that was reached.
        steps: (heads,), int64, evaluations of the objective.
        converged: (heads,), bool.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    loss: Tensor
    steps: Tensor
    converged: Tensor

    def logits(self, x: Tensor, head: int) -> Tensor:
        """Return what one head says of features (n, dim), as (n, classes), float64."""
        weight, bias = self.weight[head].T, self.bias[head]
        parts = (_standardise(part, self.mean, self.scale) for part in x.split(ROWS))
        return torch.cat([part @ weight + bias for part in parts])

    def take(self, head: int) -> Heads:
        """Return one head."""
        one = {f.name: getattr(self, f.name)[head : head + 1] for f in fields(self)}
        return replace(self, **{**one, "mean": self.mean, "scale": self.scale})

    def convert_to(self, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights and biases that say the same of features standardised by other moments."""
        bias = self.bias + self.weight @ ((mean - self.mean) / self.scale)
        ratio = torch.where(self.scale.isfinite() & scale.isfinite(), scale / self.scale, 0.0)
        return self.weight * ratio, bias


def fit(
    x: Tensor,
    y: Tensor,
    classes: int,
    l2: Tensor,
    *,
    tolerance: float,
    max_iter: int,
    device: torch.device,
    block: int = BLOCK,
) -> Heads:
    """Fit a head for each L2 strength on features standardised by their own mean and deviation.

    Args:
        x: (n, dim), float32.
        y: (n,), int64, in [0, classes); a class may have no row.
        classes: number of classes.
        l2: (heads,), positive.
        tolerance: a head is done when its last step gained less, and the next is expected to, as a share
            of the objective.
        max_iter: evaluations of the objective, of each head.
        device: where passes over the features run. Float64 goes to the CPU where it has none.
        block: features or logits at a time, for a processor.
    """
    order, rows = l2.argsort(descending=True), Rows.of(x, y, device).sharpen()
    ends = fit_all([rows], classes, l2[order, None], tolerance=tolerance, max_iter=max_iter, block=block)
    by_strength = [end for (end,) in ends]
    every = [by_strength[index] for index in order.argsort().tolist()]
    joined = {
        name: torch.cat([getattr(one, name) for one in every])
        for name in ("weight", "bias", "loss", "steps", "converged")
    }
    return Heads(mean=rows.mean, scale=rows.scale, **joined)


def fit_all(
    problems: Sequence[Rows],
    classes: int,
    l2: Tensor,
    *,
    tolerance: float,
    max_iter: int,
    block: int = BLOCK,
    near: Sequence[Heads | None] = (),
) -> Iterator[list[Heads]]:
    """Fit a head of each problem for one L2 strength after the other, all problems as one.

    The first starts from zero or from `near`, each other one where the one before it ended.

    Args:
        problems: of equal dimension; one may be given several times, for a pass over it serves all its heads.
        classes: as of `fit`.
        l2: (strengths, problems), positive; from the strongest to the weakest is fastest.
        tolerance: as of `fit`.
        max_iter: as of `fit`.
        block: as of `fit`.
        near: for each problem a head that was fitted on features like these, where to start, if there is one.

    Yields:
        For each strength a head of each problem.
    """
    loss = _Loss(problems, classes, block)
    at = loss.variance.new_zeros(len(problems), classes, loss.variance.shape[1] + 1)
    for index, (rows, head) in enumerate(zip(problems, near, strict=False)):
        if head is not None:
            weight, bias = head.convert_to(rows.mean, rows.scale)
            at[index, :, : rows.axes.shape[1]], at[index, :, -1] = weight[0] @ rows.axes, bias[0]
    end = None
    for strength in l2.to(at.device):
        first = change_penalty(end, strength) if end else start(loss, loss.variance, strength, at)
        end = minimise(loss, first, tolerance, loss.noise, max_iter)
        converged = have_converged(end, tolerance, loss.noise)
        yield [
            _head(rows, end.take(torch.tensor([index])), converged[index : index + 1])
            for index, rows in enumerate(problems)
        ]


def _head(rows: Rows, end: State, converged: Tensor) -> Heads:
    """Return the head of a problem, given where it ended."""
    weight = end.at[..., : rows.axes.shape[1]] @ rows.axes.T
    return Heads(rows.mean, rows.scale, weight, end.at[..., -1], end.loss, end.steps, converged)


@dataclass(frozen=True)
class Rows:
    """The features of a problem, standardised, and axes for its weights.

    Args:
        x: (n, dim), standardised; (n, rank), along `axes`, where rows are fewer than dimensions. What it is
            computed in, float32 or float64, is what passes over the rows are made in.
        y: (n,), int64.
        mean: (dim,), float64.
        scale: (dim,), float64.
        axes: (dim, rank), float64, orthonormal.
        variance: (rank,), float64, of the standardised features along them.
    """

    x: Tensor
    y: Tensor
    mean: Tensor
    scale: Tensor
    axes: Tensor
    variance: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, device: torch.device, near: Rows | None = None) -> Rows:
        """Standardise features.

        Args:
            x: (n, dim), float32.
            y: (n,), int64.
            device: where passes over the features run. Float64 goes to the CPU where it has none.
            near: most of these rows, whose axes will do: they only have to be near.
        """
        x = x.to(exact_device(device))
        mean, scale = moments(x)
        if near is not None and len(x) >= x.shape[1] == near.axes.shape[1]:
            axes, variance = near.axes, near.variance
        else:
            axes, variance = principal_axes(x, mean, scale)
        wide = len(x) >= x.shape[1]
        parts = [_standardise(part, mean, scale) for part in x.split(ROWS)]
        blocks = [(part if wide else part @ axes).float().to(device) for part in parts]
        return cls(torch.cat(blocks), y.to(device), mean, scale, axes, variance)

    def sharpen(self) -> Rows:
        """Return the rows in float64 where they are few and the device has it, for fits to their very end."""
        if self.x.numel() > EXACT or exact_device(self.x.device) != self.x.device:
            return self
        return replace(self, x=self.x.double())

    @property
    def is_turned(self) -> bool:
        """Tell whether `x` is along `axes`: there are fewer than dimensions."""
        return self.axes.shape[1] < self.axes.shape[0]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each feature, (dim,), float64; infinite for a constant one."""
    mean = x.mean(0, dtype=torch.float64)
    squares = sum(((part.double() - mean).square().sum(0) for part in x.split(ROWS)), torch.zeros_like(mean))
    scale = (squares / len(x)).sqrt()
    return mean, torch.where(scale > RESOLVED * mean.abs(), scale, torch.inf)


def principal_axes(x: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return orthonormal axes (dim, rank) of the standardised features and their variances (rank,).

    Where there are fewer rows than dimensions only axes on which the rows differ are kept: the
    optimum has no weight on the others.
    """
    n, dim = x.shape
    if n >= dim:
        covariance = torch.zeros(dim, dim, dtype=torch.float64, device=x.device)
        for part in x.split(ROWS):
            z = _standardise(part, mean, scale).float()  # any orthonormal axes do: precision is for n < dim
            covariance += z.T @ z / n
        variance, axes = torch.linalg.eigh(covariance)
        return axes, variance.clamp_min(0)
    z = _standardise(x, mean, scale)
    variance, left = torch.linalg.eigh(z @ z.T / n)
    kept = variance > max(RANK * float(variance[-1]), torch.finfo(variance.dtype).tiny)
    variance = variance[kept]
    return z.T @ left[:, kept] / (n * variance).sqrt(), variance


def _standardise(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return (x.to(mean.device).double() - mean) / scale


class _Loss:
    """The mean cross-entropy of heads of several problems, its gradient and its curvature between classes.

    Args:
        problems: of equal dimension, on one device.
        classes: number of classes.
        block: features or logits at a time, for a processor.
    """

    def __init__(self, problems: Sequence[Rows], classes: int, block: int) -> None:
        self.problems, self.classes, self.block = problems, classes, block
        rank = max(rows.axes.shape[1] for rows in problems)
        # along an axis that a problem has not got there is no gradient: it stays at zero
        self.variance = torch.stack([F.pad(p.variance, (0, rank - len(p.variance))) for p in problems])
        self.noise = self.variance.new_tensor([RESOLUTION[p.x.dtype] for p in problems])

    def __call__(self, at: Tensor, problem: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss (heads,), gradient as `at`, and curvature (heads, classes, classes).

        Args:
            at: (heads, classes, axes + 1), float64, weights and bias.
            problem: (heads,), int64, the features of each.
        """
        heads, classes = len(at), self.classes
        loss, gradient, curvature = (
            at.new_zeros(heads),
            torch.zeros_like(at),
            at.new_zeros(heads, classes, classes),
        )
        for rows, heads_here in self._group_heads(problem.tolist()):
            axes = rows.axes.shape[1]
            weight = at[heads_here, :, :axes] if rows.is_turned else at[heads_here, :, :axes] @ rows.axes.T
            sums = self._sum_over_rows(rows, move_like(weight, rows.x), move_like(at[heads_here, :, -1:], rows.x))
            value, slope, curved = (move_like(part, at) / len(rows.y) for part in sums)
            loss[heads_here], curvature[heads_here] = value, curved
            gradient[heads_here, :, :axes] = (
                slope[..., :-1] if rows.is_turned else slope[..., :-1] @ rows.axes
            )
            gradient[heads_here, :, -1] = slope[..., -1]
        return loss, gradient, curvature

    def _group_heads(self, problem: Sequence[int]) -> list[tuple[Rows, list[int]]]:
        """Return the rows of each problem with the indices of the heads that are fitted on them."""
        groups: dict[int, tuple[Rows, list[int]]] = {}
        for head, index in enumerate(problem):
            rows = self.problems[index]
            groups.setdefault(id(rows), (rows, []))[1].append(head)
        return list(groups.values())

    def _sum_over_rows(self, rows: Rows, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        """Return the sums over rows of heads, weight (heads, classes, dim) and bias (heads, classes, 1)."""
        heads, flat = len(weight), weight.flatten(0, 1)
        size = self._size(rows, heads)
        sums = []
        for x, y in zip(rows.x.split(size), rows.y.split(size), strict=True):
            log_p = ((flat @ x.T).view(heads, self.classes, -1) + bias).log_softmax(1)
            label = y.expand(heads, 1, -1)
            loss = -log_p.gather(1, label).sum((1, 2))
            p = log_p.exp_()
            total = p.sum(2, keepdim=True)
            curvature = torch.diag_embed(total[..., 0]) - p @ p.transpose(1, 2)
            p.scatter_add_(1, label, p.new_full((), -1).expand_as(label))
            slope = (p.flatten(0, 1) @ x).view(heads, self.classes, -1)
            sums.append((loss, torch.cat((slope, p.sum(2, keepdim=True)), 2), curvature))
        return tuple(torch.stack(parts).sum(0) for parts in zip(*sums, strict=True))

    def _size(self, rows: Rows, heads: int) -> int:
        """Return the rows of a block."""
        block = self.block * (1 if rows.x.device.type == "cpu" else GPU_SHARE)
        return max(1, block // max(rows.x.shape[1], heads * self.classes))
