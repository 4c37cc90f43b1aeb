"""What of a request changes nothing is said."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import SMALL, Lab, as_axis

from bench.planning.planner import plan_grid
from bench.planning.request import Request

USUAL = {"method": ("random",), "backbone": ("test_resnet",), "evaluator": ("knn",)}


def notes_of(lab: Lab, settings: dict[str, Any] | None = None, **axes: Any) -> tuple[str, ...]:
    small = {"dataset.max_train": (48,)}
    chosen = {**USUAL, **{name: as_axis(value) for name, value in axes.items()}}
    merged = {**small, **{name: as_axis(value) for name, value in (settings or {}).items()}}
    return plan_grid(Request(**chosen, settings=merged), lab.registry, lab.datasets).notes


@pytest.mark.parametrize(
    ("axes", "settings", "note"),
    [
        ({}, {"train.epochs": 3}, "--epochs: it changes nothing, for nothing is trained."),
        ({}, {"train.lr": 0.1}, "--set train.lr: it changes nothing, for nothing is trained."),
        ({}, {"views.flip": 0.1}, "--set views.flip: it changes nothing, for nothing is trained."),
        (
            {"method": "simclr"},
            {**SMALL, "method.temperature": 0.1, "simclr.temperature": 0.2},
            "--set method.temperature: it changes nothing, for another setting goes before it.",
        ),
        (
            {"method": "pixels", "backbone": "resnet18"},
            {},
            "--backbone resnet18: it is in no cell, for pixels has a backbone of its own.",
        ),
        (
            {"evaluator": "geometry", "label_frac": 0.5},
            {},
            "--label-frac: it changes nothing, for geometry takes no share of the labels.",
        ),
        (
            {"evaluator": "geometry", "shots": 5},
            {},
            "--shots: it changes nothing, for geometry takes no share of the labels.",
        ),
        (
            {"keep_one": True, "label_frac": 0.5},
            {},
            "--keep-one: it changes nothing, for no share of the labels leaves a class without an image.",
        ),
        (
            {},
            {"dataset.name": "Numbers", "digits.name": "Figures"},
            "--set dataset.name: it changes nothing, for another setting goes before it.",
        ),
    ],
)
def test_what_is_asked_for_in_vain_is_said(
    lab: Lab, axes: dict[str, Any], settings: dict[str, Any], note: str
) -> None:
    assert notes_of(lab, settings, **axes) == (note,)


def test_nothing_is_said_of_what_is_used(lab: Lab) -> None:
    assert notes_of(lab, {"train.image_size": 16}) == ()
    assert notes_of(lab, {**SMALL, "method.temperature": 0.2}, method=("simclr", "random")) == ()
    assert notes_of(lab, {}, method=("random", "pixels"), backbone="resnet18") == ()
    assert notes_of(lab, {}, evaluator=("knn", "geometry"), label_frac=(0.5, 1.0)) == ()
    assert notes_of(lab, {}, shots=1, label_frac=(), evaluator="linear") == ()
    assert notes_of(lab, {"dataset.name": "Numbers"}) == ()
    assert notes_of(lab, {"eval_dataset.name": "Numbers"}) == ()
    assert notes_of(lab, {}, keep_one=True, label_frac=0.03) == ()


def test_views_under_two_names_are_said_to_be_one(lab: Lab) -> None:
    ops = (("crop", "blur"), ("blur", "crop"), ("crop", "blur", "flip"), ("crop",))

    assert notes_of(lab, {**SMALL, "views.blur": 0.5, "views.ops": ops}, method="simclr") == (
        "views.ops=[crop, blur] and views.ops=[blur, crop] give simclr the same views: they are one.",
        "views.ops=[crop, blur] and views.ops=[crop, blur, flip] give simclr the same views: they are one.",
    )  # a flipped digit is another one


def test_other_numbers_under_two_names_are_said_to_be_one(lab: Lab) -> None:
    settings = {**SMALL, "train.chunk_size": (16, 32), "train.batch_size": 16}

    assert notes_of(lab, settings, method="simclr") == (
        "train.chunk_size=16 and train.chunk_size=32 give simclr the same numbers: they are one.",
    )


def test_one_value_in_two_spellings_is_no_news(lab: Lab) -> None:
    assert notes_of(lab, {**SMALL, "views.blur": (0, 0.0)}, method="simclr") == ()
