"""Fit a multi-layer perceptron on frozen features: what a linear readout of them misses.

Code followed: none. No protocol is agreed on, so every number below is our choice.

    logits = V ReLU(BN(W x)) + b, one W and BN for each hidden layer

Features are standardised by the rows that are fitted and turned to their principal axes. Each pair of
a learning rate and a weight decay is trained, all at once. Of the pairs and epochs whose top-1 on held-out
training rows is within a standard error of the best, the likeliest is trained again on all rows, along the
same schedule up to that epoch, and the test rows are predicted once. Top-1 alone does not tell a perceptron
whose logits have hardly grown, which says 20 % where it is right, from one that knows.
The gap to the `linear` evaluator on the same rows is reported with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from bench.api import (
    BadValue,
    Evaluator,
    FeatureSettings,
    FeatureSpec,
    Scores,
    Task,
    auto_precision,
    describe_choice,
    describe_no_choice,
    is_at_edge,
    is_near_best,
    refuse_not_finite,
    refuse_too_few,
    require_finite,
    score_logits,
    seed_of,
    setting,
)

from .fitting.perceptron import AdamW, Perceptrons, Standard, descend, heads_at_once, step_rows
from .linear import Linear

Pair = tuple[float, float]  # a learning rate and a weight decay


class Choice(NamedTuple):
    """What a fit is made with."""

    lr: float
    weight_decay: float
    epochs: int


class MLP(Evaluator):
    """Multi-layer perceptron, with what it is trained by chosen on held-out training rows."""

    version: ClassVar[int] = 4
    reference: ClassVar[str] = "our protocol; AdamW: Loshchilov 2019, https://arxiv.org/abs/1711.05101"

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureSettings):
        """What changes the fit."""

        hidden: tuple[int, ...] = setting((512,), "width of each hidden layer", least=1)
        lr_grid: tuple[float, ...] = setting((5e-4, 2e-3, 8e-3), "learning rates tried", above=0)
        weight_decay_grid: tuple[float, ...] = setting(
            (0.1, 1.0, 10.0),
            "weight decays tried; AdamW's weights stay below one over it, 100 leaves logits near zero",
            source="our choice, measured on rows held out of digits and CIFAR-10, two networks",
            least=0,
        )
        epochs: int = setting(10, "length of the schedule, and most epochs", least=1)
        batch_size: int = setting(1024, "most rows a step; small sets take fewer", least=32)
        default_lr: float = setting(2e-3, "learning rate where there is nothing to choose on", above=0)
        default_weight_decay: float = setting(10.0, "as default_lr, of the weight decay", least=0)
        precision: str = setting(
            "auto",
            "of the products with weights; auto is bfloat16 where the device computes in it",
            choices=("auto", "float32", "bfloat16"),
        )

    config: Config

    @classmethod
    def features(cls, config: Config) -> FeatureSpec:
        """Return the features that the settings ask for."""
        return config.spec

    @classmethod
    def uses(cls, config: Config) -> dict[str, Evaluator]:
        """Return the linear readout that it is compared with."""
        return {"linear": Linear(Linear.Config(blocks=config.blocks, pool=config.pool))}

    def check(self, labelled: int, classes: int) -> None:
        """Refuse an empty grid, a single class and an empty training set."""
        for name in ("hidden", "lr_grid", "weight_decay_grid"):
            if not getattr(self.config, name):
                raise BadValue(f"mlp: {name} is empty. Give mlp.{name} at least one value.")
        refuse_too_few("mlp", labelled, classes)

    def evaluate(self, task: Task) -> Scores:
        """Choose on the folds, refit on all training rows, predict the test rows; fit `linear`, too."""
        self.check(len(task.train), len(task.classes))
        refuse_not_finite("mlp", task)
        c = self.config
        choice, chosen = self.choose(task)
        logits = self.predict(task, choice)
        require_finite(logits, "mlp: the logits")
        linear_top1 = self.uses(c)["linear"].evaluate(task).metrics["top1"]
        scores = score_logits(
            logits,
            task,
            {
                "features": "frozen",
                **self.config.spec.describe(),
                **chosen,
                **choice._asdict(),
                "hidden": list(c.hidden),
                "batch_size": step_rows(len(task.train), c.batch_size),
                "precision": self._precision(task),
                "nonlinear_gap": "top1 minus that of linear, by its defaults on the same rows",
            },
        )
        gap = scores.metrics["top1"] - linear_top1
        return replace(
            scores,
            metrics={**scores.metrics, "linear_top1": linear_top1, "nonlinear_gap": gap},
            neither_is_better=frozenset({"nonlinear_gap"}),  # a gain over little is no merit
        )

    def choose(self, task: Task) -> tuple[Choice, dict[str, Any]]:
        """Return the choice and what a record says of it."""
        c = self.config
        if not task.folds:
            default = Choice(c.default_lr, c.default_weight_decay, c.epochs)
            return default, {**describe_no_choice(task, 0), "grid": {}, "grid_edge": False}
        pairs = list(product(c.lr_grid, c.weight_decay_grid))
        top1, loss = torch.stack([self.judge(task, *fold, pairs) for fold in task.folds]).mean(0)
        near = is_near_best(top1, sum(len(held_out) for _, held_out in task.folds), 1)
        epoch, pair = divmod(int(loss.masked_fill(~near, torch.inf).argmin()), len(pairs))
        lr, weight_decay = pairs[pair]
        return Choice(lr, weight_decay, epoch + 1), {
            "selected": "lr, weight_decay, epochs",
            **describe_choice(task),
            "grid": {"lr": list(c.lr_grid), "weight_decay": list(c.weight_decay_grid)},
            "grid_edge": is_at_edge(lr, c.lr_grid) or is_at_edge(weight_decay, c.weight_decay_grid),
            "val_top1": float(top1[epoch, pair]),
        }

    def judge(self, task: Task, rows: Tensor, held_out: Tensor, pairs: Sequence[Pair]) -> Tensor:
        """Return top-1 in percent and negative log-likelihood of the held-out rows after each epoch.

        Returns:
            (2, epochs, pairs), float64; a likelihood that is not a number is infinitely bad.
        """
        every, labels = task.train.x, task.train.y
        standard = Standard.of(every, task.device, rows)
        x, y = standard.apply(every, task.device, rows), labels[rows].to(task.device)
        val_x, val_y = standard.apply(every, task.device, held_out), labels[held_out].to(task.device)
        scores = []
        for settings in torch.tensor(pairs).split(self._heads_at_once(task, x)):
            model, optimizer = self._start(task, x.shape[1], settings)
            epochs = descend(model, x, y, optimizer, **self._schedule(task))
            scores.append(torch.stack([model.judge(val_x, val_y) for _ in epochs], 1))
        return torch.cat(scores, 2).nan_to_num(torch.inf)

    def predict(self, task: Task, choice: Choice) -> Tensor:
        """Fit all training rows and return the logits of the test rows, (n, classes), on the CPU."""
        standard = Standard.of(task.train.x, task.device)
        x, y = standard.apply(task.train.x, task.device), task.train.y.to(task.device)
        model, optimizer = self._start(task, x.shape[1], torch.tensor([[choice.lr, choice.weight_decay]]))
        for epoch in descend(model, x, y, optimizer, **self._schedule(task)):
            if epoch == choice.epochs:
                break
        return model.logits(standard.apply(task.test.x, task.device))[:, 0].cpu()

    def _start(self, task: Task, axes: int, settings: Tensor) -> tuple[Perceptrons, AdamW]:
        """Make a head for each row of `settings`, (heads, 2): learning rate and weight decay."""
        seed = seed_of(task.seed, "mlp", "weights")
        widths = self._widths(task, axes)
        model = Perceptrons(widths, len(settings), seed, self._precision(task)).to(task.device)
        return model, AdamW(model, settings[:, 0], settings[:, 1])

    def _precision(self, task: Task) -> str:
        precision = self.config.precision
        return auto_precision(task.device) if precision == "auto" else precision

    def _widths(self, task: Task, axes: int) -> tuple[int, ...]:
        return (axes, *self.config.hidden, len(task.classes))

    def _heads_at_once(self, task: Task, x: Tensor) -> int:
        return heads_at_once(self._widths(task, x.shape[1]), step_rows(len(x), self.config.batch_size))

    def _schedule(self, task: Task) -> dict[str, int]:
        c = self.config
        return {
            "epochs": c.epochs,
            "batch_size": c.batch_size,
            "seed": seed_of(task.seed, "mlp", "order"),
        }
