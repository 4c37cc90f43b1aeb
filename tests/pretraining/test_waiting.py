"""A training step reads nothing from the device, shown on one that has nothing to read.

A tensor on the `meta` device has a shape and no values: whatever would read one raises. Draws are on the
CPU, where they may be read. Copies to the device must not be waited for either; of those, this cannot show
the ones that torch makes unseen, as in `torch.tensor(x, device=device)`.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Embeddings, Method, Step
from bench.contracts.recipe import Training
from bench.pretraining.loop import TrainingLoop
from bench.pretraining.loss_meter import LossMeter
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry

REGISTRY, META = Registry.load(), torch.device("meta")
TRAINED = ("simclr", "vicreg", "supervised")
INFO = DatasetInfo(classes=("a", "b"), channels=3, size=8)
CHANGES: tuple[dict[str, Any], ...] = ({}, {"chunk_size": 4}, {"accumulate": 2})


class Copies(TorchDispatchMode):
    """Raises at a copy between devices for which the host waits."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if str(func) == "aten._to_copy.default" and kwargs.get("device", args[0].device) != args[0].device:
            assert kwargs.get("non_blocking"), f"{func} of {tuple(args[0].shape)} waits"
            self.seen += 1
        if str(func) == "aten.copy_.default" and args[0].device != args[1].device:
            assert len(args) > 2, f"{func} of {tuple(args[1].shape)} waits"
            assert args[2], f"{func} of {tuple(args[1].shape)} waits"
        return func(*args, **kwargs)


@pytest.fixture(autouse=True)
def _a_second_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is read once a second, however slow the machine is that tests run on."""
    monkeypatch.setattr("bench.pretraining.loss_meter.READ_EVERY_S", float("inf"))


def net() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6)),
    )


def method_of(name: str) -> Method:
    cls: Any = REGISTRY.load_class("methods", name)
    with META:
        method: Method = cls(net(), 6, cls.Config(), INFO)
    return method


def loop_of(
    method: Method, folder: Path, optimizer: str = "lars", where: str = "meta", **changes: Any
) -> TrainingLoop:
    training = Training(
        epochs=1, batch_size=8, image_size=16, precision="float32", optimizer=optimizer, lr=0.1,
        weight_decay=1e-3, momentum=0.9, warmup_epochs=0.0, **changes,
    )  # fmt: skip
    views = REGISTRY.load_class("methods", "vicreg").views(None, INFO, 100)  # with everything in them
    run = TrainingRun(
        what="a run", key="key",
        training=training, views=views, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0, device=META,
        folder=folder,
    )  # fmt: skip
    images = Images(torch.zeros(32, 3, 8, 8, dtype=torch.uint8), torch.arange(32) % 2)
    return TrainingLoop(
        method, images if where == "cpu" else Images(images.pixels.to(META), images.labels.to(META)), run
    )


def step(loop: TrainingLoop) -> int:
    """Take a step and what comes after it; return how many copies were sent to the device."""
    ready = loop.ready_batches(0)
    next(ready)  # an epoch may wait at its beginning
    with Copies() as copies:
        meter = LossMeter("a run", "Lower it.", first=0)
        meter.latest = {"loss": 0.0}  # as after the first step: it looks at that
        terms = loop.stepper.take(islice(ready, loop.run.training.accumulate), Step()).terms
        meter.add(terms)
    return copies.seen


@pytest.mark.parametrize("where", ["meta", "cpu"])
@pytest.mark.parametrize("changes", CHANGES, ids=["whole", "chunked", "accumulated"])
@pytest.mark.parametrize("name", TRAINED)
def test_a_step_waits_for_nothing(tmp_path: Path, name: str, changes: dict[str, Any], where: str) -> None:
    assert step(loop_of(method_of(name), tmp_path, where=where, **changes)) > 0


@pytest.mark.parametrize("optimizer", ["lars", "sgd", "adamw"])
def test_no_optimizer_waits(tmp_path: Path, optimizer: str) -> None:
    loop = loop_of(method_of("simclr"), tmp_path, optimizer)
    step(loop)

    assert len(loop.stepper.optimizer.state) == len(list(loop.method.parameters()))


def test_a_method_that_reads_its_loss_is_seen(tmp_path: Path) -> None:
    cls: Any = REGISTRY.load_class("methods", "simclr")

    class Reading(cls):  # type: ignore[misc, valid-type]
        def terms(self, embeddings: Embeddings, batch: Any) -> dict[str, Tensor]:
            terms: dict[str, Tensor] = super().terms(embeddings, batch)
            float(terms["contrastive"].detach())
            return terms

    with pytest.raises(RuntimeError, match="meta"):
        step(loop_of(Reading(net(), 6, cls.Config(), INFO).to(META), tmp_path))


def test_a_copy_that_waits_is_seen() -> None:
    with Copies(), pytest.raises(AssertionError, match="waits"):
        torch.zeros(3).to(META)
