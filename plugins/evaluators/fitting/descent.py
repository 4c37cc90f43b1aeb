"""Minimise the L2-regularised softmax losses of linear heads, as one batch or along a path of strengths.

The solver is L-BFGS with a starting metric made for this loss. Its Hessian is a mean over rows of
(diag(p) - p p^T) (x) x x^T; the mean of the first factor, A, times the mean of the second, the
covariance C, is a close and cheap stand-in. In the eigenbases of A (classes by classes) and of C the
metric A (x) C + l2 I is diagonal; the latest pair gives its scale. Each head has its own step, history
and end; an evaluation serves all that are not done. What a head has learned of its Hessian holds under
another strength, too, less or more of the identity: so a weak penalty starts where a strong one ends.

References: Nocedal and Wright 2006, algorithm 7.4 and equation 7.20 (L-BFGS and its scale); Byrd 1994 (its
loops as triangular systems); Martens and Grosse 2015 (Kronecker factors); Hager and Zhang 2005, section 1
(a line search that rounding does not stop).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]

HISTORY = (10, 40)  # pairs a head: scikit-learn's lbfgs keeps 10; 40 take a third fewer evaluations
HELD = 2**19  # float64 numbers of all heads' moves, beyond which the history is shorter: 4 MB
BLOCK = 2**24  # numbers of histories that are copied at a time, 128 MB: with 1,000 classes a head has 330 MB
SUFFICIENT = 1e-4  # Nocedal and Wright 2006, section 3.1
ROUNDING = 1e-7  # of the loss, below which a step is judged by its slope
CAUTION = 0.5  # of the curvature that the penalty gives a pair at least
FLAT = 1e-8  # curvature between classes below which float32 sums are noise
RESOLUTION = {torch.float32: 1e-7, torch.float64: 0.0}  # nats that are noise in sums over rows


@dataclass(frozen=True)
class State:
    """Where each head is; every field has the heads first.

    Args:
        problem: (heads,), int64, the features that it is fitted on.
        variance: (heads, axes), of these features.
        l2: (heads,), the strengths.
        at: (heads, classes, axes + 1), weights and bias.
        loss: (heads,), the objective.
        gradient: as `at`.
        curvature: (heads, classes, classes).
        direction: as `at`.
        step: (heads,), along the direction, to be tried next.
        moves: (heads, history, classes, axes + 1), the latest first; written over by each step.
        changes: as `moves`, of the gradient.
        gain: (heads,), of the last step or expected of the next, the larger.
        steps: (heads,), evaluations.
    """

    problem: Tensor
    variance: Tensor
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

    def keep(self, heads: Tensor) -> State:
        """Return the heads at a mask, whose history moves up in the memory where it is."""
        moves, changes = (_move_up(history, heads) for history in (self.moves, self.changes))
        return replace(self.forget().take(heads), moves=moves, changes=changes)

    def forget(self) -> State:
        """Return the heads without their history."""
        return replace(self, moves=self.moves[:, :0], changes=self.changes[:, :0])


def start(loss: Loss, variance: Tensor, l2: Tensor, at: Tensor) -> State:
    """Return heads that have not moved yet, one a problem.

    Args:
        loss: the data term: value (heads,), gradient and curvature, at weights and bias of heads of the
            given problems.
        variance: (heads, axes), float64, of the features.
        l2: (heads,), float64.
        at: (heads, classes, axes + 1), float64, where they are.
    """
    problem = torch.arange(len(l2), device=l2.device)
    value, gradient, curvature = _objective(loss, problem, at, l2)
    pairs = min(max(HELD // at.numel(), HISTORY[0]), HISTORY[1])
    shape = len(l2), pairs, *at.shape[1:]
    return State(
        problem=problem,
        variance=variance,
        l2=l2,
        at=at,
        loss=value,
        gradient=gradient,
        curvature=curvature,
        direction=-_apply_metric(gradient, curvature, variance, l2),
        step=torch.ones_like(l2),
        moves=l2.new_zeros(shape),
        changes=l2.new_zeros(shape),
        gain=torch.full_like(l2, torch.inf),
        steps=torch.ones_like(l2, dtype=torch.long),
    )


def change_penalty(s: State, l2: Tensor) -> State:
    """Return the heads where they are, under other strengths, and what they know of their Hessians.

    The penalty is quadratic, so that objective, gradient and history follow without an evaluation.

    Args:
        s: heads.
        l2: (heads,), float64.
    """
    more = l2 - s.l2
    at, moves = _weights(s.at), _weights(s.moves)
    changes = s.changes + more[:, None, None, None] * moves
    gradient = s.gradient + _wide(more) * at
    return replace(
        s,
        l2=l2,
        loss=s.loss + more / 2 * at.square().sum((1, 2)),
        gradient=gradient,
        changes=changes,
        direction=-_inverse_hessian(gradient, s.moves, changes, s.curvature, s.variance, l2),
        step=torch.ones_like(l2),
        gain=torch.full_like(l2, torch.inf),
        steps=torch.zeros_like(s.steps),
    )


def minimise(
    loss: Loss, live: State, tolerance: float, noise: Tensor, max_iter: int, *, last: bool = False
) -> State:
    """Descend until every head has converged, or for `max_iter` evaluations.

    Args:
        loss: as of `start`.
        live: where the heads start; their history is written over.
        tolerance: as of `have_converged`.
        noise: likewise.
        max_iter: evaluations of the objective.
        last: no other penalty comes after it, so that heads which are done forget their history.
    """
    order = torch.arange(len(live.l2), device=live.l2.device)
    ended: list[tuple[Tensor, State]] = []
    for _ in range(max_iter - 1):
        live = _advance(loss, live)
        done = have_converged(live, tolerance, noise)
        if done.any():
            ended.append((order[done], (live.forget() if last else live).take(done)))
            live, order = live.keep(~done), order[~done]
        if not len(order):
            break
    if not ended:
        return live
    ended.append((order, live.forget() if last else live))
    back = torch.cat([heads for heads, _ in ended]).argsort()
    states = [state for _, state in ended]
    return State(*(torch.cat([getattr(s, f.name) for s in states])[back] for f in fields(State)))


def have_converged(s: State, tolerance: float, noise: Tensor) -> Tensor:
    """Tell of each head whether it gains less than a share of its objective, or less than is resolved.

    A share, since a weak penalty that parts all rows leaves 1e-4 nats: a gain of 1e-7 is much of that, and
    where a head stops would depend on where it came from.

    Args:
        s: heads.
        tolerance: the share.
        noise: (problems,), float64, in nats, what sums over the rows of each problem do not resolve.
    """
    return s.gain < torch.maximum(tolerance * s.loss, noise[s.problem])


def _advance(loss: Loss, s: State) -> State:
    """Try each head's step: a head that it serves moves and turns, another will try a shorter one.

    All heads are evaluated together, so each decides for itself by a mask and none by a branch.
    """
    trial = s.at + _wide(s.step) * s.direction  # (heads, classes, axes + 1)
    value, gradient, curvature = _objective(loss, s.problem, trial, s.l2)
    # along the direction, where the step starts and where it ends, (heads,); the first is negative
    slope, slope_there = _dot(s.gradient, s.direction), _dot(gradient, s.direction)
    # Armijo's condition: the loss falls by a share of what the slope promises
    enough = value <= s.loss + SUFFICIENT * s.step * slope
    # near the end the promise is less than float32 sums resolve, and Armijo's condition would fail for
    # ever: there a step counts if the loss is level and the slope says the parabola has fallen
    # (Hager and Zhang's approximate Wolfe condition; it is Armijo's of a quadratic)
    level = (value <= s.loss + ROUNDING * s.loss.abs()) & (slope_there <= (2 * SUFFICIENT - 1) * slope)
    good = enough | level  # (heads,)
    all_good = bool(good.all())

    def move_good(new: Tensor, old: Tensor) -> Tensor:
        """Return the new values of heads whose step was good, and the old ones of the others."""
        if all_good:  # nearly always: no copy
            return new
        return torch.where(good.view(-1, *[1] * (new.ndim - 1)), new, old)

    moves = _push(s.moves, trial - s.at, None if all_good else good)
    changes = _push(s.changes, gradient - s.gradient, None if all_good else good)
    gained = s.loss - value
    gradient, curvature = move_good(gradient, s.gradient), move_good(curvature, s.curvature)
    # a head that stays gets the direction it had: nothing that it depends on has changed
    direction = -_inverse_hessian(gradient, moves, changes, curvature, s.variance, s.l2)
    expected = -_dot(gradient, direction) / 2  # what a full step gains if the model is right: g^T H^-1 g / 2
    # a failed step is cut to the minimum of the parabola through the loss here, its slope and the loss
    # there, as a share of the step; clamped, since far from the optimum the parabola can mislead
    ratio = -s.step * slope / (2 * (value - s.loss - s.step * slope))
    return replace(
        s,
        at=move_good(trial, s.at),
        loss=move_good(value, s.loss),
        gradient=gradient,
        curvature=curvature,
        direction=direction,
        step=move_good(torch.ones_like(s.step), s.step * ratio.nan_to_num(0).clamp(0.1, 0.5)),
        moves=moves,
        changes=changes,
        gain=move_good(torch.maximum(gained, expected), torch.full_like(gained, torch.inf)),
        steps=s.steps + 1,
    )


def _objective(loss: Loss, problem: Tensor, at: Tensor, l2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return loss, gradient and curvature with the penalty; the bias is not penalised."""
    value, gradient, curvature = loss(at, problem)
    weight = at[..., :-1]
    value = value + l2 / 2 * weight.square().sum((1, 2))
    gradient[..., :-1] += _wide(l2) * weight
    return value, gradient - gradient.mean(1, keepdim=True), curvature  # classes' sum is no freedom


