"""A step of each method: against its bare networks and loss, and against a step of SimCLR.

Both are of one batch of views that is there already. The bare step embeds it, takes the loss, goes back, lets
the optimiser step and calls what the method itself does before and after that (a momentum network, a queue,
prototypes): what the harness's step takes more is the harness's.

`--method-costs FILE` writes what a step costs relative to SimCLR's, which docs/methods.md shows.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from side_by_side import side_by_side
from torch import Tensor

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Method, Step
from bench.contracts.recipe import TrainConfig, resolve
from bench.errors import Unsupported
from bench.pretraining.prefetch import ReadyBatch
from bench.pretraining.step import Stepper
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry

REGISTRY, CPU, BATCH, SIDE = Registry.load(), torch.device("cpu"), 128, 32
INFO = DatasetInfo(classes=tuple("abcdefghij"), channels=3, size=SIDE, images=50_000)  # as CIFAR-10
NAMES = [e.name for e in REGISTRY.entries("methods") if e.plugin.built_in]
TRAINED = [name for name in NAMES if REGISTRY.load_class("methods", name).recipe is not None]
NETWORKS = (("resnet18", {"stem": "standard"}), ("test_vit", {}))  # the second for those that want patches


class Subject:
    """A method on the first network that it takes, with a batch of views.

    Args:
        name: of the method.
        folder: of the run.
        network: the only one to take, by its place in `NETWORKS`; none is the first that it takes.
    """

    def __init__(self, name: str, folder: Path, network: int | None = None) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        cls: Any = REGISTRY.load_class("methods", name)
        config = cls.Config()
        self.network, backbone = _build_backbone(cls, config, network)
        self.method: Method = cls(backbone, backbone.dim, config, INFO).train()
        views = cls.views(config, INFO, SIDE)
        training = resolve(
            cls.recipe_for(config, INFO, SIDE),
            TrainConfig(epochs=100, batch_size=BATCH),
            SIDE,
            "float32",
        )
        run = TrainingRun(
            what=name, key=name, training=training, views=views, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0,
            device=CPU, folder=folder,
        )  # fmt: skip
        self.stepper = Stepper(self.method.to(memory_format=torch.channels_last), run)
        sides = [view.side(SIDE) for view in views]
        self.views = [
            torch.randn(BATCH, 3, side, side).contiguous(memory_format=torch.channels_last) for side in sides
        ]
        index = torch.arange(BATCH)
        self.batch = Batch(index, index % 10, self.method.draw(BATCH, torch.Generator().manual_seed(0)))
        with torch.no_grad():
            self.method.first_pass(self.method.embed(self.views, self.batch), self.batch)
        self.method.before_step(Step(number=0, total=10_000, epoch=0, epochs=100))  # clusters, where it does
        self.step = Step(number=250, total=10_000, epoch=2, epochs=100)  # in the middle of one

    def harness_step(self) -> None:
        """Take a step as a training does."""
        self.stepper.take([ReadyBatch(0, self.batch, self._all_views)], self.step)

    def bare_step(self) -> None:
        """Take a step of the networks and the loss alone."""
        method, optimizer, batch = self.method, self.stepper.optimizer, self.batch
        method.before_step(self.step)
        optimizer.zero_grad(set_to_none=True)
        embeddings = method.embed(self.views, batch)
        torch.stack(list(method.terms(embeddings, batch).values())).sum().backward()
        with torch.no_grad():
            method.after_batch({name: z.detach() for name, z in embeddings.items()}, batch)
        optimizer.step()
        method.after_step(self.step)

    def _all_views(self, rows: slice) -> list[Tensor]:
        return self.views


def _build_backbone(cls: Any, config: Any, network: int | None) -> tuple[int, Any]:
    """Return a network that a method takes, and its place in `NETWORKS`."""
    for place in range(len(NETWORKS)) if network is None else (network,):
        name, settings = NETWORKS[place]
        backbones: Any = REGISTRY.load_class("backbones", name)
        backbone = backbones(name, backbones.Config(**settings), 3, SIDE)
        try:
            cls.check(config, backbone.info, INFO, SIDE)
        except Unsupported:
            continue
        return place, backbone
    raise ValueError(f"{cls.__name__} takes none of {NETWORKS}.")


@pytest.mark.parametrize("name", TRAINED)
def test_step(benchmark: Any, tmp_path: Path, name: str) -> None:
    """Take a step of the harness and a bare one."""
    subject = Subject(name, tmp_path)
    side_by_side(
        benchmark,
        subject.harness_step,
        subject.bare_step,
        what=f"a step of {name}, against its bare networks and loss",
        goal="at most 1.05",
        rounds=7,
    )


def test_costs(benchmark: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Take steps of each method and of SimCLR on the same network, in turn."""
    path: Path | None = request.config.getoption("--method-costs")
    if path is None:
        pytest.skip("costs are measured by `make method-costs`")
    costs = benchmark.pedantic(lambda: {name: _cost_of(name, tmp_path) for name in TRAINED}, rounds=1)
    path.write_text(json.dumps(costs, indent=1) + "\n", encoding="utf-8")


def _cost_of(name: str, folder: Path) -> float:
    """Return the time of a step of a method, in steps of SimCLR."""
    subject = Subject(name, folder)
    simclr = Subject("simclr", folder, subject.network)
    pairs = [[_seconds(one.harness_step) for one in (subject, simclr)] for _ in range(5)][1:]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return round(ours / theirs, 2)


def _seconds(run: Any) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started
