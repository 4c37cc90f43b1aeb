"""How chunks are cut, what of large batches is in a key and a record, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import Lab
from tiny_training import (
    REGISTRY,
)

from bench.config import build
from bench.contracts.recipe import TrainConfig, even_chunk, resolve
from bench.errors import BadValue
from bench.inspection.estimates import Estimator
from bench.pretraining.gradient_cache import even_chunks


@pytest.mark.parametrize(
    ("batch", "asked", "sizes"),
    [
        (4096, 256, [256] * 16),
        (20, 7, [7, 7, 6]),
        (256, 200, [128, 128]),
        (9, 8, [5, 4]),
        (5, 2, [3, 2]),
        (3, 2, [3]),
        (9, 2, [3, 3, 3]),
        (20, 20, [20]),
        (20, 400, [20]),
        (20, None, [20]),
    ],
)
def test_chunks_are_even_and_none_is_of_one_image(batch: int, asked: int | None, sizes: list[int]) -> None:
    rows = even_chunks(batch, even_chunk(batch, asked))

    assert sorted((row.stop - row.start for row in rows), reverse=True) == sizes
    assert torch.cat([torch.arange(batch)[row] for row in rows]).tolist() == list(range(batch))


def test_only_what_is_set_is_in_the_key(lab: Lab) -> None:
    def key(**settings: Any) -> str:
        told = {f"train.{name}": value for name, value in {"batch_size": 16, **settings}.items()}
        return lab.plan(told, method="simclr")[0].keys.backbone

    assert {key(), key(accumulate=1), key(chunk_size=16), key(chunk_size=99)} == {key()}
    assert len({key(), key(chunk_size=8), key(chunk_size=4), key(accumulate=2)}) == 4
    assert key(chunk_size=12) == key(chunk_size=8)  # two chunks of eight, either way


def test_a_training_without_either_says_what_it_always_said() -> None:
    recipe = REGISTRY.load_class("methods", "simclr").recipe
    plain = resolve(recipe, build(TrainConfig, {}, "train"), 32, "float32")
    large = replace(plain, chunk_size=64, accumulate=2)

    assert list(plain.key_fields()) == [
        *("epochs", "batch_size", "image_size", "precision", "optimizer", "lr", "weight_decay", "momentum"),
        "warmup_epochs",
    ]
    assert large.key_fields() == {**plain.key_fields(), "chunk_size": 64, "accumulate": 2}


@pytest.mark.parametrize("settings", [{"train.chunk_size": 4}, {"train.accumulate": 2}])
def test_a_large_batch_is_run_and_recorded(lab: Lab, settings: dict[str, Any]) -> None:
    cells = lab.plan({"train.batch_size": 16, **settings}, method="simclr", evaluator="knn")
    (outcome,) = lab.run(cells)
    ((name, value),) = settings.items()
    estimate = Estimator(lab.datasets, lab.registry, torch.device("cpu")).pretraining(cells[0])

    assert outcome["status"] == "ok"
    assert outcome["config"]["training"][name.removeprefix("train.")] == value
    assert estimate.likely > 0
    assert not estimate.unknown


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train.chunk_size": 1}, r"^train.chunk_size: 1 is out of range. Use at least 2\.$"),
        ({"train.accumulate": 0}, r"^train.accumulate: 0 is out of range. Use at least 1\.$"),
        (
            {"train.batch_size": 16, "train.accumulate": 4, "train.chunk_size": 8},
            r"^train.accumulate: a step takes 4 batches of 16 images, but digits has 48 to train on\. Set",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(lab: Lab, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        lab.plan(settings, method="simclr")
