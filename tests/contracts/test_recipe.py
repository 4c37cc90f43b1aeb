"""A recipe and what is set over it give one training."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from bench.config import build
from bench.contracts.recipe import ParamGroup, Recipe, TrainConfig, Training, resolve
from bench.errors import BadValue, UnknownName
from bench.keys import digest

SQRT = Recipe(optimizer="lars", lr=0.075, lr_scaling="sqrt", weight_decay=1e-6, source="a paper")
LINEAR = Recipe(optimizer="lars", lr=0.3, lr_scaling="linear", weight_decay=1e-6, source="a paper")


ADAMW = Recipe(
    optimizer="adamw", lr=5e-4, lr_scaling="linear", weight_decay=0.04, betas=(0.9, 0.95), min_lr=1e-6,
    weight_decay_end=0.4, clip_norm=3.0, clip_scope="parameter", layer_decay=0.75, source="a paper",
    groups=(ParamGroup(match="head.*", freeze_epochs=1),),
)  # fmt: skip


def resolved(recipe: Recipe = SQRT, **settings: Any) -> Training:
    return resolve(recipe, build(TrainConfig, settings, "train"), 32, "float32")


def test_what_is_not_set_is_the_recipes() -> None:
    training = resolved()

    assert (training.optimizer, training.weight_decay, training.momentum) == ("lars", 1e-6, 0.9)
    assert (training.epochs, training.batch_size, training.image_size, training.precision) == (
        100,
        256,
        32,
        "float32",
    )


def test_what_is_set_takes_the_recipes_place() -> None:
    training = resolved(
        optimizer="sgd", lr=0.2, lr_scaling="none", weight_decay=0, momentum=0.5, warmup_epochs=3
    )

    assert (training.optimizer, training.lr, training.weight_decay) == ("sgd", 0.2, 0)
    assert (training.momentum, training.warmup_epochs) == (0.5, 3)


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
        ({"betas": 0.9}, BadValue),
        ({"betas": [0.9, 1]}, BadValue),
        ({"min_lr": -1}, BadValue),
        ({"clip_norm": -1}, BadValue),
        ({"clip_scope": "group"}, BadValue),
        ({"layer_decay": 0}, BadValue),
        ({"layer_decay": 1.1}, BadValue),
        ({"learning_rate": 1}, UnknownName),
    ],
)
def test_a_training_that_makes_no_sense_is_refused(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^train"):
        build(TrainConfig, settings, "train")


# ---- what came later


def test_a_plain_training_says_in_its_key_what_it_always_said() -> None:
    assert resolved().key_fields() == {
        "epochs": 100,
        "batch_size": 256,
        "image_size": 32,
        "precision": "float32",
        "optimizer": "lars",
        "lr": 0.075 * 16,
        "weight_decay": 1e-6,
        "momentum": 0.9,
        "warmup_epochs": 10.0,
    }


def test_a_recipe_says_all_of_the_training() -> None:
    training = resolved(ADAMW, batch_size=512)

    assert training.key_fields() == {
        "epochs": 100,
        "batch_size": 512,
        "image_size": 32,
        "precision": "float32",
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 0.04,
        "momentum": 0.9,
        "warmup_epochs": 10.0,
        "betas": [0.9, 0.95],
        "min_lr": 2e-6,
        "weight_decay_end": 0.4,
        "clip_norm": 3.0,
        "clip_scope": "parameter",
        "layer_decay": 0.75,
        "groups": [{"match": "head.*", "freeze_epochs": 1}],
    }
    assert digest(training.key_fields()) != digest(resolved(ADAMW).key_fields())


def test_the_lowest_learning_rate_scales_as_the_highest() -> None:
    training = resolved(SQRT, min_lr=0.0075, batch_size=1024)

    assert training.min_lr == pytest.approx(training.lr / 10)


def test_what_a_recipe_says_is_taken_back_by_a_setting() -> None:
    plain = resolved(ADAMW, clip_norm=0, layer_decay=1, weight_decay_end=0.04, min_lr=0, betas=[0.9, 0.999])

    assert set(plain.key_fields()) == {*resolved().key_fields(), "groups"}


def test_what_a_recipe_says_of_its_optimizer_is_not_said_of_another() -> None:
    training = resolved(ADAMW, optimizer="sgd", lr=0.1)

    assert training.betas == (0.9, 0.999)
    assert (training.clip_norm, training.weight_decay_end) == (3.0, 0.4)


def test_a_number_of_a_group_is_one_key_however_it_is_written() -> None:
    whole, real = (
        Recipe(optimizer="sgd", lr=1, lr_scaling="none", weight_decay=0, source="ours",
               groups=(ParamGroup(match="*", lr_factor=factor, weight_decay=decay),))
        for factor, decay in ((2, 0), (2.0, 0.0))
    )  # fmt: skip

    assert digest(resolved(whole).key_fields()) == digest(resolved(real).key_fields())


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        (
            SQRT,
            {"betas": [0.9, 0.95]},
            "^train.betas: lars has none, adamw has. Leave it out, or set train.opt",
        ),
        (SQRT, {"nesterov": True}, "^train.nesterov: lars has none, sgd has."),
        (ADAMW, {"nesterov": True}, "^train.nesterov: adamw has none, sgd has."),
        (ADAMW, {"trust": 0.02}, "^train.trust: adamw has none, lars has."),
        (ADAMW, {"clip_trust": True}, "^train.clip_trust: adamw has none, lars has."),
        (
            SQRT,
            {"optimizer": "sgd", "lr": 1, "nesterov": True, "momentum": 0},
            "^train.nesterov: it needs momen",
        ),
        (SQRT, {"clip_scope": "all"}, "^train.clip_scope: no gradient is clipped."),
        (ADAMW, {"clip_scope": "all", "clip_norm": 0}, "^train.clip_scope: no gradient is clipped."),
        (ADAMW, {"lr": 1e-7}, "^train.min_lr: 1e-06 is more than the learning rate 1e-07"),
        (SQRT, {"min_lr": 1}, "^train.min_lr: 1 is more than the learning rate 0.075"),
    ],
)
def test_what_cannot_be_or_would_do_nothing_is_refused(
    recipe: Recipe, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadValue, match=message) as caught:
        resolved(recipe, **settings)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, "^recipe.optimizer: 'adam' is not one of its values. Did you mean 'adamw'"),
        ({"momentum": 1.0}, "^recipe.momentum: 1 is out of range"),
        ({"betas": (0.9, 0.95)}, "^recipe.betas: lars has none, adamw has."),
        ({"nesterov": True}, "^recipe.nesterov: lars has none, sgd has."),
        ({"clip_norm": -1.0}, "^recipe.clip_norm: -1 is out of range"),
        ({"lr_scaling": "lin"}, "^recipe.lr_scaling: 'lin' is not .* Did you mean 'linear'"),
        ({"clip_scope": "params"}, "^recipe.clip_scope: 'params' is not .* Known: all, parameter"),
        ({"lr": "fast"}, "^recipe.lr: 'fast' is str. Use a number."),
        ({"lr": 0.0}, "^recipe.lr: 0 is out of range. Use more than 0"),
        ({"weight_decay": -1.0}, "^recipe.weight_decay: -1 is out of range"),
        ({"warmup_epochs": math.nan}, "^recipe.warmup_epochs: nan is out of range"),
        ({"layer_decay": 1.5}, "^recipe.layer_decay: 1.5 is out of range"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_when_it_is_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadValue, match=message) as caught:
        replace(SQRT, **changes)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freeze_epochs": -1}, r"^group a\.\*\.freeze_epochs: -1 is out of range"),
        ({"lr_factor": -0.5}, r"^group a\.\*\.lr_factor: -0.5 is out of range"),
        ({"max_ndim": 1.5}, r"^group a\.\*\.max_ndim: 1.5 is float. Use a whole number"),
        ({"adapt": "no"}, r"^group a\.\*\.adapt: 'no' is str. Use true or false"),
    ],
)
def test_a_group_that_cannot_be_is_refused_when_it_is_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        ParamGroup(match="a.*", **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, "^training.optimizer: 'adam' is not .* Did you mean 'adamw'"),
        ({"precision": "float"}, "^training.precision: 'float' is not .* Did you mean .*'float"),
        ({"precision": "auto"}, "^training.precision: auto is not resolved"),
        ({"clip_scope": "some"}, "^training.clip_scope: 'some' is not one of its values"),
    ],
)
def test_a_training_of_names_that_do_not_exist_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        replace(resolved(), **changes)
