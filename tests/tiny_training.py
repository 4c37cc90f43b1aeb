"""Trainings small enough for a test: a network, a method, a run of an epoch, and how gradients differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.contracts.recipe import Training
from bench.pretraining.loop import pretrain
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry

REGISTRY = Registry.load()
INFO = DatasetInfo(classes=("a", "b"), channels=3, size=8)
VIEW = View(blur=0.5, solarise=0.3, affine=0.5)
IMAGES = Images(
    torch.randint(0, 256, (45, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(45) % 2,
)
BATCH = IMAGES.take(torch.arange(20))  # an epoch is a step
SMALL = {"simclr": {"hidden_dim": 16, "embedding_dim": 8}, "vicreg": {"embedding_dim": 8}}
TIMES = ("seconds", "images_per_s")


class Stopped(Exception):
    """Stands for the end of a process."""


class Exact(nn.Module):
    """Makes what follows compute in float64: two sums in another order then agree."""

    def forward(self, x: Tensor) -> Tensor:
        return x.double()


def net(*first: nn.Module) -> nn.Module:
    """Return a network without batch norm but for what comes first."""
    return nn.Sequential(
        *first,
        *(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 6)),
    )


def method_of(name: str, *first: nn.Module, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    cls: Any = REGISTRY.load_class("methods", name)
    method: Method = cls(net(*first), 6, cls.Config(**SMALL[name]), INFO)
    return method


def exact(name: str) -> Method:
    """Return a method in float64 without batch statistics."""
    return frozen(method_of(name, Exact())).double()


def frozen(method: Method) -> Method:
    """Keep the batch norms in eval mode, whatever mode the method is put into."""
    for module in method.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval().train = partial(still, module)
    return method


def still(module: nn.Module, mode: bool = True) -> nn.Module:  # noqa: FBT001, FBT002
    return module


class Watching(Method):
    """A method that keeps what it is given and what it makes of it."""

    def __init__(self, inner: Method) -> None:
        super().__init__(inner.backbone, 6, None, INFO)
        self.inner, self.progress = inner, list[float]()
        self.drawn = list[float]()
        self.views, self.made, self.batches = list[list[Tensor]](), list[Tensor](), list[Batch]()

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        embeddings = self.inner.embed(views, batch)
        self.views.append(list(views))
        self.made.append(next(iter(embeddings.values())).detach())
        self.batches.append(batch)
        self.drawn.append(float(torch.rand(())))
        return embeddings

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return self.inner.terms(embeddings, batch)

    def after_step(self, step: Step) -> None:
        self.progress.append(step.progress)


def run_in(folder: Path, **changes: Any) -> TrainingRun:
    """Return a run of an epoch on batches of 20; what is given is of `Training`, but for `run`."""
    settings = {
        "epochs": 1, "batch_size": 20, "image_size": 12, "precision": "float32", "optimizer": "sgd",
        "lr": 0.05, "weight_decay": 0.0, "momentum": 0.9, "warmup_epochs": 0.0,
    }  # fmt: skip
    run: dict[str, Any] = changes.pop("run", {})
    folder.mkdir(exist_ok=True)
    return TrainingRun(
        what="the run", key="key", training=Training(**{**settings, **changes}), views=(VIEW, VIEW),
        mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), seed=0, device=torch.device("cpu"), folder=folder, **run,
    )  # fmt: skip


def gradients(method: Method, folder: Path, images: Images = BATCH, **changes: Any) -> dict[str, Tensor]:
    """Train, and return the gradients of the last step."""
    pretrain(method, images, run_in(folder, **changes))
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def apart(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """Return the largest relative difference of two gradients, each parameter by itself."""
    assert found.keys() == wanted.keys()
    differences = {name: (found[name] - wanted[name]).detach().norm() for name in wanted}
    return max(float(difference / wanted[name].detach().norm()) for name, difference in differences.items())


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
