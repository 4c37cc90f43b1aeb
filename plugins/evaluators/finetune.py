"""Fine-tune the whole network, backbone and a new linear classifier, on the labelled images.

SimCLR, https://arxiv.org/abs/2002.05709, appendix B.5: SGD with Nesterov momentum 0.9, batch norm in
training mode, no weight decay, no warm-up, crops and flips. Code followed: none. The backbone and the
classifier have learning rates of their own, as in VICReg, https://arxiv.org/abs/2105.04906, appendix C.2.

Each training starts from a fresh copy of the backbone. Every pair of learning rates is trained on the
first fold; the one that is best on its held-out rows after the last epoch is trained again on all
labelled rows, and the test images are predicted once.

Differs from the paper: both learning rates are chosen, and fall along half a cosine; 30 epochs for
every share of the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.api import (
    BadValue,
    Evaluator,
    Network,
    Scores,
    Task,
    describe_choice,
    describe_no_choice,
    is_at_edge,
    pick_best,
    refuse_not_finite,
    refuse_too_few,
    require_finite,
    score_logits,
    seed_of,
    setting,
    to_device,
)

from .fitting.sgd import cosine, crop_and_flip, draw_views, shuffle_rows


class Rates(NamedTuple):
    """The learning rates of a training, before * batch_size / 256."""

    lr_backbone: float
    lr_head: float


class Finetune(Evaluator):
    """The whole network trained on labels, with the learning rates chosen on held-out training rows."""

    reference: ClassVar[str] = "Chen 2020, B.5, https://arxiv.org/abs/2002.05709"
    needs: ClassVar[Literal["features", "backbone"]] = "backbone"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What changes the training."""

        epochs: int = setting(30, "passes over the rows", source="SimCLR, appendix B.5, 10 %", least=1)
        batch_size: int = setting(256, "images a step", source="VICReg, appendix C.2", least=2)
        lr_backbone_grid: tuple[float, ...] = setting(
            (0.01, 0.05),
            "learning rates of the backbone tried, before * batch_size / 256",
            source="VICReg C.2 and SwAV 0.01, SimCLR B.5 0.05",
            above=0,
        )
        lr_head_grid: tuple[float, ...] = setting(
            (0.1, 1.0),
            "as lr_backbone_grid, of the classifier",
            source="VICReg C.2 0.1, SwAV 0.2; 1.0 is our choice",
            above=0,
        )
        default_lr_backbone: float = setting(
            0.03,
            "learning rate where there are several and nothing to choose on",
            source="VICReg, appendix C.2, 1 %",
            above=0,
        )
        default_lr_head: float = setting(
            0.08, "as default_lr_backbone, of the classifier", source="VICReg, appendix C.2, 1 %", above=0
        )
        weight_decay: float = setting(0.0, "of all parameters", source="SimCLR, appendix B.5", least=0)
        momentum: float = setting(0.9, "Nesterov's", source="SimCLR, appendix B.5", above=0, most=0.9999)
        crop_min: float = setting(
            0.08,
            "smallest share of the area a crop keeps",
            source="SimCLR, appendix A",
            above=0,
            most=1,
        )
        precision: str = setting(
            "float32", "of the backbone's arithmetic in training", choices=("float32", "bfloat16")
        )

    config: Config

    @classmethod
    def excerpt(cls, config: Any, sample: Mapping[str, int], whole: Mapping[str, int]) -> tuple[Any, float]:
        """Return a config of one epoch: nearly all of the time goes into passes over labelled rows."""
        return replace(config, epochs=1), config.epochs * whole["train"] / sample["train"]

    def check(self, labelled: int, classes: int) -> None:
        """Refuse an empty grid, a single class and an empty training set."""
        for name in ("lr_backbone_grid", "lr_head_grid"):
            if not getattr(self.config, name):
                raise BadValue(f"finetune: {name} is empty. Give finetune.{name} at least one value.")
        refuse_too_few("finetune", labelled, classes)

    def evaluate(self, task: Task) -> Scores:
        """Choose on the first fold, train again on all rows, predict the test images."""
        self.check(len(task.train), len(task.classes))
        network = task.needed_network("finetune")
        refuse_fixed(network)
        refuse_not_finite("finetune", task)
        c = self.config
        rates, chosen = self._choose(task, network)
        model = self.train(task, network, torch.arange(len(task.train)), rates)
        logits = predict(model, network, network.test.pixels, c.batch_size)
        where = f"finetune: at lr_backbone {rates.lr_backbone:g} and lr_head {rates.lr_head:g} the logits"
        require_finite(logits, where)
        return score_logits(
            logits,
            task,
            {
                "features": "fine-tuned",
                **chosen,
                **rates._asdict(),
                "epochs": c.epochs,
                "batch_size": c.batch_size,
                "precision": c.precision,
            },
        )

    def _choose(self, task: Task, network: Network) -> tuple[Rates, dict[str, Any]]:
        """Return the learning rates and what a record says of the choice."""
        c = self.config
        pairs = [Rates(*pair) for pair in product(c.lr_backbone_grid, c.lr_head_grid)]
        if len(pairs) == 1 or not task.folds:
            default = Rates(c.default_lr_backbone, c.default_lr_head)
            rates = pairs[0] if len(pairs) == 1 else default
            return rates, {**describe_no_choice(task, len(pairs)), "grid": {}, "grid_edge": False}
        judged = [self._judge(task, network, pair) for pair in pairs]
        best = pick_best([top1 for top1, _ in judged], [loss for _, loss in judged])
        lr_backbone, lr_head = pairs[best]
        return pairs[best], {
            "selected": "lr_backbone, lr_head",
            **describe_choice(task),
            **_describe_fold(len(task.folds)),
            "grid": {"lr_backbone": list(c.lr_backbone_grid), "lr_head": list(c.lr_head_grid)},
            "grid_edge": is_at_edge(lr_backbone, c.lr_backbone_grid) or is_at_edge(lr_head, c.lr_head_grid),
            "val_top1": judged[best][0],
        }

    def _judge(self, task: Task, network: Network, rates: Rates) -> tuple[float, float]:
        """Return top-1 in percent and negative log-likelihood in nats on the first fold's held-out rows.

        A training that diverged is right nowhere and infinitely unlikely: it loses, and stops no other.
        """
        fit, val = task.folds[0]
        model = self.train(task, network, fit, rates)
        held_out = network.train.pixels[to_device(val, network.train.pixels.device)]
        logits = predict(model, network, held_out, self.config.batch_size)
        if not logits.isfinite().all():
            return 0.0, float("inf")
        labels = task.train.y[val].cpu()
        right = (logits.argmax(1) == labels).double().mean()
        return 100 * float(right), float(F.cross_entropy(logits.double(), labels))

    def train(self, task: Task, network: Network, rows: Tensor, rates: Rates) -> nn.Sequential:
        """Return a copy of the backbone and a classifier of its features, trained together.

        Args:
            task: with the labels.
            network: with the backbone and the images.
            rows: (n,), int64, of the labelled images to train on.
            rates: the learning rates.
        """
        c, seed = self.config, task.seed
        model = add_classifier(network, len(task.classes))
        scaled = [rate * c.batch_size / 256 for rate in rates]
        optimizer = self._optimizer(model, scaled)
        view, done = crop_and_flip(c.crop_min), 0
        labels = task.train.y.to(task.device)
        with torch.random.fork_rng(devices=[task.device] if task.device.type == "cuda" else []):
            for epoch in range(c.epochs):
                order = split_batches(shuffle_rows(rows, seed, "finetune", "order", epoch), c.batch_size)
                for step, batch in enumerate(order):
                    share = cosine(done, c.epochs * len(order))
                    for group, rate in zip(optimizer.param_groups, scaled, strict=True):
                        group["lr"] = share * rate
                    x = draw_views(network, batch, view, seed, "finetune", "views", epoch, step)
                    torch.manual_seed(seed_of(seed, "finetune", "dropout", epoch, step))
                    loss = descend(model, optimizer, x, labels[to_device(batch, task.device)], c.precision)
                    done += 1
                if not loss.isfinite():
                    break  # the weights are no numbers any more
        return model

    def _optimizer(self, model: nn.Sequential, lrs: list[float]) -> torch.optim.Optimizer:
        """Return the optimiser, with a group for the backbone and one for the classifier."""
        c = self.config
        groups = [{"params": list(part.parameters()), "lr": lr} for part, lr in zip(model, lrs, strict=True)]
        return torch.optim.SGD(groups, momentum=c.momentum, weight_decay=c.weight_decay, nesterov=True)


