"""Fit multinomial logistic regressions, one for each L2 strength, each from where a stronger one ended.

    f(W, b) = mean over rows of cross-entropy(W x + b, y) + l2 / 2 * ||W||^2

The features are standardised and turned to their principal axes, which the penalty does not notice
and the solver (`descent`) profits from. That is done once for all strengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
        return torch.cat(list(self.predict(Part(x, None, self.mean.device), head)))

    def predict(self, part: Part, head: int) -> Iterator[Tensor]:
        """Yield what one head says of some rows, at most `ROWS` at a time, as (rows, classes), float64."""
        weight, bias = self.weight[head].T, self.bias[head]
        for block in part.blocks():
            yield ((block - self.mean) / self.scale) @ weight + bias

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
    order, rows = l2.argsort(descending=True), Rows.of(x, y, device, Frame.of(x, device)).sharpen()
    ends = fit_all([rows], classes, l2[order, None], tolerance=tolerance, max_iter=max_iter, block=block)
    by_strength = [end for (end,) in ends]
    every = [by_strength[index] for index in order.argsort().tolist()]
    joined = {
        name: torch.cat([getattr(one, name) for one in every])
        for name in ("weight", "bias", "loss", "steps", "converged")
    }
    return Heads(mean=rows.frame.mean, scale=rows.frame.scale, **joined)


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
            weight, bias = head.convert_to(rows.frame.mean, rows.frame.scale)
            at[index, :, : rows.frame.axes.shape[1]], at[index, :, -1] = weight[0] @ rows.frame.axes, bias[0]
    end = None
    strengths = l2.to(at.device)
    for place, strength in enumerate(strengths, 1):
        first = change_penalty(end, strength) if end else start(loss, loss.variance, strength, at)
        end = minimise(loss, first, tolerance, loss.noise, max_iter, last=place == len(strengths))
        converged = have_converged(end, tolerance, loss.noise)
        yield [
            _head(rows, end.forget().take(torch.tensor([index])), converged[index : index + 1])
            for index, rows in enumerate(problems)
        ]


def _head(rows: Rows, end: State, converged: Tensor) -> Heads:
    """Return the head of a problem, given where it ended."""
    weight = end.at[..., : rows.frame.axes.shape[1]] @ rows.frame.axes.T
    return Heads(rows.frame.mean, rows.frame.scale, weight, end.at[..., -1], end.loss, end.steps, converged)


@dataclass(frozen=True)
class Frame:
    """What features are standardised by, and their principal axes.

    Args:
        mean: (dim,), float64.
        scale: (dim,), float64.
        axes: (dim, rank), float64, orthonormal.
        variance: (rank,), float64, of the standardised features along them.
    """

    mean: Tensor
    scale: Tensor
    axes: Tensor
    variance: Tensor

    @classmethod
    def of(
        cls, x: Tensor, device: torch.device, index: Tensor | None = None, near: Frame | None = None
    ) -> Frame:
        """Measure features, a block at a time.

        Args:
            x: (n, dim), float32; may be in a mapped file.
            device: where to compute; float64 goes to the CPU where it has none.
            index: (m,), int64, of the rows that count; none is all.
            near: of most of these rows, whose axes will do: they only have to be near.
        """
        part = Part(x, index, exact_device(device))
        mean, scale = moments(part)
        if near is not None and len(part) >= x.shape[1] == near.axes.shape[1]:
            return cls(mean, scale, near.axes, near.variance)
        return cls(mean, scale, *principal_axes(part, mean, scale))

    def standardise(self, x: Tensor) -> Tensor:
        """Return features (n, dim), float64, less their mean and over their scale."""
        return (x - self.mean) / self.scale


@dataclass(frozen=True)
class Part:
    """Some rows of features, which are copied and sent to a device a block at a time.

    Args:
        x: (n, dim), float32.
        index: (m,), int64, of the rows; none is all.
        device: where they are wanted.
    """

    x: Tensor
    index: Tensor | None
    device: torch.device

    def __len__(self) -> int:
        return len(self.x if self.index is None else self.index)

    def blocks(self) -> Iterator[Tensor]:
        """Yield the rows in order, at most `ROWS` at a time, in float64."""
        blocks = self.x.split(ROWS) if self.index is None else map(self._take, self.index.split(ROWS))
        for block in blocks:
            yield block.to(self.device).double()

    def write(self, change: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """Write what `change` makes of each block into `rows`, on any device and in float32; return them."""
        for block, place in zip(self.blocks(), rows.split(ROWS), strict=True):
            place.copy_(change(block).float())
        return rows

    def _take(self, index: Tensor) -> Tensor:
        return self.x[index]


@dataclass(frozen=True)
class Rows:
    """The features of a problem, standardised, and axes for its weights.

    Args:
        x: (n, dim), standardised; (n, rank), along `axes`, where rows are fewer than dimensions. What it is
            computed in, float32 or float64, is what passes over the rows are made in.
        y: (n,), int64.
        frame: what they are standardised by, and the axes.
    """

    x: Tensor
    y: Tensor
    frame: Frame

    @classmethod
    def of(
        cls, x: Tensor, y: Tensor, device: torch.device, frame: Frame, index: Tensor | None = None
    ) -> Rows:
        """Standardise features, a block at a time: beside them there is one copy.

        Args:
            x: (n, dim), float32; may be in a mapped file.
            y: (n,), int64.
            device: where passes over the features run.
            frame: of these rows.
            index: (m,), int64, of the rows that are taken; none is all.
        """
        part = Part(x, index, frame.mean.device)
        wide = len(part) >= x.shape[1]
        rows = torch.empty(len(part), *(x if wide else frame.axes).shape[1:], device=device)
        part.write(frame.standardise if wide else lambda z: frame.standardise(z) @ frame.axes, rows)
        return cls(rows, (y if index is None else y[index]).to(device), frame)

    def sharpen(self) -> Rows:
        """Return the rows in float64 where they are few and the device has it, for fits to their very end."""
        if self.x.numel() > EXACT or exact_device(self.x.device) != self.x.device:
            return self
        return replace(self, x=self.x.double())

    @property
    def is_turned(self) -> bool:
        """Tell whether `x` is along `axes`: there are fewer than dimensions."""
        return self.frame.axes.shape[1] < self.frame.axes.shape[0]


def moments(part: Part) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each feature, (dim,), float64; infinite for a constant one."""
    mean = torch.zeros(part.x.shape[1], dtype=torch.float64).to(part.device)
    for block in part.blocks():
        mean += block.sum(0) / len(part)
    squares = torch.zeros_like(mean)
    for block in part.blocks():
        squares += (block - mean).square().sum(0)
    scale = (squares / len(part)).sqrt()
    return mean, torch.where(scale > RESOLVED * mean.abs(), scale, torch.inf)


