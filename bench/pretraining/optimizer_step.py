"""What a step does to the groups and the gradients of an optimiser before it is taken."""

# ruff: noqa: SLF001  torch._foreach_* is how torch's own optimisers step hundreds of small tensors

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from bench.contracts.method import Step
from bench.contracts.recipe import CLIP_SCOPES, Training
from bench.errors import BadValue, suggest
from bench.nn.schedules import cosine_schedule
from bench.pretraining.schedules import lr_factor


def begin_step(optimizer: torch.optim.Optimizer, training: Training, step: Step) -> float:
    """Give every group its learning rate and weight decay of a step; return the main learning rate.

    Args:
        optimizer: of `build_optimizer`.
        training: that it was built for.
        step: where the training is.
    """
    warmup = training.warmup_epochs * (step.total // step.epochs)
    lr = training.lr * lr_factor(step.number, step.total, warmup, training.min_lr / training.lr)
    decay = training.weight_decay
    if training.weight_decay_end is not None:
        decay = cosine_schedule(decay, training.weight_decay_end, step.progress)
    for group in optimizer.param_groups:
        group["lr"] = (training.lr if group["constant_lr"] else lr) * group["lr_factor"]
        if group["scheduled_decay"]:
            group["weight_decay"] = decay
    return lr


def finish_gradients(
    optimizer: torch.optim.Optimizer, training: Training, step: Step, scaler: torch.amp.GradScaler
) -> None:
    """Drop the gradients of what is frozen at a step, and clip the others.

    Args:
        optimizer: of `build_optimizer`; the backward passes of the step are done.
        training: that it was built for.
        step: where the training is.
        scaler: of the gradients, which are unscaled before they are clipped.
    """
    for group in optimizer.param_groups:
        if step.epoch < group["freeze_epochs"]:
            for param in group["params"]:
                param.grad = None  # torch's optimisers and LARS then neither step nor decay
    if training.clip_norm is not None:
        scaler.unscale_(optimizer)
        clip_gradients(_params_with_gradient(optimizer), training.clip_norm, training.clip_scope)


def _params_with_gradient(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from (param for param in group["params"] if param.grad is not None)


@torch.no_grad()
def clip_gradients(params: Iterable[Tensor], most: float, scope: str) -> None:
    """Scale gradients so that no norm is above `most`, without waiting for the device.

    Args:
        params: with gradients.
        most: the largest norm, above 0.
        scope: `all` is the norm over all parameters, `parameter` that of each by itself.

    Raises:
        BadValue: there is no such scope.

    Source: Pascanu 2013; `parameter`: facebookresearch/dino utils.py clip_gradients.
    """
    if scope not in CLIP_SCOPES:
        raise BadValue(f"clip_scope: {scope!r} is unknown.{suggest(scope, CLIP_SCOPES)}")
    params = list(params)
    if scope == "all":
        nn.utils.clip_grad_norm_(params, most, error_if_nonfinite=False)
        return
    grads = [param.grad for param in params if param.grad is not None]
    if grads:
        norms = torch.stack(torch._foreach_norm(grads))
        factors = (most / (norms + 1e-6)).clamp(max=1.0)  # 1e-6 is DINO's, and torch's
        torch._foreach_mul_(grads, list(factors.unbind()))
