"""Fit multinomial logistic regressions, one for each L2 strength, all as one batch.

    f(W, b) = mean over rows of cross-entropy(W x + b, y) + l2 / 2 * ||W||^2

The features are standardised and turned to their principal axes, which the penalty does not notice
and the solver (`descent`) profits from. A pass over them serves all heads that are not done.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .descent import minimise

BLOCK = 2**20  # float32 logits held at a time: 4 MB
RANK = 1e-12  # a direction with less of the largest variance is not there
RESOLVED = 1e-7  # a feature that varies by less of its mean is constant: float32 resolves no more
ROWS = 8192  # standardised in float64 at a time


@dataclass(frozen=True)
class Heads:
    """Linear classifiers, one for each L2 strength.

    Args:
        mean: (dim,), float64, subtracted from the features.
        scale: (dim,), float64, the features are divided by it.
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
        parts = (_standardised(part, self.mean, self.scale) for part in x.split(ROWS))
        return torch.cat([part @ weight + bias for part in parts])


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
        tolerance: a head is done when its last step gained less, and the next is expected to, in
            nats of the objective.
        max_iter: evaluations of the objective.
        device: where passes over the features run. Float64 goes to the CPU where it has none.
        block: logits held at a time.
    """
    exact = torch.device("cpu") if device.type == "mps" else device
    x = x.to(exact)
    mean, scale = moments(x)
    axes, variance = principal_axes(x, mean, scale)
    parts = [(_standardised(part, mean, scale) @ axes).float().to(device) for part in x.split(ROWS)]
    loss = _Loss(torch.cat(parts), y.to(device), classes, block)
    end = minimise(loss, classes, variance, l2.to(exact, torch.float64), tolerance, max_iter)
    weight = end.at[..., :-1] @ axes.T
    return Heads(mean, scale, weight, end.at[..., -1], end.loss, end.steps, end.gain < tolerance)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of each feature, (dim,), float64; 1 for a constant one."""
    mean = x.mean(0, dtype=torch.float64)
    squares = sum(((part.double() - mean).square().sum(0) for part in x.split(ROWS)), torch.zeros_like(mean))
    scale = (squares / len(x)).sqrt()
    return mean, torch.where(scale > RESOLVED * mean.abs(), scale, 1.0)


def principal_axes(x: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return orthonormal axes (dim, rank) of the standardised features and their variances (rank,).

    Where there are fewer rows than dimensions only axes on which the rows differ are kept: the
    optimum has no weight on the others.
    """
    n, dim = x.shape
    if n >= dim:
        covariance = torch.zeros(dim, dim, dtype=torch.float64, device=x.device)
        for part in x.split(ROWS):
            z = _standardised(part, mean, scale).float()  # any orthonormal axes do: precision is for n < dim
            covariance += z.T @ z / n
        variance, axes = torch.linalg.eigh(covariance)
        return axes, variance.clamp_min(0)
    z = _standardised(x, mean, scale)
    variance, left = torch.linalg.eigh(z @ z.T / n)
    kept = variance > max(RANK * float(variance[-1]), torch.finfo(variance.dtype).tiny)
    variance = variance[kept]
    return z.T @ left[:, kept] / (n * variance).sqrt(), variance


def _standardised(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return (x.to(mean.device).double() - mean) / scale


class _Loss:
    """The mean cross-entropy of many heads, its gradient and its curvature between classes."""

    def __init__(self, x: Tensor, y: Tensor, classes: int, block: int) -> None:
        self.x, self.y, self.classes, self.block = x, y, classes, block

    def __call__(self, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss (heads,), gradient as `at`, and curvature (heads, classes, classes).

        Args:
            at: (heads, classes, axes + 1), float64, weights and bias.
        """
        heads, classes, n = len(at), self.classes, len(self.y)
        flat = at.to(self.x.dtype).to(self.x.device)
        weight, bias = flat[..., :-1].flatten(0, 1), flat[..., -1:]
        rows = max(1, self.block // (heads * classes))
        loss, gradient = at.new_zeros(heads), torch.zeros_like(at)
        curvature = at.new_zeros(heads, classes, classes)
        for x, y in zip(self.x.split(rows), self.y.split(rows), strict=True):
            z = (weight @ x.T).view(heads, classes, -1) + bias
            z -= z.amax(1, keepdim=True)
            label = y.expand(heads, 1, -1)
            own = z.gather(1, label)
            p = z.exp_()
            total = p.sum(1, keepdim=True)
            p /= total
            loss += (total.log() - own).sum((1, 2)).to(at.device)
            curvature += (torch.diag_embed(p.sum(2)) - p @ p.transpose(1, 2)).to(at.device)
            p.scatter_add_(1, label, p.new_full((), -1).expand_as(label))
            gradient[..., :-1] += (p.flatten(0, 1) @ x).view(heads, classes, -1).to(at.device)
            gradient[..., -1] += p.sum(2).to(at.device)
        return loss / n, gradient / n, curvature / n