def _inverse_hessian(
    gradient: Tensor, moves: Tensor, changes: Tensor, curvature: Tensor, variance: Tensor, l2: Tensor
) -> Tensor:
    """Return L-BFGS's inverse Hessian times the gradient: the two loops as two triangular systems.

    The loops of algorithm 7.4 run over pairs one by one; each solves a triangular system in the products
    s_i y_j (Byrd 1994), which is one call for all heads. A pair whose curvature is noise is left out, as is
    an empty slot of the history: its row and column become those of the identity.
    """
    s, y = moves.flatten(2), changes.flatten(2)  # (heads, history, classes * (axes + 1))
    products = s @ y.transpose(1, 2)  # (heads, history, history), the latest first
    own = products.diagonal(dim1=1, dim2=2)
    lengths = [part[..., :-1].square().sum((2, 3)) for part in moves.split(_heads_at_once(moves))]
    least = CAUTION * l2[:, None] * torch.cat(lengths)  # the penalty's share of `own`; less is noise
    there = own > least
    lower = products.tril() * there[:, :, None] * there[:, None] + torch.diag_embed((~there).to(own))
    alpha = _solve(lower, there * (s @ gradient.flatten(1)[..., None])[..., 0], upper=False)
    q = gradient - (alpha[:, None] @ y).view_as(gradient)
    q, latest = _apply_metric(torch.stack((q, changes[:, 0])), curvature, variance, l2)
    length = _dot(changes[:, 0], latest)
    q = _wide(torch.where(there[:, 0] & (length > 0), own[:, 0] / length, 1.0)) * q
    left = there * (own * alpha - (y @ q.flatten(1)[..., None])[..., 0])
    beta = _solve(lower.transpose(1, 2), left, upper=True)
    turned: Tensor = q + (beta[:, None] @ s).view_as(q)
    return turned


