"""SimCLR: an image's two views are each other's class among all other views of the batch.

Paper: Chen, Kornblith, Norouzi, Hinton 2020, "A Simple Framework for Contrastive Learning of
Visual Representations", arXiv:2002.05709. Code followed: none; equation 1 and algorithm 1.

    l(i, j) = -log( exp(s_ij / t) / sum over k != i of exp(s_ik / t) ),   s the cosine similarity
    L       = mean of l(i, twin of i) over the 2N views

Differs from the paper: the temperature is 0.2, and batch norm statistics are of one device's share.
On images up to 64 pixels the views are those of appendix B.9 (half the colour distortion, no blur).
Differs from the authors' code: theirs sums the two halves, so its loss is twice this one; its
projector has a third layer and batch norm after the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import Batch, DatasetInfo, Embeddings, Method, Recipe, View, contrastive_monitors, setting

SMALL = 64  # pixels up to which the paper's CIFAR-10 recipe is used, appendix B.9
ROWS = 512  # of the similarities at a time: 16 MB of a batch of 4,096, all of one of 256


class SimCLR(Method):
    """Contrast two views of an image against the batch (Chen 2020)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(
            0.2,
            "softmax temperature",
            source="solo-learn, CIFAR; B.9: 0.5 is best beyond 300 epochs",
            above=0,
        )
        hidden_dim: int = setting(2048, "projector's hidden width", source="Chen 2020, 2.1", least=1)
        embedding_dim: int = setting(128, "projector's output width", source="Chen 2020, 2.1", least=1)

    reference = "Chen et al. 2020, arXiv:2002.05709"
    recipe = Recipe(
        optimizer="lars",
        lr=0.075,
        lr_scaling="sqrt",
        weight_decay=1e-6,
        source="Chen 2020, B.1: square-root scaling is the better one up to a batch of 1024",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.temperature = config.temperature
        self.projector = nn.Sequential(
            nn.Linear(dim, config.hidden_dim, bias=False),
            nn.BatchNorm1d(config.hidden_dim),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden_dim, config.embedding_dim),
        )

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two views alike: appendix A, or B.9 for small images."""
        if image_size <= SMALL:
            view = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        else:
            view = View(blur=0.5)
        return (view, view)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the projections (n, embedding_dim) of both views, in one forward pass."""
        a, b = self.projector(self.backbone(torch.cat(list(views)))).chunk(2)
        return {"a": a, "b": b}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the contrastive loss of the batch."""
        return {"contrastive": info_nce(embeddings["a"], embeddings["b"], self.temperature)}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how well the views of an image find each other."""
        return contrastive_monitors(embeddings["a"], embeddings["b"])


def info_nce(a: Tensor, b: Tensor, temperature: float, rows: int = ROWS) -> Tensor:
    """Return L, with `rows` of the 2n rows of similarities there at a time.

    Args:
        a: (n, d), first views.
        b: (n, d), second views.
        temperature: divides the cosine similarities.
        rows: at least 1; changes memory and time only.
    """
    z = F.normalize(torch.cat([a, b]), dim=1) * temperature**-0.5  # of which products are logits
    loss: Tensor = TwinLoss.apply(z, rows)
    return loss


class TwinLoss(torch.autograd.Function):
    """The mean of l(i, twin of i) over the rows of z (2n, d), whose products are the logits.

    Its gradient, sum over k of (q_ik + q_ki) z_k / 2n with q_i the softmax of row i less 1 at the twin,
    is known as soon as a row of products is. So it is added up on the way: (2n, 2n) numbers are never
    there at once, and none is made twice.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, rows: int) -> Tensor:
        """Return the mean, and keep the gradient (2n, d) if it will be asked for."""
        twin = torch.arange(len(z), device=z.device).roll(len(z) // 2).unsqueeze(1)
        gradient = torch.zeros_like(z) if ctx.needs_input_grad[0] else None
        losses = []
        for start in range(0, len(z), rows):
            here = slice(start, start + rows)
            q = z[here] @ z.T  # (rows, 2n)
            q.diagonal(start).fill_(-torch.inf)
            most, own = q.amax(dim=1, keepdim=True), q.gather(1, twin[here])
            total = q.sub_(most).exp_().sum(dim=1, keepdim=True)
            losses.append(most - own + total.log())
            if gradient is not None:
                q.div_(total).scatter_add_(1, twin[here], torch.full_like(own, -1.0))
                gradient[here].addmm_(q, z)
                gradient.addmm_(q.T, z[here])
        if gradient is not None:
            ctx.save_for_backward(gradient.div_(len(z)))
        return torch.cat(losses).mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of z, and none of `rows`."""
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None
