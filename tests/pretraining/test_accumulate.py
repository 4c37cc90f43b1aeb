"""Accumulated batches: the mean of their gradients, and steps that are the optimiser's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import (
    IMAGES,
    REGISTRY,
    Watching,
    apart,
    exact,
    gradients,
    lines,
    method_of,
    run_in,
)

from bench.config import build
from bench.contracts.recipe import TrainConfig, resolve
from bench.pretraining.loop import pretrain


def test_accumulated_batches_give_the_mean_of_their_gradients(tmp_path: Path) -> None:
    images = IMAGES.take(torch.arange(40))
    watching, fresh = Watching(method_of("simclr")), method_of("simclr")
    found = gradients(watching, tmp_path, images, accumulate=2)
    for views, batch in zip(watching.views, watching.batches, strict=True):
        terms = fresh.terms(fresh.embed(views, batch), batch)
        (terms["contrastive"] / 2).backward()
    wanted = {f"inner.{name}": p.grad for name, p in fresh.named_parameters() if p.grad is not None}
    found = {name.replace("backbone", "inner.backbone", 1) if name.startswith("backbone") else name: grad
             for name, grad in found.items()}  # fmt: skip

    assert len(watching.views) == 2
    assert apart(found, wanted) < 1e-6


def test_accumulated_batches_are_not_a_large_batch_and_chunks_are(tmp_path: Path) -> None:
    images = IMAGES.take(torch.arange(40))
    ways = {"large": {}, "chunked": {"chunk_size": 20}, "accumulated": {"batch_size": 20, "accumulate": 2}}
    found = {
        name: gradients(exact("simclr"), tmp_path / name, images, **{"batch_size": 40, **way})
        for name, way in ways.items()
    }
    loss = {name: lines(tmp_path / name)[0]["loss"] for name in ways}

    assert loss["chunked"] == pytest.approx(loss["large"], rel=1e-6)
    assert loss["accumulated"] < loss["large"] - 0.5  # 39 others in the place of 79
    assert apart(found["chunked"], found["large"]) < 1e-6
    assert apart(found["accumulated"], found["large"]) > 1e-2


def test_accumulated_batches_may_be_in_chunks(tmp_path: Path) -> None:
    settings = {"accumulate": 2, "epochs": 2}
    whole = gradients(exact("vicreg"), tmp_path, IMAGES, **settings)
    chunked = gradients(exact("vicreg"), tmp_path, IMAGES, chunk_size=6, **settings)

    assert apart(chunked, whole) < 1e-6


def test_every_batch_of_a_step_has_views_of_its_own(tmp_path: Path) -> None:
    watching = Watching(method_of("simclr"))
    pretrain(watching, IMAGES.take(torch.zeros(40, dtype=torch.int64)), run_in(tmp_path, accumulate=2))
    first, second = (views[0] for views in watching.views)

    assert not torch.equal(first, second)


def test_steps_are_those_of_the_optimiser_and_what_is_left_for_half_a_step_is_dropped(tmp_path: Path) -> None:
    watching = Watching(method_of("simclr"))
    pretrain(watching, IMAGES, run_in(tmp_path, batch_size=9, accumulate=2, epochs=3))
    index = torch.cat([batch.index for batch in watching.batches[:4]])

    assert [line["step"] for line in lines(tmp_path)] == [2, 4, 6]
    assert watching.progress == pytest.approx([step / 6 for step in range(6)])
    assert [len(batch.index) for batch in watching.batches] == [9] * 12
    assert len(index.unique()) == 36


def test_the_learning_rate_is_of_the_images_of_a_step() -> None:
    def lr(name: str, **settings: Any) -> float:
        recipe = REGISTRY.load_class("methods", name).recipe
        return resolve(recipe, build(TrainConfig, settings, "train"), 32, "float32").lr

    assert lr("simclr", batch_size=64, accumulate=4) == lr("simclr", batch_size=256)
    assert lr("supervised", batch_size=64, accumulate=4) == lr("supervised", batch_size=256)
    assert lr("simclr", batch_size=256, chunk_size=64) == lr("simclr", batch_size=256)