def principal_axes(part: Part, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return orthonormal axes (dim, rank) of the standardised features and their variances (rank,).

    Where there are fewer rows than dimensions only axes on which the rows differ are kept: the
    optimum has no weight on the others.
    """
    n, dim = len(part), len(mean)
    if n >= dim:
        covariance = mean.new_zeros(dim, dim)
        for block in part.blocks():
            z = ((block - mean) / scale).float()  # any orthonormal axes do: precision is for n < dim
            covariance += z.T @ z / n
        variance, axes = torch.linalg.eigh(covariance)
        return axes, variance.clamp_min(0)
    z = torch.cat([(block - mean) / scale for block in part.blocks()])
    variance, left = torch.linalg.eigh(z @ z.T / n)
    kept = variance > max(RANK * float(variance[-1]), torch.finfo(variance.dtype).tiny)
    variance = variance[kept]
    return z.T @ left[:, kept] / (n * variance).sqrt(), variance


class _Loss:
    """The mean cross-entropy of heads of several problems, its gradient and its curvature between classes.

    Args:
        problems: of equal dimension, on one device.
        classes: number of classes.
        block: features or logits at a time, for a processor.
    """

    def __init__(self, problems: Sequence[Rows], classes: int, block: int) -> None:
        self.problems, self.classes, self.block = problems, classes, block
        rank = max(rows.frame.axes.shape[1] for rows in problems)
        # along an axis that a problem has not got there is no gradient: it stays at zero
        variances = [rows.frame.variance for rows in problems]
        self.variance = torch.stack([F.pad(one, (0, rank - len(one))) for one in variances])
        self.noise = self.variance.new_tensor([RESOLUTION[p.x.dtype] for p in problems])

    def __call__(self, at: Tensor, problem: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss (heads,), gradient as `at`, and curvature (heads, classes, classes).

        Args:
            at: (heads, classes, axes + 1), float64, weights and bias.
            problem: (heads,), int64, the features of each.
        """
        heads, classes = len(at), self.classes
        loss, gradient = at.new_zeros(heads), torch.zeros_like(at)
        curvature = at.new_zeros(heads, classes, classes)
        for rows, heads_here in self._group_heads(problem.tolist()):
            axes = rows.frame.axes.shape[1]
            weight, bias = at[heads_here, :, :axes], move_like(at[heads_here, :, -1:], rows.x)
            weight = weight if rows.is_turned else weight @ rows.frame.axes.T
            sums = self._sum_over_rows(rows, move_like(weight, rows.x), bias)
            value, slope, curved = (part / len(rows.y) for part in sums)
            loss[heads_here], curvature[heads_here] = value, curved
            gradient[heads_here, :, :axes] = (
                slope[..., :-1] if rows.is_turned else slope[..., :-1] @ rows.frame.axes
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
        """Return the sums over rows of heads, weight (heads, classes, dim) and bias (heads, classes, 1).

        They are added block by block, in float64: at no time is there more than one block's.
        """
        heads, classes, dim = weight.shape
        flat, size = weight.flatten(0, 1), self._size(rows, heads)
        shapes = (heads,), (heads, classes, dim + 1), (heads, classes, classes)
        totals = tuple(rows.frame.mean.new_zeros(shape) for shape in shapes)
        for x, y in zip(rows.x.split(size), rows.y.split(size), strict=True):
            log_p = ((flat @ x.T).view(heads, self.classes, -1) + bias).log_softmax(1)
            label = y.expand(heads, 1, -1)
            loss = -log_p.gather(1, label).sum((1, 2))
            p = log_p.exp_()
            total = p.sum(2, keepdim=True)
            curvature = torch.diag_embed(total[..., 0]) - p @ p.transpose(1, 2)
            p.scatter_add_(1, label, p.new_full((), -1).expand_as(label))
            slope = (p.flatten(0, 1) @ x).view(heads, self.classes, -1)
            sums = (loss, torch.cat((slope, p.sum(2, keepdim=True)), 2), curvature)
            for so_far, more in zip(totals, sums, strict=True):
                so_far.add_(move_like(more, so_far))
        return totals

    def _size(self, rows: Rows, heads: int) -> int:
        """Return the rows of a block."""
        block = self.block * (1 if rows.x.device.type == "cpu" else GPU_SHARE)
        return max(1, block // max(rows.x.shape[1], heads * self.classes))