def refuse_fixed(network: Network) -> None:
    """Refuse a backbone without parameters.

    Raises:
        BadValue: there is nothing to tune.
    """
    if not any(p.numel() for p in network.trained.parameters()):
        raise BadValue("finetune: the backbone has no parameters to train. Use linear or knn with it.")


def add_classifier(network: Network, classes: int) -> nn.Sequential:
    """Return a copy of the backbone followed by a linear classifier that starts at zero."""
    backbone = network.backbone()
    head = nn.utils.skip_init(nn.Linear, backbone.dim, classes, device=network.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(backbone, head)


def split_batches(rows: Tensor, size: int) -> list[Tensor]:
    """Return `rows` in batches of `size`, the last with what is left, none of a single row.

    Batch norm has no variance of one row: it joins the batch before it, or is taken twice.
    """
    parts = list(rows.split(size))
    if len(parts[-1]) > 1:
        return parts
    if len(parts) == 1:
        return [parts[0].repeat(2)]
    return [*parts[:-2], torch.cat(parts[-2:])]


def descend(
    model: nn.Sequential, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, precision: str
) -> Tensor:
    """Do one step on a batch and return its loss.

    Args:
        model: backbone and classifier; is trained.
        optimizer: of the model.
        x: (n, channels, h, w), n at least 2.
        y: (n,), int64.
        precision: of the backbone's arithmetic; the classifier's is float32.
    """
    backbone, head = model.train()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        features = backbone(x)
    loss = F.cross_entropy(head(features.float()), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def predict(model: nn.Sequential, network: Network, pixels: Tensor, chunk: int) -> Tensor:
    """Return the logits of clean images, (n, classes), float32, on the CPU.

    Args:
        model: backbone and classifier; is left in eval mode.
        network: how to prepare the images.
        pixels: (n, channels, h, w), uint8.
        chunk: images at a time.
    """
    model.eval()
    return torch.cat([model(network.clean(part)).float().cpu() for part in pixels.split(chunk)])


def _describe_fold(folds: int) -> dict[str, str]:
    """Return what a record says of a choice that was made on one of several folds."""
    return {"selected_on": f"one of {folds} folds inside the labelled subset"} if folds > 1 else {}
