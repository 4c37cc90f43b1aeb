"""Optimisers, their parameter groups, and the learning rate of a step."""

# ruff: noqa: SLF001  torch._foreach_* is how torch's own optimisers step hundreds of small tensors

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bench.recipe import Training

LARS_TRUST = 0.001  # eta of You 2017, and of the SimCLR and VICReg code


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling with momentum.

        g <- g + weight_decay * w
        q <- trust * |w| / |g|, 1 where either norm is 0; 1 in groups with adapt=False
        v <- momentum * v + lr * q * g
        w <- w - v

    Source: You 2017 (arXiv:1708.03888), in the form of google-research/simclr
    lars_optimizer.py with classic momentum: the learning rate is inside the buffer.

    Args:
        params: parameters or groups; a group's `adapt` switches the trust ratio.
        lr: learning rate.
        momentum: in [0, 1).
        weight_decay: of groups that do not say their own. Groups adapt whether or not it is 0.
        trust: the trust coefficient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = LARS_TRUST,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "trust": trust, "adapt": True})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; `closure` is not supported."""
        if closure is not None:
            raise ValueError("LARS: a closure was given. Compute the gradients before step().")
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step(group, params)

    def _step(self, group: dict[str, Any], params: list[Tensor]) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
        for p in params:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum_buffer"] for p in params]
        torch._foreach_mul_(buffers, group["momentum"])
        if group["adapt"]:
            rates = _trust_ratios(params, grads, group["trust"])
            torch._foreach_mul_(rates, group["lr"])
            torch._foreach_add_(buffers, torch._foreach_mul(grads, rates))
        else:
            torch._foreach_add_(buffers, grads, alpha=group["lr"])
        torch._foreach_sub_(params, buffers)


def _trust_ratios(params: list[Tensor], grads: list[Tensor], trust: float) -> list[Tensor]:
    """Return trust * |w| / |g| a tensor, and 1 where either is 0, without leaving the device."""
    sizes, steps = torch._foreach_norm(params), torch._foreach_norm(grads)
    one = torch.ones_like(sizes[0])
    pairs = zip(sizes, steps, strict=True)
    return [torch.where((w > 0) & (g > 0), trust * w / g.clamp(min=1e-30), one) for w, g in pairs]


def build_optimizer(method: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Return the optimiser of a training, with norms and biases in a group of their own.

    Parameters of one dimension (biases and norms, by `ndim`, whatever they are called) get no
    weight decay and no trust ratio.
    """
    trained = [p for p in method.parameters() if p.requires_grad]
    weights = [p for p in trained if p.ndim > 1]
    rest = [p for p in trained if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": training.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    if training.optimizer == "lars":
        groups[1]["adapt"] = False
        return LARS(groups, lr=training.lr, momentum=training.momentum)
    if training.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=training.lr)
    return torch.optim.SGD(groups, lr=training.lr, momentum=training.momentum)


def lr_factor(step: int, steps: int, warmup: float) -> float:
    """Return what the learning rate of `step` is multiplied by: linear warm-up, then half a cosine.

    Args:
        step: counted from 0.
        steps: of the whole run.
        warmup: steps until the full learning rate; may be fractional.

    Source: Chen 2020 (SimCLR), section 2.1; the cosine ends at 0 and does not restart.
    """
    if step + 1 < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * max(0.0, step - warmup) / max(1.0, steps - warmup)))


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr
