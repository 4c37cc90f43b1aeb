"""Views are made one batch ahead, let go of when they are taken, and change no number.

A stream that works at once stands for that of a GPU: what is shown is what is launched where and when.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Method
from bench.contracts.recipe import Training
from bench.pretraining import loop
from bench.pretraining.prefetch import Make, ReadyBatch, hand_over_once, open_side_stream, stay_one_ahead
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry

INFO = DatasetInfo(classes=("a", "b"), channels=3, size=8)
IMAGES = Images(
    torch.randint(0, 256, (45, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(45) % 2,
)
TIMES = ("seconds", "images_per_s")
CHANGES: tuple[dict[str, Any], ...] = ({}, {"accumulate": 2})


class AtOnce:
    """Stands for the side stream of a GPU: makes views as soon as they are begun."""

    def __init__(self) -> None:
        self.begun = 0

    def prefetch(self, batches: Iterator[ReadyBatch]) -> Iterator[ReadyBatch]:
        return stay_one_ahead(batches, self.begin)

    def begin(self, make: Make) -> Make:
        self.begun += 1
        return hand_over_once(make())


def make_method() -> Method:
    torch.manual_seed(0)
    cls: Any = Registry.load().load_class("methods", "simclr")
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    method: Method = cls(nn.Sequential(*layers), 4, cls.Config(hidden_dim=16, embedding_dim=8), INFO)
    return method


def run_in(folder: Path, **changes: Any) -> TrainingRun:
    folder.mkdir()
    training = Training(
        epochs=3, batch_size=10, image_size=12, precision="float32", optimizer="sgd", lr=0.05,
        weight_decay=1e-3, momentum=0.9, warmup_epochs=0.5, **changes,
    )  # fmt: skip
    return TrainingRun(
        what="the run", key="key", training=training, views=(View(), View(blur=0.5)), mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3), seed=0, device=torch.device("cpu"), folder=folder,
    )  # fmt: skip


def batches(log: list[str], count: int) -> Iterator[ReadyBatch]:
    """Yield batches of two images, and log when each is asked for and when its views are made."""

    def make(number: int, rows: slice) -> list[Tensor]:
        log.append(f"made {number}")
        assert rows == slice(0, 2)
        return [torch.full((2,), float(number))]

    for number in range(count):
        log.append(f"asked {number}")
        batch = Batch(torch.arange(2), torch.arange(2))
        yield ReadyBatch(number, batch, lambda rows, number=number: make(number, rows))


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_views_are_made_once_while_the_batch_before_is_trained_on(count: int) -> None:
    log: list[str] = []
    for ready in stay_one_ahead(batches(log, count), AtOnce().begin):
        log.append(f"trained {ready.number}")
        (x,) = ready.views(slice(0, 2))
        assert x.tolist() == [ready.number] * 2

    expected = [f"{word} 0" for word in ("asked", "made")[: 2 * count]]
    for number in range(count):
        following = [f"{word} {number + 1}" for word in ("asked", "made")] if number + 1 < count else []
        expected += [*following, f"trained {number}"]
    assert log == expected


def test_views_are_let_go_of_when_they_are_taken() -> None:
    views = [torch.zeros(3), torch.ones(3)]
    take = hand_over_once(views)

    assert [x.tolist() for x in take()] == [[0, 0, 0], [1, 1, 1]]
    assert views == []


@pytest.mark.parametrize("changes", CHANGES, ids=["whole", "accumulated"])
def test_a_training_with_views_made_ahead_is_bitwise_the_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    plain, ahead, stream = make_method(), make_method(), AtOnce()
    loop.pretrain(plain, IMAGES, run_in(tmp_path / "plain", **changes))
    monkeypatch.setattr(loop, "open_side_stream", lambda _device, _chunks, _ranks: stream)
    loop.pretrain(ahead, IMAGES, run_in(tmp_path / "ahead", **changes))
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("plain", "ahead")
    ]
    losses = [[{k: v for k, v in line.items() if k not in TIMES} for line in epochs] for epochs in lines]

    assert stream.begun == 3 * 4  # epochs, batches
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), ahead.parameters(), strict=True))


@pytest.mark.parametrize(("kind", "chunks"), [("cpu", 1), ("cpu", 2), ("mps", 1), ("cuda", 2)])
def test_nothing_is_made_ahead_where_it_would_take_time_or_the_memory_that_chunks_save(
    kind: str, chunks: int
) -> None:
    assert open_side_stream(torch.device(kind), chunks) is None
