"""Batch norm whose batch is that of all ranks: in any precision, on any device, with any number of rows each.

    mean = sum_r n_r mean_r / n        var = sum_r (S_r + n_r (mean_r - mean)^2) / n

where rank r has n_r values a channel, of which S_r is the sum of the squared distances from its mean_r. Both
are of what every rank has told all others, added up in their order: so they are alike on all to the bit.

Source: Ioffe 2015, arXiv:1502.03167, algorithm 1; Chan 1979 for the parallel sum of squares. torch's
SyncBatchNorm does the same for GPUs alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.system.ranks import Ranks


def synchronised_norm(
    ranks: Ranks,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """Return what `torch.nn.functional.batch_norm` in training makes of the rows of all ranks, for one's own.

    Args:
        ranks: all call this alike.
        x: (n, channels, ...); n may differ between ranks and be 0.
        running_mean: (channels,), moved in place; or none.
        running_var: as `running_mean`.
        weight: (channels,), or none.
        bias: (channels,), or none.
        momentum: of the running statistics; 1 is the batch's.
        eps: added to the variance.
    """
    y, mean, var, count = _Normalise.apply(x, weight, bias, eps, ranks)
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean), momentum)
        if running_var is not None:
            running_var.lerp_((var * (count / (count - 1))).to(running_var), momentum)
    result: Tensor = y
    return result


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, ranks: Ranks
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, var, count = _measure(exact, ranks)
        scale = (var + eps).rsqrt()
        normal = (exact - _a_channel(mean, x)) * _a_channel(scale, x)
        ctx.save_for_backward(normal, scale, weight, count)
        ctx.ranks, ctx.dtype = ranks, x.dtype
        y = normal if weight is None else normal * _a_channel(weight.to(exact.dtype), x)
        y = y if bias is None else y + _a_channel(bias.to(exact.dtype), x)
        ctx.mark_non_differentiable(mean, var, count)
        return (y.clone() if y is normal else y).to(x.dtype), mean, var, count

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        normal, scale, weight, count = ctx.saved_tensors
        grad = grad.to(normal.dtype)
        over = _all_but_channels(normal)
        own = torch.stack([grad.sum(over), (grad * normal).sum(over)])
        sums = ctx.ranks.stack(own).sum(dim=0) / count  # before the weight, which is one's own a channel
        by_x = grad - _a_channel(sums[0], grad) - normal * _a_channel(sums[1], grad)
        factor = scale if weight is None else scale * weight.to(scale.dtype)
        by_x = (by_x * _a_channel(factor, grad)).to(ctx.dtype)
        by_weight = None if weight is None else own[1].to(weight.dtype)
        return by_x, by_weight, own[0] if ctx.needs_input_grad[2] else None, None, None


def _measure(x: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean (channels,), the variance, divided by n, and n, of what all ranks have."""
    own = x.numel() // x.shape[1]
    if own:
        var, mean = torch.var_mean(x, _all_but_channels(x), correction=0)
    else:
        var = mean = x.new_zeros(x.shape[1])
    told = ranks.stack(torch.cat([mean, var * own, mean.new_full((1,), own)]))
    means, squares, counts = told[:, : len(mean)], told[:, len(mean) : -1], told[:, -1:]
    count = counts.sum()
    mean = (counts * means).sum(dim=0) / count
    return mean, (squares + counts * (means - mean).square()).sum(dim=0) / count, count


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


def _a_channel(values: Tensor, like: Tensor) -> Tensor:
    """Return values (channels,) in a shape that goes with (n, channels, ...)."""
    return values.view(-1, *[1] * (like.ndim - 2))
