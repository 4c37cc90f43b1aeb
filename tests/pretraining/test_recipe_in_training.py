"""A recipe with all that it can say, through the training loop: stopped, resumed, thawed, clipped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.contracts.backbone import Backbone
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.contracts.recipe import ParamGroup, Training
from bench.pretraining.loop import pretrain
from bench.pretraining.training_run import TrainingRun

INFO = DatasetInfo(classes=("a", "b"), channels=3, size=8)
IMAGES = Images(
    torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(40) % 2,
)
EPOCHS, STEPS = 4, 5
BEFORE_STOP = 1  # epochs; the head is then still frozen
ALL = {
    "min_lr": 0.001,
    "weight_decay_end": 0.1,
    "clip_norm": 0.5,
    "layer_decay": 0.75,
    "groups": (
        ParamGroup(match="head.*", freeze_epochs=2),
        ParamGroup(match="predictor.*", constant_lr=True, weight_decay=0.0, adapt=False),
        ParamGroup(match="*", max_ndim=1, lr_factor=0.5),
    ),
}


class Stopped(Exception):
    """Stands for the end of a process."""


class Small(Backbone):
    """Two layers that say which they are."""

    def __init__(self) -> None:
        super().__init__("small", None, 3, 8)
        self.stem, self.norm = nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.stem(images)).relu().mean(dim=(2, 3))

    def parameter_layers(self) -> dict[str, int]:
        return {name: 0 if name.startswith("stem") else 1 for name, _ in self.named_parameters()}


class Guided(Method):
    """A predictor, a head, and a projection that is thawed after the first epoch."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__(Small(), 4, None, INFO)
        self.projection, self.predictor, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.projection.requires_grad_(requires_grad=False)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {"z": self.head(self.predictor(self.projection(self.backbone(views[0])).relu()))}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        return {"cross_entropy": nn.functional.cross_entropy(embeddings["z"], batch.labels)}

    def after_step(self, step: Step) -> None:
        self.projection.requires_grad_(step.number + 1 >= STEPS)


def run_in(folder: Path, optimizer: str, **changes: Any) -> TrainingRun:
    folder.mkdir(exist_ok=True)
    training = Training(
        epochs=EPOCHS, batch_size=8, image_size=8, precision="float32", optimizer=optimizer, lr=0.05,
        weight_decay=0.01, momentum=0.9, warmup_epochs=0.4, **changes,
    )  # fmt: skip
    return TrainingRun(
        what="the run", key="key",
        training=training, views=(View(crop_min=0.5),), mean=(0.5,) * 3, std=(0.25,) * 3,
        seed=0, device=torch.device("cpu"), folder=folder, checkpoint_every_s=0.0,
    )  # fmt: skip


def stop(done: int, metrics: Mapping[str, float]) -> None:
    if done == BEFORE_STOP + 1:  # whose checkpoint is not written any more
        raise Stopped


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(method: nn.Module) -> dict[str, Tensor]:
    return {name: param.detach().clone() for name, param in method.named_parameters()}


@pytest.mark.parametrize("optimizer", ["lars", "sgd", "adamw"])
@pytest.mark.parametrize("chunk_size", [None, 4])
def test_a_stopped_training_with_all_of_it_goes_on_bitwise(
    tmp_path: Path, optimizer: str, chunk_size: int | None
) -> None:
    changes = {**ALL, "chunk_size": chunk_size}
    whole, first, second = Guided(), Guided(), Guided(seed=1)
    pretrain(whole, IMAGES, run_in(tmp_path / "whole", optimizer, **changes))
    parts = run_in(tmp_path / "parts", optimizer, **changes)
    with pytest.raises(Stopped):
        pretrain(first, IMAGES, replace(parts, on_epoch=stop))
    second.projection.requires_grad_(requires_grad=True)  # as it was when the process ended
    pretrain(second, IMAGES, parts)

    states = whole.state_dict(), second.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert [line["lr"] for line in lines(tmp_path / "parts")] == [
        line["lr"] for line in lines(tmp_path / "whole")
    ]


@pytest.mark.parametrize("optimizer", ["lars", "sgd", "adamw"])
def test_a_parameter_that_is_thawed_during_a_training_is_trained(tmp_path: Path, optimizer: str) -> None:
    method = Guided()
    before = weights(method)
    at_epoch_end: list[dict[str, Tensor]] = []
    run = run_in(tmp_path, optimizer)
    pretrain(method, IMAGES, replace(run, on_epoch=lambda *_: at_epoch_end.append(weights(method))))
    after_one, after_two = (epoch["projection.weight"] for epoch in at_epoch_end[:2])

    assert torch.equal(after_one, before["projection.weight"])
    assert not torch.equal(after_two, before["projection.weight"])


def test_a_frozen_head_is_trained_from_its_epoch_on(tmp_path: Path) -> None:
    method = Guided()
    before = weights(method)
    at_epoch_end: list[dict[str, Tensor]] = []
    run = run_in(tmp_path, "adamw", **ALL)
    pretrain(method, IMAGES, replace(run, on_epoch=lambda *_: at_epoch_end.append(weights(method))))
    changed = [not torch.equal(epoch["head.weight"], before["head.weight"]) for epoch in at_epoch_end]

    assert changed == [False, False, True, True]


def test_the_learning_rate_of_an_epoch_is_that_of_the_main_group(tmp_path: Path) -> None:
    pretrain(Guided(), IMAGES, run_in(tmp_path / "plain", "sgd"))
    pretrain(Guided(), IMAGES, run_in(tmp_path / "grouped", "sgd", groups=ALL["groups"]))

    assert [line["lr"] for line in lines(tmp_path / "grouped")] == [
        line["lr"] for line in lines(tmp_path / "plain")
    ]


@pytest.mark.parametrize("scope", ["all", "parameter"])
def test_clipping_bounds_the_first_step_of_plain_sgd(tmp_path: Path, scope: str) -> None:
    """Without momentum and decay a step is at most the learning rate times the norm."""
    norm, lr = 1e-3, 0.05
    method = Guided()
    before = weights(method)
    run = run_in(tmp_path, "sgd", clip_norm=norm, clip_scope=scope)
    training = replace(
        run.training, epochs=1, momentum=0.0, weight_decay=0.0, warmup_epochs=0.0, batch_size=40
    )
    pretrain(method, IMAGES, replace(run, training=training))
    moves = [float((after - before[name]).norm()) for name, after in weights(method).items()]
    largest = max(moves) if scope == "parameter" else sum(move**2 for move in moves) ** 0.5

    assert largest == pytest.approx(lr * norm, rel=1e-2)


def test_float16_is_clipped_by_its_true_norm(tmp_path: Path) -> None:
    """Gradients are scaled by 65,536 there: a norm that bounds nothing must change nothing."""
    plain, clipped = Guided(), Guided()
    for method, name, changes in ((plain, "plain", {}), (clipped, "clipped", {"clip_norm": 1000.0})):
        run = run_in(tmp_path / name, "sgd", **changes)
        training = replace(run.training, precision="float16", epochs=1)
        pretrain(method, IMAGES, replace(run, training=training))

    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), clipped.parameters(), strict=True))
