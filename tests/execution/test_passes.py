"""A record says how many images a training saw in all views, and how many passes that took."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Lab

from bench.reporting.metric_choice import COSTS, choose_metrics, metric_of

BATCH, STEPS, EPOCHS = 16, 3, 2
SMALL_BATCHES = {"train.batch_size": BATCH, "train.epochs": EPOCHS}
SWAV = {"method.local_views": 2, "method.prototypes": 8, "method.queue_size": 0}


def passes_of(lab: Lab, method: str, settings: dict[str, Any], backbone: str = "test_resnet") -> Any:
    (record,) = lab.run(lab.plan({**SMALL_BATCHES, **settings}, method=method, backbone=backbone))
    assert record["status"] == "ok", record
    return record["cost"]["passes"]


@pytest.mark.parametrize(
    ("method", "settings", "backbone", "expected"),
    [
        ("simclr", {}, "test_resnet", (2, 2, 2)),
        ("simclr", {"train.chunk_size": 8}, "test_resnet", (2, 4, 2)),  # embedded, then for the gradient
        ("simclr", {"train.accumulate": 3}, "test_resnet", (2, 2, 2)),
        ("byol", {}, "test_resnet", (2, 4, 2)),
        ("swav", {**SWAV, "train.image_size": 32}, "test_resnet", (2 + 2 * (14 / 32) ** 2,) * 3),
        pytest.param(  # one of four patches is seen
            "mae", {"train.image_size": 32}, "test_vit", (1, 0.25, 0.25), marks=pytest.mark.long
        ),
        ("supervised", {}, "test_resnet", (1, 1, 1)),
    ],
)
def test_passes_are_counted_in_images_of_the_runs_size(
    lab: Lab, method: str, settings: dict[str, Any], backbone: str, expected: tuple[float, ...]
) -> None:
    passes = passes_of(lab, method, settings, backbone)
    step_images = BATCH * settings.get("train.accumulate", 1)
    steps = STEPS if step_images == BATCH else 1
    names = ("views", "forward", "backward")

    assert [passes["step"][name] / step_images for name in names] == pytest.approx(expected)
    for name, count in passes["step"].items():
        assert passes["epoch"][name] == pytest.approx(steps * count)
        assert passes["run"][name] == pytest.approx(EPOCHS * steps * count)


def test_what_a_training_took_can_be_put_into_a_table(lab: Lab) -> None:
    records = lab.run(lab.plan(SMALL_BATCHES, method=("byol", "random")))
    byol, random = records
    choice = choose_metrics(records, ("top1", "forward_passes"))

    assert choice.metrics == ("top1", "forward_passes")
    assert metric_of(byol, "forward_passes") == {
        "value": 4 * EPOCHS * STEPS * BATCH,
        "higher_is_better": None,
    }
    assert metric_of(random, "forward_passes") is None
    assert metric_of(byol, "top1") == byol["metrics"]["top1"]
    assert all(metric_of(byol, name) is not None for name in COSTS)
