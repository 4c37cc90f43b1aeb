"""A recipe and what is set over it give one training."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.config import build
from bench.contracts.recipe import Recipe, TrainConfig, Training, resolve
from bench.errors import BadValue, UnknownName
from bench.keys import digest

SQRT = Recipe(optimizer="lars", lr=0.075, lr_scaling="sqrt", weight_decay=1e-6, source="a paper")
LINEAR = Recipe(optimizer="lars", lr=0.3, lr_scaling="linear", weight_decay=1e-6, source="a paper")


def resolved(recipe: Recipe = SQRT, **settings: Any) -> Training:
    return resolve(recipe, build(TrainConfig, settings, "train"), 32, "float32")


def test_what_is_not_set_is_the_recipes() -> None:
    found = resolved()

    assert (found.optimizer, found.weight_decay, found.momentum) == ("lars", 1e-6, 0.9)
    assert (found.epochs, found.batch_size, found.image_size, found.precision) == (100, 256, 32, "float32")


def test_what_is_set_takes_the_recipes_place() -> None:
    found = resolved(
        optimizer="sgd", lr=0.2, lr_scaling="none", weight_decay=0, momentum=0.5, warmup_epochs=3
    )

    assert (found.optimizer, found.lr, found.weight_decay) == ("sgd", 0.2, 0)
    assert (found.momentum, found.warmup_epochs) == (0.5, 3)


def test_the_two_scalings_of_simclr_meet_at_a_batch_of_4096() -> None:
    assert resolved(LINEAR, batch_size=4096).lr == pytest.approx(4.8)
    assert resolved(SQRT, batch_size=4096).lr == pytest.approx(4.8)
    assert resolved(SQRT, batch_size=256).lr > resolved(LINEAR, batch_size=256).lr


@pytest.mark.parametrize("batch_size", [2, 64, 256, 1000])
def test_the_learning_rate_scales_with_the_batch(batch_size: int) -> None:
    assert resolved(LINEAR, batch_size=batch_size).lr == pytest.approx(0.3 * batch_size / 256)
    assert resolved(SQRT, batch_size=batch_size).lr == pytest.approx(0.075 * math.sqrt(batch_size))
    assert resolved(SQRT, batch_size=batch_size, lr_scaling="none").lr == 0.075


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0.1), (10, 1), (50, 5), (100, 10), (1000, 10)])
def test_the_warm_up_is_at_most_a_tenth_of_the_run(epochs: int, warmup: float) -> None:
    assert resolved(epochs=epochs).warmup_epochs == pytest.approx(warmup)


def test_a_warm_up_that_is_set_is_capped_as_well() -> None:
    assert resolved(epochs=20, warmup_epochs=15).warmup_epochs == 2
    assert resolved(epochs=20, warmup_epochs=0).warmup_epochs == 0


def test_another_optimizer_without_its_own_learning_rate_is_refused() -> None:
    with pytest.raises(BadValue, match=r"train.optimizer: adamw needs .* 0.075 is for lars. Set train.lr."):
        resolved(optimizer="adamw")

    assert resolved(optimizer="adamw", lr=0.001, lr_scaling="none").lr == 0.001


def test_the_recipes_own_optimizer_may_be_named_without_a_learning_rate() -> None:
    assert resolved(optimizer="lars") == resolved()


def test_what_is_set_to_what_it_is_anyway_is_the_same_key() -> None:
    same = resolved(warmup_epochs=10, momentum=0.9, weight_decay=1e-6, lr=0.075)
    whole = Recipe(
        optimizer="sgd", lr=1, lr_scaling="none", weight_decay=0, momentum=0, warmup_epochs=5, source="ours"
    )

    assert digest(vars(same)) == digest(vars(resolved()))
    assert digest(vars(resolved(whole))) == digest(vars(resolved(whole, lr=1.0, weight_decay=0.0)))


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"lr": 0}, BadValue),
        ({"lr": -1}, BadValue),
        ({"epochs": 0}, BadValue),
        ({"batch_size": 1}, BadValue),
        ({"image_size": 7}, BadValue),
        ({"momentum": 1}, BadValue),
        ({"precision": "half"}, BadValue),
        ({"optimizer": "adam"}, BadValue),
        ({"learning_rate": 1}, UnknownName),
    ],
)
def test_a_training_that_makes_no_sense_is_refused(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^train"):
        build(TrainConfig, settings, "train")