def _push(history: Tensor, latest: Tensor, good: Tensor | None) -> Tensor:
    """Put the latest of each head in front, whereby the oldest falls out; in place, a few heads at a time.

    Args:
        history: (heads, history, classes, axes + 1).
        latest: (heads, classes, axes + 1).
        good: (heads,), bool, of those that get it; none is all.
    """
    size = _heads_at_once(history)
    for at in range(0, len(history), size):
        old = history[at : at + size]
        pushed = torch.cat((latest[at : at + size, None], old[:, :-1]), 1)
        old.copy_(pushed if good is None else torch.where(_wide(good[at : at + size, None]), pushed, old))
    return history


def _move_up(history: Tensor, heads: Tensor) -> Tensor:
    """Return the histories at a mask, (heads,), in place: one after the other from the first place on."""
    kept = heads.nonzero()[:, 0].tolist()
    for place, head in enumerate(kept):
        if place != head:
            history[place].copy_(history[head])
    return history[: len(kept)]


def _heads_at_once(history: Tensor) -> int:
    return max(1, BLOCK // max(1, history[0].numel()))


def _solve(triangle: Tensor, right: Tensor, *, upper: bool) -> Tensor:
    """Solve triangular systems (heads, n, n) for one right side each, (heads, n)."""
    solution: Tensor = torch.linalg.solve_triangular(triangle, right[..., None], upper=upper)
    return solution[..., 0]


def _apply_metric(q: Tensor, curvature: Tensor, variance: Tensor, l2: Tensor) -> Tensor:
    """Return (curvature (x) covariance + l2)^-1 q, (..., heads, classes, axes + 1).

    The bias is a feature of variance 1, unpenalised.
    """
    between, turn = torch.linalg.eigh(curvature)
    between = between.clamp_min(FLAT)[..., None]
    hessian = torch.cat((between * variance[:, None] + _wide(l2), between), 2)
    turned = turn @ (turn.transpose(1, 2) @ q / hessian)
    centred: Tensor = turned - turned.mean(-2, keepdim=True)  # rounding moves all classes alike, without end
    return centred


def _weights(at: Tensor) -> Tensor:
    """Return weights and bias with the bias, which is not penalised, at zero."""
    return F.pad(at[..., :-1], (0, 1))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2))


def _wide(value: Tensor) -> Tensor:
    return value[..., None, None]
