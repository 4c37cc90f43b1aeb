"""Train perceptrons of one shape as one: each head has its weights, statistics, lr and weight decay.

    h = ReLU(BN(W h)) for each hidden layer, then logits = V h + b

All heads see the same rows in the same order and start from the same weights, so that they differ
in nothing but their settings. No gradient, statistic or step of a head depends on another head.

References: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167 (batch norm); Loshchilov and
Hutter 2019, https://arxiv.org/abs/1711.05101 (AdamW).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import seed_of

from .logistic import ROWS, Frame, Part

BETAS, EPS = (0.9, 0.999), 1e-8  # AdamW's, as in torch
MOMENTUM = 0.1  # of the running statistics, as in torch
SHARE = 10  # of the rows a step at most, a tenth
STEPS = 20  # an epoch at least: 10 epochs of one step teach a small set nothing
FEWEST = 32  # rows a step, where there are as many: statistics of fewer are noise
HELD = 2**26  # float32 numbers that are held at a time: 256 MB


@dataclass(frozen=True)
class Standard:
    """The standardisation that the fitted rows give, and the turn to their principal axes.

    AdamW moves every weight alike: along principal axes directions of little variance are learned
    too, along the features themselves they are not.

    Args:
        mean: (dim,), float64.
        scale: (dim,), float64; infinite for a constant feature, which so has no effect.
        axes: (dim, rank), float64, orthonormal.
    """

    mean: Tensor
    scale: Tensor
    axes: Tensor

    @classmethod
    def of(cls, x: Tensor, device: torch.device, index: Tensor | None = None) -> Standard:
        """Measure features (n, dim), or the rows of them at an index (m,), a block at a time on `device`."""
        frame = Frame.of(x, device, index)
        ends = frame.axes.gather(0, frame.axes.abs().argmax(0, keepdim=True))
        signed = frame.axes * ends.sign()  # eigenvectors come with a sign of any kind
        return cls(frame.mean, frame.scale, signed)

    def apply(self, x: Tensor, device: torch.device, index: Tensor | None = None) -> Tensor:
        """Return features (n, dim) standardised and turned, (n, rank), float32, on `device`.

        Args:
            x: (n, dim), float32.
            device: where they are wanted.
            index: (m,), int64, of the rows that are taken; none is all.
        """
        part = Part(x, index, self.mean.device)
        rows = torch.empty(len(part), self.axes.shape[1], device=device)
        return part.write(lambda block: ((block - self.mean) / self.scale) @ self.axes, rows)


class Perceptrons(nn.Module):
    """Heads of one shape, computed together.

    Args:
        widths: of the features, of each hidden layer, and the number of classes.
        heads: number of perceptrons.
        seed: of the weights all of them start from.
        precision: of the products with weights, float32 or bfloat16; the rest is float32.
    """

    def __init__(self, widths: Sequence[int], heads: int, seed: int, precision: str = "float32") -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(seed)
        self.heads, self.precision = heads, precision
        self.weights = nn.ParameterList(
            _uniform((width, out), width, heads, drawn).mT.contiguous() for width, out in pairwise(widths)
        )
        self.bias = nn.Parameter(_uniform((widths[-1],), widths[-2], heads, drawn))
        self.norms = nn.ModuleList(nn.BatchNorm1d(heads * width) for width in widths[1:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of features (n, dim), as (n, heads, classes)."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            h = F.linear(x, self.weights[0].flatten(0, 1))  # all heads see the same rows: one product
            for norm, weight in zip(self.norms, self.weights[1:], strict=True):
                h = F.relu(norm(h)).unflatten(1, (self.heads, -1))  # a head's channels are its own
                h = torch.einsum("nhi,hoi->nho", h, weight).flatten(1)
        logits: Tensor = h.float().unflatten(1, (self.heads, -1)) + self.bias
        return logits

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Return the logits by the running statistics, as (n, heads, classes)."""
        self.eval()
        return torch.cat([self(part) for part in x.split(ROWS)])

    @torch.no_grad()
    def judge(self, x: Tensor, y: Tensor) -> Tensor:
        """Return top-1 in percent and negative log-likelihood in nats of each head.

        Args:
            x: (n, rank), by `Standard`.
            y: (n,), int64.

        Returns:
            (2, heads), float64, on the CPU.
        """
        self.eval()
        totals = torch.zeros(2, self.heads, dtype=torch.float64)
        for part, labels in zip(x.split(ROWS), y.split(ROWS), strict=True):
            logits, targets = self(part).transpose(1, 2), labels[:, None].expand(-1, self.heads)
            right = (logits.argmax(1) == targets).sum(0)
            loss = F.cross_entropy(logits, targets, reduction="none").sum(0)
            totals += torch.stack((100 * right.cpu().double(), loss.cpu().double()))
        return totals / len(y)


