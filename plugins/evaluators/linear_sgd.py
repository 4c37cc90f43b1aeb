"""Train a linear classifier by SGD on views of the images, as papers do: the backbone is frozen.

SimCLR, https://arxiv.org/abs/2002.05709, appendix B.6: SGD with Nesterov momentum 0.9, no weight decay,
crops and flips, 90 epochs, lr 0.1 * batch / 256. Code followed: none.

    f(W, b) = mean cross-entropy(W h + b, y),  h the features of one view, in eval mode

One pass of the backbone an epoch serves all heads. For each learning rate there is a head for each fold,
which never learns from the fold's held-out rows, and one for all rows. The learning rate that is best
on the held-out rows is taken, and its head of all rows predicts the test rows once: the choice and the
refit of BYOL, https://arxiv.org/abs/2006.07733, in one training.

Differs from the paper: the learning rate is chosen, and falls along half a cosine. Heads start at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.api import (
    BadValue,
    Evaluator,
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
    setting,
    to_device,
)

from .fitting.sgd import cosine, crop_and_flip, draw_views, shuffle_rows

NAME = "linear-sgd"
LR_GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
ROWS = 1024  # judged at a time

Folds = Sequence[tuple[Tensor, Tensor]]


class LinearSGD(Evaluator):
    """Linear classifier trained by SGD on crops and flips, its learning rate chosen on held-out rows."""

    reference: ClassVar[str] = "Chen 2020, B.6, https://arxiv.org/abs/2002.05709"
    needs: ClassVar[Literal["features", "backbone"]] = "backbone"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What changes the training."""

        epochs: int = setting(90, "passes over the rows", source="SimCLR, appendix B.6", least=1)
        batch_size: int = setting(256, "rows a step; an epoch's last has what is left", least=1)
        lr_grid: tuple[float, ...] = setting(
            LR_GRID,
            "learning rates tried; of sgd, before * batch_size / 256",
            source="SimCLR B.6 0.1, VICReg C.2 0.02, MoCo 30",
            above=0,
        )
        default_lr: float = setting(
            0.1,
            "learning rate where there are several and nothing to choose on",
            source="SimCLR, appendix B.6",
            above=0,
        )
        weight_decay: float = setting(0.0, "of weights and biases", source="SimCLR, appendix B.6", least=0)
        momentum: float = setting(
            0.9, "Nesterov's, of sgd", source="SimCLR, appendix B.6", above=0, most=0.9999
        )
        augment: bool = setting(
            default=True, doc="train on crops and flips; else on the features of clean images"
        )
        optimizer: str = setting("sgd", "optimiser", source="SimCLR, appendix B.6", choices=("sgd", "adamw"))
        crop_min: float = setting(
            0.08,
            "smallest share of the area a crop keeps",
            source="SimCLR, appendix A",
            above=0,
            most=1,
        )

    config: Config

    @classmethod
    def excerpt(cls, config: Any, sample: Mapping[str, int], whole: Mapping[str, int]) -> tuple[Any, float]:
        """Return a config of one epoch: nearly all of the time goes into passes over labelled rows."""
        return replace(config, epochs=1), config.epochs * whole["train"] / sample["train"]

    def check(self, labelled: int, classes: int) -> None:
        """Refuse an empty grid, learning rates of another optimiser, and what no classifier can learn."""
        c = self.config
        if not c.lr_grid:
            raise BadValue(f"{NAME}: lr_grid is empty. Give {NAME}.lr_grid at least one value.")
        if c.optimizer != "sgd" and c.lr_grid == LR_GRID:
            raise BadValue(
                f"{NAME}.optimizer: {c.optimizer} needs learning rates of its own, lr_grid has those of sgd. "
                f"Set {NAME}.lr_grid, e.g. to [1e-4,1e-3,1e-2]."
            )
        refuse_too_few(NAME, labelled, classes)

    def evaluate(self, task: Task) -> Scores:
        """Train all heads, choose the learning rate on the folds, predict the test rows."""
        self.check(len(task.train), len(task.classes))
        refuse_not_finite(NAME, task)
        c = self.config
        lrs, folds = self._list_tried(task)
        heads = self.train(task, lrs, folds)
        best, chosen = self._choose(task, heads, lrs, folds)
        predicted = heads.predict(task.test.x.to(task.device), best).cpu()
        require_finite(predicted, f"{NAME}: at lr {lrs[best]:g} the logits")
        return score_logits(
            predicted,
            task,
            {
                "features": "frozen",
                **chosen,
                "lr": lrs[best],
                "epochs": c.epochs,
                "batch_size": c.batch_size,
                "optimizer": c.optimizer,
                "augment": c.augment,
            },
        )

    def _list_tried(self, task: Task) -> tuple[tuple[float, ...], Folds]:
        """Return the learning rates and the folds to choose on, none where there is no choice."""
        if len(self.config.lr_grid) == 1:
            return self.config.lr_grid, ()
        return (self.config.lr_grid, task.folds) if task.folds else ((self.config.default_lr,), ())

    def _choose(
        self, task: Task, heads: Heads, lrs: Sequence[float], folds: Folds
    ) -> tuple[int, dict[str, Any]]:
        """Return the index of the learning rate and what a record says of the choice."""
        if not folds:
            return 0, {**describe_no_choice(task, len(self.config.lr_grid)), "grid": [], "grid_edge": False}
        held_out = [task.train.take(val) for _, val in folds]
        judged = [heads.judge(part.x, part.y, fold) for fold, part in enumerate(held_out)]
        top1, loss = torch.stack(judged).mean(0)
        best = pick_best(top1.tolist(), loss.tolist())
        return best, {
            "selected": "lr",
            **describe_choice(task),
            "grid": list(lrs),
            "grid_edge": is_at_edge(lrs[best], lrs),
            "val_top1": float(top1[best]),
        }

    def train(self, task: Task, lrs: Sequence[float], folds: Folds) -> Heads:
        """Return a head for each learning rate and each fold, and for all rows, trained on one pass.

        Args:
            task: with the rows to train on.
            lrs: learning rates, as `lr_grid`.
            folds: (fit, val) pairs of rows; a fold's heads learn from the fit rows only.
        """
        c, y = self.config, task.train.y.to(task.device)
        heads = Heads(len(lrs), len(folds) + 1, len(task.classes), task.train.x.shape[1], task.device)
        optimizer, rates = self._optimizer(heads, lrs)
        features, used = self._features(task), mark_fitted(len(y), folds).to(task.device)
        steps = c.epochs * -(-len(y) // c.batch_size)
        done = 0
        for epoch in range(c.epochs):
            order = shuffle_rows(torch.arange(len(y)), task.seed, NAME, "order", epoch)
            placed = to_device(order, task.device).split(c.batch_size)  # one on the CPU would be waited for
            for step, (rows, at) in enumerate(zip(order.split(c.batch_size), placed, strict=True)):
                gradients = heads.gradients(features(rows, at, epoch, step), y[at], used[at])
                for group, rate, gradient in zip(optimizer.param_groups, rates, gradients, strict=True):
                    group["lr"] = rate * cosine(done, steps)
                    group["params"][0].grad = gradient
                optimizer.step()
                done += 1
        return heads

    def _optimizer(self, heads: Heads, lrs: Sequence[float]) -> tuple[torch.optim.Optimizer, list[float]]:
        """Return the optimiser, a group a learning rate, and what each group's rate starts at."""
        c = self.config
        rates = [lr * c.batch_size / 256 if c.optimizer == "sgd" else lr for lr in lrs]
        groups = [{"params": [at], "lr": rate} for at, rate in zip(heads.of_lr, rates, strict=True)]
        if c.optimizer == "adamw":
            return torch.optim.AdamW(groups, weight_decay=c.weight_decay), rates
        sgd = torch.optim.SGD(groups, momentum=c.momentum, weight_decay=c.weight_decay, nesterov=True)
        return sgd, rates

    def _features(self, task: Task) -> Callable[[Tensor, Tensor, int, int], Tensor]:
        """Return what gives the features (n, dim) of labelled rows, which are on the CPU and on the device.

        Beside the rows it takes the epoch and the step.
        """
        if not self.config.augment:
            clean = task.train.x.to(task.device)
            return lambda _rows, at, _epoch, _step: clean[at]
        network, view = task.needed_network(NAME), crop_and_flip(self.config.crop_min)
        backbone = network.backbone()

        @torch.no_grad()
        def of_views(rows: Tensor, _at: Tensor, epoch: int, step: int) -> Tensor:
            x: Tensor = backbone(draw_views(network, rows, view, task.seed, NAME, "views", epoch, step))
            return x.float()

        return of_views


class Heads:
    """Linear classifiers of the same features: for each learning rate one for each part of the rows.

    Args:
        lrs: number of learning rates.
        parts: number of parts.
        classes: number of classes.
        dim: of the features.
        device: where they are.
    """

    def __init__(self, lrs: int, parts: int, classes: int, dim: int, device: torch.device) -> None:
        # the bias is the weight of a feature that is always 1
        self.at = torch.zeros(lrs, parts, classes, dim + 1, device=device)
        self.of_lr = [self.at[lr] for lr in range(lrs)]

    def predict(self, x: Tensor, lr: int) -> Tensor:
        """Return the logits, (n, classes), that a learning rate's head of all rows gives (n, dim)."""
        return append_one(x) @ self.at[lr, -1].T

    def gradients(self, x: Tensor, y: Tensor, used: Tensor) -> Tensor:
        """Return the gradient of each head's mean cross-entropy over its own rows, as `at`.

        Args:
            x: (n, dim).
            y: (n,), int64.
            used: (n, parts), 1 where a part learns from a row, else 0.
        """
        x = append_one(x)
        error = logits(x, self.at).softmax(3)  # (n, lrs, parts, classes); less 1 at the label
        label = y[:, None, None, None].expand(*error.shape[:3], 1)
        error.scatter_add_(3, label, error.new_full((), -1).expand_as(label))
        error *= (used / used.sum(0).clamp_min(1))[:, None, :, None]  # a part may have no row here
        gradients: Tensor = error.flatten(1).T @ x
        return gradients.view_as(self.at)

    def judge(self, x: Tensor, y: Tensor, part: int) -> Tensor:
        """Return top-1 in percent and negative log-likelihood in nats of a part's heads.

        Args:
            x: (n, dim).
            y: (n,), int64.
            part: which.

        Returns:
            (2, lrs), float64, on the CPU; 0 and infinite for a head that is not finite.
        """
        totals = torch.zeros(2, len(self.at), dtype=torch.float64)
        for some, labels in zip(x.split(ROWS), y.split(ROWS), strict=True):
            z = logits(append_one(some.to(self.at.device)), self.at[:, part]).cpu().double()
            z, targets = (
                z.transpose(1, 2),
                labels.cpu()[:, None].expand(-1, len(self.at)),
            )  # (n, classes, lrs)
            right = 100 * (z.argmax(1) == targets).double().sum(0)
            totals += torch.stack((right, F.cross_entropy(z, targets, reduction="none").sum(0)))
        diverged = ~totals[1].isfinite()
        totals[0, diverged], totals[1, diverged] = 0.0, torch.inf
        return totals / len(y)


def mark_fitted(rows: int, folds: Folds) -> Tensor:
    """Return which rows each part learns from, (rows, folds + 1), 1 or 0; the last from all."""
    used = torch.zeros(rows, len(folds) + 1)
    used[:, -1] = 1
    for fold, (fit, _) in enumerate(folds):
        used[fit, fold] = 1
    return used


def logits(x: Tensor, at: Tensor) -> Tensor:
    """Return the logits of many heads, (n, ..., classes).

    Args:
        x: (n, dim + 1).
        at: (..., classes, dim + 1).
    """
    flat: Tensor = x @ at.flatten(0, -2).T
    return flat.view(len(x), *at.shape[:-1])


def append_one(x: Tensor) -> Tensor:
    """Return features (n, dim) and a last one that is always 1."""
    return torch.cat((x, x.new_ones(len(x), 1)), 1)
