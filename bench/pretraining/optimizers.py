"""The optimisers a training may have."""

# ruff: noqa: SLF001  torch._foreach_* is how torch's own optimisers step hundreds of small tensors

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bench.contracts.recipe import OPTIMIZERS, TRUST, Training
from bench.errors import BadValue, suggest
from bench.pretraining.parameter_groups import build_groups

FUSED = {"adamw": ("cuda", "cpu"), "sgd": ("cuda",)}  # where torch's fused optimiser is the faster one


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling with momentum.

        g <- g + weight_decay * w
        q <- trust * |w| / |g|, 1 where either norm is 0; 1 in groups with adapt=False
        v <- momentum * v + r * g,   r = lr * q;  with clip_trust r = min(q, lr), and lr where a norm is 0
        w <- w - v

    Source: You 2017 (arXiv:1708.03888), in the form of google-research/simclr
    lars_optimizer.py with classic momentum: the learning rate is inside the buffer. With clip_trust that of
    NVIDIA's LARC and of solo-learn's utils/lars.py, where the rate is a limit and no factor: nothing moves
    further than by SGD, and a layer no more than `trust` of its length. (solo-learn has the rate outside of
    the buffer, and |g| + weight_decay |w| for the norm of their sum.)

    Args:
        params: parameters or groups; a group's `adapt` switches the trust ratio.
        lr: learning rate.
        momentum: in [0, 1).
        weight_decay: of groups that do not say their own. Groups adapt whether or not it is 0.
        trust: the trust coefficient.
        clip_trust: no step is longer than SGD's.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = TRUST,
        *,
        clip_trust: bool = False,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "trust": trust, "clip_trust": clip_trust, "adapt": True})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; `closure` is not supported."""
        if closure is not None:
            raise ValueError("LARS: a closure was given. Compute the gradients before step().")
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for together in _split_for_device(params):
                self._step(group, together)

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
            rates = _layer_rates(params, grads, group)
            torch._foreach_addcmul_(buffers, grads, rates.unbind())
        else:
            torch._foreach_add_(buffers, grads, alpha=group["lr"])
        torch._foreach_sub_(params, buffers)


def _split_for_device(params: list[Tensor]) -> list[list[Tensor]]:
    """Return which parameters take their step together: all on a GPU, one at a time on a CPU.

    A GPU then starts one kernel for many small tensors. A CPU goes over each tensor several times, and
    finds it in its cache if no other came between.
    """
    if not params or params[0].device.type != "cpu":
        return [params] if params else []
    return [[p] for p in params]


def _layer_rates(params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> Tensor:
    """Return (len(params),), the rate of each, without leaving the device."""
    lr, trust = group["lr"], group["trust"]
    w, g = torch.stack(torch._foreach_norm(params)), torch.stack(torch._foreach_norm(grads))
    ratios = trust * w / g.clamp(min=1e-30)
    rates = ratios.clamp(max=lr) if group["clip_trust"] else ratios * lr
    return torch.where((w > 0) & (g > 0), rates, lr)


def build_optimizer(method: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Return the optimiser of a training, over every parameter of the method.

    Parameters of one dimension (biases and norms, by `ndim`, whatever they are called) get no
    weight decay and no trust ratio. A parameter that is frozen now and thawed later is trained then:
    those without a gradient are left alone at each step.

    Args:
        method: whose parameters are trained; with `layer_decay` it has a `backbone`.
        training: resolved.

    Raises:
        BadValue: a pattern of `training.groups` has no parameter, or the layers of the backbone that
            `training.layer_decay` needs are not known.
    """
    params = [p for p in method.parameters() if p.is_floating_point()]
    groups = build_groups(method, training)
    if training.optimizer == "lars":
        settings: dict[str, Any] = {"trust": training.trust, "clip_trust": training.clip_trust}
        return LARS(groups, lr=training.lr, momentum=training.momentum, **settings)
    for group in groups:
        del group["adapt"]
    if training.optimizer == "adamw":
        fused = _choose_fused("adamw", training.precision, {p.device.type for p in params})
        return torch.optim.AdamW(groups, lr=training.lr, betas=training.betas, fused=fused)
    if training.optimizer != "sgd":
        raise BadValue(
            f"training.optimizer: {training.optimizer!r} is unknown.{suggest(training.optimizer, OPTIMIZERS)}"
        )
    return torch.optim.SGD(
        groups,
        lr=training.lr,
        momentum=training.momentum,
        nesterov=training.nesterov,
        fused=_choose_fused("sgd", training.precision, {p.device.type for p in params}),
    )


def _choose_fused(optimizer: str, precision: str, devices: set[str]) -> bool | None:
    """Return whether torch takes the step in one pass over memory; None leaves the choice to torch.

    Measured on resnet18 on a CPU: AdamW takes half the time then, SGD a third more.

    Not SGD in float16: its momentum is uninitialised memory until a step is taken, and the scaler skips the
    first where its scale is too large, which is how it finds its scale. The next step then moves by what was
    in that memory (torch/optim/sgd.py, `empty_like`). AdamW's moments are zeros.
    """
    if optimizer == "sgd" and precision == "float16":
        return False
    return True if devices <= set(FUSED[optimizer]) else None
