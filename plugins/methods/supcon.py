"""SupCon: the views of all images of a class are each other's positives among all views of the batch.

Paper: Khosla et al. 2020, "Supervised Contrastive Learning", arXiv:2004.11362. Code followed:
HobbitLong/SupContrast losses.py and main_supcon.py.

    s_ij the cosine of views i and j;   P(i) the other views with the class of i, its twin among them
    L_i = mean over p in P(i) of - log( exp(s_ip / T) / sum over k != i of exp(s_ik / T) )
    L   = mean of L_i over the 2N views: L_out, equation 2, whose sum over positives is outside the logarithm

It looks at labels: like `supervised`, it is trained on the labelled images alone, at each label fraction.

Differs from the paper: the mean over views where equation 2 sums. Views of larger images are SimCLR's
(AutoAugment in the paper), and the optimiser is that of the authors' CIFAR code for all sizes.
Differs from the authors' code: its loss is T / 0.07 times this one (`base_temperature`), 1 / 0.7 times at
its temperature for CIFAR: so the learning rate is 1 / 0.7 times its own and the weight decay 0.7 times, which
is the same training. Neither biases nor norms decay; the learning rate grows in proportion to the batch.

Traps: with the sum inside the logarithm it is L_in, or what solo-learn calls SupCon, and another loss; a view
without positives (there is none with two views of each image) counts as 0, where 0 / 0 would be no number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import (
    Batch,
    DatasetInfo,
    Embeddings,
    Method,
    Recipe,
    View,
    contrastive_monitors,
    projector,
    setting,
    switch_on_branches,
)

SMALL = 64  # pixels up to which views are those of the authors' CIFAR code
BASE = 0.07 / 0.1  # what our loss is of theirs at their temperature


class SupCon(Method):
    """Pull the views of a class together among the batch (Khosla 2020)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(
            0.1, "softmax temperature", source="Khosla 2020, 4; HobbitLong/SupContrast README", above=0
        )
        hidden_dim: int = setting(2048, "projector's hidden width", source="Khosla 2020, 3.1", least=1)
        embedding_dim: int = setting(128, "projector's output width", source="Khosla 2020, 3.1", least=1)

    reference = "Khosla et al. 2020, arXiv:2004.11362"
    version = 2
    uses_labels = True
    recipe = Recipe(
        optimizer="sgd",
        lr=0.125 / BASE,
        lr_scaling="linear",
        weight_decay=1e-4 * BASE,
        min_lr=0.125e-3 / BASE,
        source="HobbitLong/SupContrast README, util.py: 0.5 at a batch of 1,024, of a loss 1 / 0.7 of ours",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        switch_on_branches(backbone)
        self.temperature = config.temperature
        self.projector = projector(dim, config.hidden_dim, config.embedding_dim, norm=False)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two views alike: SimCLR's, or those of the authors' CIFAR code."""
        if image_size > SMALL:
            return (View(blur=0.5), View(blur=0.5))
        view = View(crop_min=0.2, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        return (view, view)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a` and `b`, the projections (n, embedding_dim) of both views, in one forward pass."""
        a, b = self.projector(self.backbone(torch.cat(list(views)))).chunk(2)
        return {"a": a, "b": b}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the contrastive loss of the batch and its labels."""
        z, labels = torch.cat([embeddings["a"], embeddings["b"]]), batch.labels.repeat(2)
        return {"contrastive": supervised_contrast(z, labels, self.temperature)}

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how many views have their class nearest, in percent, and how well twins find each other."""
        z = F.normalize(torch.cat([embeddings["a"], embeddings["b"]]), dim=1)
        nearest, labels = (z @ z.T).fill_diagonal_(-torch.inf).argmax(dim=1), batch.labels.repeat(2)
        same_class = 100 * (labels[nearest] == labels).float().mean()
        return {"nearest_same_class": same_class, **contrastive_monitors(embeddings["a"], embeddings["b"])}


def supervised_contrast(z: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the mean over rows of L_out: every other row with a row's label is a positive of it.

    Args:
        z: (m, d), views, of any length.
        labels: (m,), int64.
        temperature: divides the cosine similarities.

    Source: Khosla 2020 (SupCon), arXiv:2004.11362, equation 2; HobbitLong/SupContrast losses.py, with
    `base_temperature` that of the loss.
    """
    z = F.normalize(z, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    log_p = F.log_softmax((z @ z.T / temperature).masked_fill(itself, -torch.inf), dim=1)
    positive = (labels.unsqueeze(1) == labels) & ~itself
    sums = log_p.masked_fill(~positive, 0).sum(dim=1)
    return -(sums / positive.sum(dim=1).clamp(min=1)).mean()
