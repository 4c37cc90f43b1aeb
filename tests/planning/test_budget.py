"""`train.budget` gives every method as many images, seen in all its views, as any other."""

from __future__ import annotations

import pytest
from conftest import Lab
from small_runs import line_of, run

from bench.errors import BadValue

EPOCH = 48  # images that fill three steps of 16
SWAV = {"method.local_views": 2, "method.prototypes": 8}


def epochs_of(lab: Lab, budget: float, method: str, **settings: object) -> int:
    (cell,) = lab.plan({"train.epochs": None, "train.budget": budget, **settings}, method=method)
    assert cell.training is not None
    return cell.training.epochs


@pytest.mark.parametrize(
    ("method", "views", "settings"),
    [
        ("simclr", 2, {}),
        ("byol", 2, {}),
        ("supervised", 1, {}),
        ("rotnet", 4, {}),  # of one view, turned four times
        ("swav", 2 + 2 * (14 / 32) ** 2, {**SWAV, "train.image_size": 32}),
    ],
)
def test_a_budget_is_spent_on_views(lab: Lab, method: str, views: float, settings: dict[str, object]) -> None:
    for epochs in (1, 7, 100):
        assert epochs_of(lab, epochs * EPOCH * views, method, **settings) == epochs


def test_epochs_are_rounded_to_the_nearest(lab: Lab) -> None:
    assert epochs_of(lab, 2 * EPOCH * 2.4, "simclr") == 2
    assert epochs_of(lab, 2 * EPOCH * 2.6, "simclr") == 3


def test_images_that_fill_no_step_are_not_seen(lab: Lab) -> None:
    assert epochs_of(lab, 10 * 40 * 2, "simclr", **{"train.batch_size": 40}) == 10


def test_a_budget_and_the_epochs_that_it_pays_for_are_one_training(lab: Lab) -> None:
    (by_budget,) = lab.plan({"train.epochs": None, "train.budget": 5 * EPOCH * 2}, method="simclr")
    (by_epochs,) = lab.plan({"train.epochs": 5}, method="simclr")

    assert by_budget.keys == by_epochs.keys


def test_less_than_half_an_epoch_is_refused(lab: Lab) -> None:
    with pytest.raises(BadValue, match=r"train.budget: 40 images are less than half of an epoch, .* sees 96"):
        epochs_of(lab, 40, "simclr")


def test_epochs_beside_a_budget_are_one_line() -> None:
    line = line_of(run("--set", "train.budget=1000"))

    assert line == "Error: train.budget: it says how many epochs there are, as --epochs does. Leave one out."


def test_a_budget_of_more_epochs_than_anyone_waits_for_is_refused(lab: Lab) -> None:
    with pytest.raises(BadValue, match=r"images are 1.04e\+28 epochs, .* At most 1,000,000 can be trained"):
        epochs_of(lab, 1e30, "simclr")
