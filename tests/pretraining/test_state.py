"""What a method keeps from step to step: right in chunks, over accumulated batches and after a stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Embeddings, Method, Step
from bench.contracts.recipe import Training
from bench.pretraining.loop import pretrain
from bench.pretraining.training_run import TrainingRun

INFO = DatasetInfo(classes=("a", "b"), channels=3, size=8)
IMAGES = Images(
    torch.randint(0, 256, (45, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(45) % 2,
)
ROWS, DIM = 24, 6


class Stopped(Exception):
    """Stands for the end of a process."""


class Doubled(nn.Module):
    """Makes what follows compute in float64: two sums in another order then agree."""

    def forward(self, x: Tensor) -> Tensor:
        return x.double()


class Keeping(Method):
    """A method with all that is kept: a queue and its end, a centre, a covariance, a momentum network."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        layers = [Doubled(), nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(100, DIM)]
        super().__init__(nn.Sequential(*layers), DIM, None, INFO)
        self.target = nn.Sequential(
            Doubled(), nn.Conv2d(3, 4, 3, stride=2), nn.Flatten(), nn.Linear(100, DIM)
        )
        self.target.requires_grad_(requires_grad=False)
        self.register_buffer("queue", F.normalize(torch.randn(ROWS, DIM), dim=1))
        self.register_buffer("end", torch.zeros((), dtype=torch.int64))
        self.register_buffer("full", torch.zeros((), dtype=torch.bool))
        self.register_buffer("centre", torch.zeros(DIM))
        self.register_buffer("covariance", torch.zeros(DIM, DIM))
        self.double()
        self.steps: list[Step] = []
        self.seen: list[Batch] = []

    def before_step(self, step: Step) -> None:
        self.steps.append(step)
        self.centre.add_(1e-3 * torch.rand(DIM, dtype=torch.float64))

    def draw(self, count: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        return {"mask": torch.rand(count, 3, 1, 1, generator=generator) < 0.5}

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        self.seen.append(batch)
        with torch.no_grad():
            keys = self.target(views[1])
        return {"queries": self.backbone(views[0] * batch.draws["mask"]), "keys": keys}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        queries, keys = (F.normalize(z, dim=1).double() for z in embeddings.values())
        positive = (queries * keys).sum(dim=1, keepdim=True)
        logits = torch.cat([positive, queries @ self.queue.T - queries @ self.centre[:, None]], dim=1) / 0.2
        labels = torch.zeros(len(logits), dtype=torch.int64)
        noise = torch.rand((), dtype=torch.float64)
        covariance = self._moved(queries)
        return {"contrast": F.cross_entropy(logits, labels), "spread": noise * covariance.square().sum()}

    def _moved(self, queries: Tensor) -> Tensor:
        return 0.9 * self.covariance + 0.1 * queries.T @ queries / len(queries)

    def after_batch(self, embeddings: Embeddings, batch: Batch) -> None:
        queries, keys = (F.normalize(z, dim=1).double() for z in embeddings.values())
        places = (self.end + torch.arange(len(keys))) % ROWS
        self.queue[places] = keys
        self.full.logical_or_(self.end + len(keys) >= ROWS)
        self.end.copy_((self.end + len(keys)) % ROWS)
        self.centre.lerp_(keys.mean(dim=0), 0.1)
        self.covariance.copy_(self._moved(queries))

    def after_step(self, step: Step) -> None:
        for mine, other in zip(self.target.parameters(), self.backbone.parameters(), strict=True):
            mine.lerp_(other.detach(), 0.1 * (1 - step.progress))


def run_in(folder: Path, **changes: Any) -> TrainingRun:
    """Return a run of 3 epochs of batches of 10; what is given is of `Training`, but for `run`."""
    run: dict[str, Any] = changes.pop("run", {})
    settings = {
        "epochs": 3, "batch_size": 10, "image_size": 12, "precision": "float32", "optimizer": "sgd",
        "lr": 0.05, "weight_decay": 0.0, "momentum": 0.9, "warmup_epochs": 0.0, **changes,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    return TrainingRun(
        what="the run", key="key", training=Training(**settings), views=(View(), View()), mean=(0.5,) * 3,
        std=(0.2,) * 3, seed=0, device=torch.device("cpu"), folder=folder, **run,
    )  # fmt: skip


def trained(folder: Path, **changes: Any) -> Keeping:
    method = Keeping()
    pretrain(method, IMAGES, run_in(folder, **changes))
    return method


def largest_difference(one: Method, other: Method) -> float:
    """Return the largest difference between two states, of numbers around one."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("chunk_size", [2, 4, 7])
def test_in_chunks_a_method_keeps_what_it_keeps_of_the_whole_batch(
    tmp_path: Path, chunk_size: int, accumulate: int
) -> None:
    whole = trained(tmp_path / "whole", accumulate=accumulate)
    chunked = trained(tmp_path / "chunked", accumulate=accumulate, chunk_size=chunk_size)
    fresh = Keeping()

    assert largest_difference(whole, chunked) < 1e-9
    assert torch.equal(whole.end, chunked.end)
    assert bool(whole.full)
    assert bool(chunked.full)
    for name in ("queue", "centre", "covariance", "target.1.weight"):
        assert not torch.allclose(whole.state_dict()[name], fresh.state_dict()[name])


def test_accumulated_batches_are_all_in_the_queue(tmp_path: Path) -> None:
    method = trained(tmp_path, epochs=1, accumulate=2)

    assert int(method.end) == 4 * 10 % ROWS
    assert len(method.steps) == 2
    assert len(method.seen) == 4


@pytest.mark.parametrize("changes", [{}, {"chunk_size": 4}, {"accumulate": 2, "chunk_size": 5}])
def test_a_stopped_training_goes_on_with_what_was_kept_bit_for_bit(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    def stop(done: int, metrics: Mapping[str, float]) -> None:
        if done == 2:
            raise Stopped

    whole, second = trained(tmp_path / "whole", **changes), Keeping(seed=1)
    parts = run_in(tmp_path / "parts", run={"checkpoint_every_s": 0.0}, **changes)
    with pytest.raises(Stopped):
        pretrain(Keeping(), IMAGES, replace(parts, on_epoch=stop))
    pretrain(second, IMAGES, parts)

    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())


def test_what_is_drawn_for_an_image_is_the_same_in_chunks(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", epochs=1)
    chunked = trained(tmp_path / "chunked", epochs=1, chunk_size=4)
    first = chunked.seen[:3]

    assert torch.equal(torch.cat([part.draws["mask"] for part in first]), whole.seen[0].draws["mask"])
    assert torch.equal(torch.cat([part.index for part in first]), whole.seen[0].index)
    assert not torch.equal(whole.seen[0].draws["mask"], whole.seen[1].draws["mask"])


def test_a_method_knows_where_the_training_is_and_whether_a_graph_is_recorded(tmp_path: Path) -> None:
    method = trained(tmp_path, epochs=2, chunk_size=5)
    steps = [batch.step for batch in method.seen]

    assert [step.number for step in method.steps] == list(range(8))
    assert [step.epoch for step in method.steps] == [0] * 4 + [1] * 4
    assert {(step.total, step.epochs) for step in steps} == {(8, 2)}
    assert [step.with_gradient for step in steps[:4]] == [False, False, True, True]
    assert [step.progress for step in method.steps] == [number / 8 for number in range(8)]
