"""Prototypes that images are assigned to, how they are assigned evenly, and the centre of a teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BadValue


class Prototypes(nn.Module):
    """Unit vectors that are trained; an embedding's scores are its cosines with them.

    Unlike in DINO's head, where the length is divided out in the graph, gradient steps move the rows off
    the unit sphere and `normalise_` puts them back: in `before_step`. They have unit length from the start.

    Args:
        dim: of an embedding.
        count: prototypes.

    Source: Caron 2020 (SwAV), arXiv:2006.09882, appendix A; facebookresearch/swav main_swav.py.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(dim, count, bias=False).weight.detach())
        self.normalise_()

    @torch.no_grad()
    def normalise_(self) -> None:
        """Give every prototype length 1 again. Not between a forward pass and its backward pass."""
        self.weight.copy_(F.normalize(self.weight, dim=1))

    def forward(self, z: Tensor) -> Tensor:
        """Return the scores (..., count) of embeddings (..., dim) of any length."""
        return F.linear(F.normalize(z, dim=-1), self.weight)


@torch.no_grad()
def sinkhorn(scores: Tensor, *, epsilon: float, iterations: int = 3) -> Tensor:
    """Return the codes: how much of each image goes to each prototype, with all prototypes used alike.

        Q = exp(scores / epsilon), then in turn: columns to n / count, rows to 1

    It is done on logarithms. exp(scores / epsilon) itself has nothing left of a prototype, and then
    divides 0 by 0, as soon as cosines differ by 87 epsilon in float32.

    Args:
        scores: (n, count), cosines; those of a queue may stand before the batch's, and are cut off after.
        epsilon: softness, above 0; 0.05 in SwAV, 0.03 where that collapses.
        iterations: at least 1.

    Returns:
        (n, count), float32 at least, without gradient; rows sum to 1, columns roughly to n / count.

    Raises:
        BadValue: epsilon or iterations is out of range.

    Source: Caron 2020 (SwAV), arXiv:2006.09882, listing in appendix A; Cuturi 2013, arXiv:1306.0895.
    """
    if epsilon <= 0 or iterations < 1:
        raise BadValue(
            f"sinkhorn: epsilon is {epsilon} and iterations {iterations}. "
            "Set epsilon above 0 and at least one iteration."
        )
    log_q = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    for _ in range(iterations):
        log_q -= log_q.logsumexp(dim=0, keepdim=True)
        log_q -= log_q.logsumexp(dim=1, keepdim=True)
    return log_q.exp_()


class Centre(nn.Module):
    """The running mean of a teacher's logits, that is taken off them so that no prototype takes all.

    Args:
        dim: of the logits.
        momentum: of the mean; 0 is the last batch's.

    Attributes:
        value: (dim,), 0 at first.

    Raises:
        BadValue: momentum is not in [0, 1].

    Source: Caron 2021 (DINO), arXiv:2104.14294, equation 4; facebookresearch/dino main_dino.py.
    """

    value: Tensor

    def __init__(self, dim: int, momentum: float = 0.9) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise BadValue(f"centre: momentum is {momentum}. Set a number in [0, 1].")
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(dim))

    def forward(self, logits: Tensor) -> Tensor:
        """Return logits (..., dim) without the centre."""
        return logits - self.value

    @torch.no_grad()
    def update(self, batch_outputs: Tensor) -> None:
        """Move towards the mean of a batch; in `after_batch`, for its loss is centred with what came before.

        Args:
            batch_outputs: (..., dim), the teacher's logits, as they are: neither centred nor divided by a
                temperature. Of iBOT's patches all, masked or not.
        """
        mean = batch_outputs.detach().flatten(0, -2).mean(dim=0).to(self.value)
        self.value.lerp_(mean, 1 - self.momentum)

    def extra_repr(self) -> str:
        """Return what it is made with."""
        return f"dim={len(self.value)}, momentum={self.momentum}"
