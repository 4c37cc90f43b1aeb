"""Minimise the L2-regularised softmax losses of many linear heads, as one batch.

The solver is L-BFGS with a starting metric made for this loss. Its Hessian is a mean over rows of
(diag(p) - p p^T) (x) x x^T; the mean of the first factor, A, times the mean of the second, the
covariance C, is a close and cheap stand-in. In the eigenbases of A (classes by classes) and of C the
metric A (x) C + l2 I is diagonal. Each head has its own step, history and end; an evaluation serves
all that are not done.

References: Nocedal and Wright 2006, algorithm 7.4 (L-BFGS); Martens and Grosse 2015 (Kronecker
factors); Hager and Zhang 2005, section 1 (a line search that rounding does not stop).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

Loss = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]

HISTORY = 10  # pairs a head; scikit-learn's lbfgs keeps as many
SUFFICIENT = 1e-4  # Nocedal and Wright 2006, section 3.1
ROUNDING = 1e-7  # of the loss, below which a step is judged by its slope
FLAT = 1e-8  # curvature between classes below which float32 sums are noise


@dataclass(frozen=True)
class State:
    """Where each head is; every field has the heads first.

    Args:
        l2: (heads,), the strengths.
        at: (heads, classes, axes + 1), weights and bias.
        loss: (heads,), the objective.
        gradient: as `at`.
        curvature: (heads, classes, classes).
        direction: as `at`.
        step: (heads,), along the direction, to be tried next.
        moves: (heads, history, classes, axes + 1), the latest first.
        changes: as `moves`, of the gradient.
        gain: (heads,), of the last step or expected of the next, the larger.
        steps: (heads,), evaluations.
    """

    l2: Tensor
    at: Tensor
    loss: Tensor
    gradient: Tensor
    curvature: Tensor
    direction: Tensor
    step: Tensor
    moves: Tensor
    changes: Tensor
    gain: Tensor
    steps: Tensor

    def take(self, heads: Tensor) -> State:
        """Return the heads at an index or mask."""
        return State(*(getattr(self, f.name)[heads] for f in fields(self)))


def minimise(
    loss: Loss, classes: int, variance: Tensor, l2: Tensor, tolerance: float, max_iter: int
) -> State:
    """Descend from zero until every head gains less than `tolerance`, or for `max_iter` evaluations.

    Args:
        loss: the data term: value (heads,), gradient and curvature, at weights and bias.
        classes: number of classes.
        variance: (axes,), float64, of the features.
        l2: (heads,), float64.
        tolerance: in nats of the objective.
        max_iter: evaluations of the objective.
    """
    live = _start(loss, classes, variance, l2)
    order = torch.arange(len(l2), device=l2.device)
    ended: list[tuple[Tensor, State]] = []
    for _ in range(max_iter - 1):
        live = _advance(loss, variance, live)
        done = live.gain < tolerance
        if done.any():
            ended.append((order[done], live.take(done)))
            live, order = live.take(~done), order[~done]
        if not len(order):
            break
    ended.append((order, live))
    back = torch.cat([heads for heads, _ in ended]).argsort()
    states = [state for _, state in ended]
    return State(*(torch.cat([getattr(s, f.name) for s in states])[back] for f in fields(State)))


def _start(loss: Loss, classes: int, variance: Tensor, l2: Tensor) -> State:
    heads, shape = len(l2), (classes, len(variance) + 1)
    at = l2.new_zeros(heads, *shape)
    value, gradient, curvature = _objective(loss, at, l2)
    history = l2.new_zeros(heads, HISTORY, *shape)
    return State(
        l2=l2,
        at=at,
        loss=value,
        gradient=gradient,
        curvature=curvature,
        direction=-_in_metric(gradient, curvature, variance, l2),
        step=torch.ones_like(l2),
        moves=history,
        changes=history,
        gain=torch.full_like(l2, torch.inf),
        steps=torch.ones_like(l2, dtype=torch.long),
    )


def _advance(loss: Loss, variance: Tensor, s: State) -> State:
    """Try each head's step: heads it serves move and turn, the others will try a shorter one."""
    trial = s.at + _wide(s.step) * s.direction
    value, gradient, curvature = _objective(loss, trial, s.l2)
    slope, slope_there = _dot(s.gradient, s.direction), _dot(gradient, s.direction)
    enough = value <= s.loss + SUFFICIENT * s.step * slope
    level = (value <= s.loss + ROUNDING * s.loss.abs()) & (slope_there <= (2 * SUFFICIENT - 1) * slope)
    good = enough | level

    def chosen(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(good.view(-1, *[1] * (new.ndim - 1)), new, old)

    moves = chosen(torch.cat(((trial - s.at)[:, None], s.moves[:, :-1]), 1), s.moves)
    changes = chosen(torch.cat(((gradient - s.gradient)[:, None], s.changes[:, :-1]), 1), s.changes)
    gained = s.loss - value
    gradient, curvature = chosen(gradient, s.gradient), chosen(curvature, s.curvature)
    direction = -_inverse_hessian(gradient, moves, changes, curvature, variance, s.l2)
    expected = -_dot(gradient, direction) / 2
    ratio = -s.step * slope / (2 * (value - s.loss - s.step * slope))  # the parabola's minimum
    return State(
        l2=s.l2,
        at=chosen(trial, s.at),
        loss=chosen(value, s.loss),
        gradient=gradient,
        curvature=curvature,
        direction=direction,
        step=chosen(torch.ones_like(s.step), s.step * ratio.nan_to_num(0).clamp(0.1, 0.5)),
        moves=moves,
        changes=changes,
        gain=chosen(torch.maximum(gained, expected), torch.full_like(gained, torch.inf)),
        steps=s.steps + 1,
    )


def _objective(loss: Loss, at: Tensor, l2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return loss, gradient and curvature with the penalty; the bias is not penalised."""
    value, gradient, curvature = loss(at)
    weight = at[..., :-1]
    value = value + l2 / 2 * weight.square().sum((1, 2))
    gradient[..., :-1] += _wide(l2) * weight
    return value, gradient - gradient.mean(1, keepdim=True), curvature  # classes' sum is no freedom


def _inverse_hessian(
    gradient: Tensor, moves: Tensor, changes: Tensor, curvature: Tensor, variance: Tensor, l2: Tensor
) -> Tensor:
    """Return L-BFGS's inverse Hessian times the gradient: the two loops, latest pair first."""
    products = (moves * changes).sum((2, 3))
    rho = torch.where(products > 0, 1 / products, 0.0)  # (heads, history); 0 where there is no pair
    q, alphas = gradient, []
    for i in range(HISTORY):
        alphas.append(rho[:, i] * _dot(moves[:, i], q))
        q = q - _wide(alphas[i]) * changes[:, i]
    q = _in_metric(q, curvature, variance, l2)
    for i in reversed(range(HISTORY)):
        beta = rho[:, i] * _dot(changes[:, i], q)
        q = q + _wide(alphas[i] - beta) * moves[:, i]
    return q


def _in_metric(q: Tensor, curvature: Tensor, variance: Tensor, l2: Tensor) -> Tensor:
    """Return (curvature (x) covariance + l2)^-1 q; the bias is a feature of variance 1, unpenalised."""
    between, turn = torch.linalg.eigh(curvature)
    between = between.clamp_min(FLAT)[..., None]
    hessian = torch.cat((between * variance + _wide(l2), between), 2)
    turned: Tensor = turn @ (turn.transpose(1, 2) @ q / hessian)
    return turned


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2))


def _wide(value: Tensor) -> Tensor:
    return value[:, None, None]