class AdamW:
    """AdamW with a learning rate and a weight decay for each head.

    Biases and the parameters of norms do not decay.

    Args:
        model: its parameters are changed.
        lr: (heads,), at the start of the schedule.
        weight_decay: (heads,).
    """

    def __init__(self, model: Perceptrons, lr: Tensor, weight_decay: Tensor) -> None:
        device = model.bias.device
        self.lr, decay = (values.float().to(device)[:, None] for values in (lr, weight_decay))
        self.steps = 0
        self.slots = []
        for parameter in model.parameters():
            first = torch.zeros_like(parameter.data).view(model.heads, -1)
            rate = decay if parameter.ndim == 3 else torch.zeros_like(decay)
            self.slots.append((parameter, rate, first, first.clone(), first.clone()))

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], share: float) -> None:
        """Move every head along its gradient.

        Args:
            gradients: one a parameter, of its shape.
            share: of the learning rates, by the schedule.
        """
        self.steps += 1
        beta, gamma = BETAS
        lr = share * self.lr
        for (parameter, decay, first, second, held), gradient in zip(self.slots, gradients, strict=True):
            p, g = parameter.data.view_as(first), gradient.reshape_as(first)
            first.lerp_(g, 1 - beta)
            second.mul_(gamma).addcmul_(g, g, value=1 - gamma)
            torch.div(second, 1 - gamma**self.steps, out=held)  # new pages each step would cost as much
            torch.div(first, held.sqrt_().add_(EPS), out=held)
            p.mul_(1 - lr * decay).sub_(held.mul_(lr / (1 - beta**self.steps)))


def descend(
    model: Perceptrons, x: Tensor, y: Tensor, optimizer: AdamW, *, epochs: int, batch_size: int, seed: int
) -> Iterator[int]:
    """Train by a cosine schedule and yield the number of each epoch when it is done.

    An epoch is one pass over the rows, or as many as make twenty steps.

    Args:
        model: is trained.
        x: (n, rank), by `Standard`.
        y: (n,), int64.
        optimizer: of the model.
        epochs: length of the schedule; whoever iterates may stop earlier.
        batch_size: most rows a step.
        seed: of the order of the rows.
    """
    size = step_rows(len(y), batch_size)
    passes = max(1, -(-STEPS * size // len(y)))
    steps = -(-passes * len(y) // size)
    for epoch in range(epochs):
        drawn = torch.Generator().manual_seed(seed_of(seed, "rows", epoch))
        order = torch.cat([torch.randperm(len(y), generator=drawn) for _ in range(passes)])
        for rows in order.to(x.device).tensor_split(steps):
            share = (1 + math.cos(math.pi * optimizer.steps / (epochs * steps))) / 2
            train_step(model, x[rows], y[rows], optimizer, share)
        yield epoch + 1


def train_step(model: Perceptrons, x: Tensor, y: Tensor, optimizer: AdamW, share: float) -> None:
    """Do one step of every head on the same rows.

    Args:
        model: is trained.
        x: (n, dim), n at least 2.
        y: (n,), int64.
        optimizer: of the model.
        share: of the learning rates, by the schedule.
    """
    model.train()
    for module in model.norms.modules():
        if isinstance(module, nn.BatchNorm1d):
            # a mean at first: what the statistics start from must not count where steps are few
            module.momentum = max(MOMENTUM, 1 / (optimizer.steps + 1))
    logits = model(x)
    loss = F.cross_entropy(logits.flatten(0, 1), y.repeat_interleave(model.heads), reduction="sum")
    gradients = torch.autograd.grad(loss / len(y), list(model.parameters()))
    optimizer.step(gradients, share)


def step_rows(rows: int, batch_size: int) -> int:
    """Return the most rows a step: smaller sets have smaller batches, so that they get steps enough.

    They are never more than there are, but for a single row: it is taken twice, to have a variance.
    """
    return max(2, min(rows, batch_size, max(FEWEST, rows // SHARE)))


def heads_at_once(widths: Sequence[int], rows: int, held: int = HELD) -> int:
    """Return how many heads are trained together within `held` float32 numbers, at least one.

    Args:
        widths: as of `Perceptrons`.
        rows: a step.
        held: numbers; a weight is held five times (its gradient, two moments, its step), an activation five.
    """
    weights = sum(width * out for width, out in pairwise(widths))
    return max(1, held // (5 * weights + 5 * rows * sum(widths[1:])))


def _uniform(shape: tuple[int, ...], width: int, heads: int, drawn: torch.Generator) -> Tensor:
    """Draw as `nn.Linear` does, in [-1, 1] / sqrt(width), and give each head a copy."""
    one = (2 * torch.rand(shape, generator=drawn) - 1) / math.sqrt(max(1, width))  # one row has no axis
    return one.expand(heads, *shape).clone()
