"""MoCo v2: a view finds its image's key, of a momentum network, among a queue of earlier images' keys.

Paper: He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning",
arXiv:1911.05722; Chen et al. 2020, "Improved Baselines with Momentum Contrastive Learning",
arXiv:2003.04297. Code followed: facebookresearch/moco moco/builder.py and colab/moco_cifar10_demo.ipynb.

    q = n(f(x)), k = n(f'(x')), n_j the rows of the queue: the newest K keys, f' the momentum network
    L = mean of - log( exp(q.k / T) / (exp(q.k / T) + sum over j of exp(q.n_j / T)) )
    w' <- m w' + (1 - m) w after each step; the k of the batch then replace the oldest n_j

With `hard_negatives`, it is SynCo (Giakoumoglou, Stathaki 2024, arXiv:2410.02401; giakoumoglou/synco
synco/builder.py): negatives of six kinds, `synthetic`, are made of the rows that a query is nearest to.

Differs from the paper: temperature, m, K and the head of one layer are those of the authors' CIFAR demo (0.2,
0.999, 65,536 and a hidden layer of 2048 on ImageNet). On images up to 64 pixels there is no blur, crops keep
8 % of the area and more, and the weight decay is 5e-4, as there. Batch norm's statistics are of `share_size`
images: on one device, those of all would tell the network which key belongs to a query (ShuffleBN; without
it the demo loses 4 % at 800 epochs).
Differs from the authors' code: neither biases nor norms decay; K need not be a multiple of the batch;
shares are taken in order, and each moves the running statistics. As there, residual branches start on.
Differs from SynCo's code: the queue's rows have length 1 from the start (there its columns); counts of
types 4 and 5 switch their own off (there each other's); more may be made than there are nearest rows.

Traps: keys go into the queue after the loss, or an image is its own negative; the first K / batch steps
contrast with noise; without a momentum near 1 it fails; branches that start off are hardly on after hundreds
of steps at this rate, and the features far worse than those of random weights; made negatives take no
gradient, and a run of `synthetic_epoch` epochs makes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.api import (
    BackboneInfo,
    BadValue,
    Batch,
    DatasetInfo,
    Embeddings,
    FeatureQueue,
    Method,
    MomentumEncoder,
    Recipe,
    Step,
    View,
    contrastive_monitors,
    in_shares,
    info_nce,
    projector,
    setting,
    switch_on_branches,
    synthetic_negatives,
)

SMALL = 64  # pixels up to which the authors' CIFAR demo is followed
DEMO = "facebookresearch/moco colab/moco_cifar10_demo.ipynb"
SYNCO = "giakoumoglou/synco synco/builder.py"


class MoCoV2(Method):
    """Find an image's key among a queue of earlier ones (He 2020, Chen 2020)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        temperature: float = setting(0.1, "softmax temperature", source=f"{DEMO}; Chen 2020, 3: 0.2", above=0)
        momentum: float = setting(
            0.99, "of the key network, constant", source=f"{DEMO}; He 2020, 4: 0.999", least=0, most=1
        )
        queue_size: int = setting(4096, "keys in the queue", source=f"{DEMO}; He 2020, 4: 65536", least=1)
        symmetric: bool = setting(default=False, doc="each view is query and key once", source=DEMO)
        share_size: int = setting(
            64,
            "images with batch statistics of their own, keys in another order; 0: the batch",
            source=f"{DEMO}: 512 images in 8; He 2020, 3.3 and 4: 256 in 8",
            least=0,
        )
        hidden_dim: int = setting(
            0, "projector's hidden width; 0: one layer", source=f"{DEMO}; Chen 2020, 3: 2048", least=0
        )
        embedding_dim: int = setting(128, "projector's output width", source="He 2020, 3.3", least=1)
        hard_negatives: int = setting(
            0, "nearest rows that negatives are made of; 0: none", source=f"{SYNCO}: 1024", least=0
        )
        synthetic: tuple[int, int, int, int, int, int] = setting(
            (256, 256, 256, 64, 64, 64), "how many negatives of types 1 to 6", source=SYNCO, least=0
        )
        synthetic_epoch: int = setting(10, "epochs before negatives are made", source=SYNCO, least=0)
        synthetic_step: float = setting(0.01, "how far types 4 to 6 go", source=SYNCO, least=0)

    reference = "He et al. 2020, arXiv:1911.05722; Chen et al. 2020, arXiv:2003.04297"
    version = 2
    recipe = Recipe(
        optimizer="sgd",
        lr=0.03,
        lr_scaling="linear",
        weight_decay=1e-4,
        warmup_epochs=0,
        source="He 2020, 4, with the cosine of Chen 2020, 3",
    )

    def __init__(self, backbone: nn.Module, dim: int, config: Config, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.config = config
        switch_on_branches(backbone)
        layers = 2 if config.hidden_dim else 1
        self.projector = projector(dim, config.hidden_dim, config.embedding_dim, layers=layers, norm=False)
        self.target = MomentumEncoder(self._online())
        self.queue = FeatureQueue(config.queue_size, config.embedding_dim)

    def _online(self) -> nn.Sequential:
        """Return the part of the network that the target follows."""
        return nn.Sequential(self.backbone, self.projector)

    @classmethod
    def views(cls, config: Any, data: DatasetInfo, image_size: int) -> tuple[View, ...]:
        """Return two views alike: those of Chen 2020, 3, or of the demo for small images."""
        view = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        if image_size > SMALL:
            view = replace(view, crop_min=0.2, blur=0.5)
        return (view, view)

    @classmethod
    def recipe_for(cls, config: Any, data: DatasetInfo, image_size: int) -> Recipe:
        """Return the paper's recipe, or the demo's for small images."""
        return cls.recipe if image_size > SMALL else replace(cls.recipe, weight_decay=5e-4, source=DEMO)

    @classmethod
    def check(cls, config: Any, backbone: BackboneInfo, data: DatasetInfo, image_size: int) -> None:
        """Refuse to make negatives of more rows than the queue has."""
        if config.hard_negatives > config.queue_size:
            raise BadValue(
                f"mocov2.hard_negatives: the {config.hard_negatives} nearest of a queue of "
                f"{config.queue_size} are asked for. Set it to at most {config.queue_size}."
            )

    def draw(self, count: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Return `order`, (count,), in which keys are dealt out to shares."""
        return {"order": torch.rand(count, generator=generator)}

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        """Return `a`, the first view's queries, and `key_b`, the second's keys; if symmetric `b`, `key_a`."""
        size, order, online = self.config.share_size, batch.draws.get("order"), self._online()
        embeddings = {
            "a": in_shares(online, views[0], size),
            "key_b": in_shares(self.target, views[1], size, order),
        }
        if self.config.symmetric:
            embeddings["b"] = in_shares(online, views[1], size)
            embeddings["key_a"] = in_shares(self.target, views[0], size, order)
        return embeddings

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return the contrastive loss against the queue, the sum of both directions if symmetric."""
        loss = self._contrast(embeddings["a"], embeddings["key_b"], batch.step)
        if self.config.symmetric:
            loss = loss + self._contrast(embeddings["b"], embeddings["key_a"], batch.step)
        return {"contrastive": loss}

    def _contrast(self, queries: Tensor, keys: Tensor, step: Step) -> Tensor:
        """Return the loss of queries whose keys are given, both (n, embedding_dim)."""
        c, rows, made = self.config, self.queue.rows, None
        if c.hard_negatives and step.epoch >= c.synthetic_epoch:
            steps = (c.synthetic_step,) * 3
            made = synthetic_negatives(queries, rows, c.hard_negatives, c.synthetic, *steps)
        return info_nce(queries, keys, c.temperature, rows, own=made)

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        """Put the keys into the queue, of both views if symmetric."""
        for name in ("key_a", "key_b"):
            if name in embeddings:
                self.queue.enqueue(embeddings[name])

    def after_step(self, step: Step) -> None:
        """Move the key network towards the network."""
        self.target.update(self._online(), self.config.momentum)

    def monitors(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return how many queries are nearer to their key than to any of the queue, in percent.

        And how well an image's query and key find each other in the batch, which they do not before the
        two networks have come close.
        """
        q, k = (F.normalize(embeddings[name], dim=1) for name in ("a", "key_b"))
        found = (q * k).sum(dim=1) > (q @ self.queue.rows.T).amax(dim=1)
        return {"queue_top1": 100 * found.float().mean(), **contrastive_monitors(q, k)}
