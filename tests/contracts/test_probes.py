"""A choice on folds is made on held-out rows alone, and said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bench.api import Features, Task, choose_on_folds, is_near_best, pick_best

ROWS = torch.arange(12)


def fold(part: int) -> tuple[Tensor, Tensor]:
    """Return a third of the rows as held out, and the others to fit."""
    held_out = ROWS % 3 == part  # noqa: SIM300 - a tensor
    return ROWS[~held_out], ROWS[held_out]


FOLDS = tuple(fold(k) for k in range(3))
TRAIN = Features(torch.eye(12), ROWS % 2)
TASK = Task(
    train=TRAIN,
    test=Features(torch.full((4, 12), torch.nan), torch.zeros(4, dtype=torch.int64)),  # not looked at
    folds=FOLDS,
    classes=("even", "odd"),
    seed=0,
    device=torch.device("cpu"),
)


def logits_of(right: float) -> Callable[[Tensor], Tensor]:
    """Return what is right by so much of every row of `TRAIN`."""

    def predict(x: Tensor) -> Tensor:
        labels = x.argmax(1) % 2
        return torch.stack([right * (labels == k) for k in range(2)], 1).float()

    return predict


def test_the_value_that_is_best_on_held_out_rows_is_chosen_and_said() -> None:
    fitted = []

    def fit(rows: Features, value: float) -> Callable[[Tensor], Tensor]:
        fitted.append((rows.x.argmax(1).tolist(), value))
        return logits_of(value)

    value, said = choose_on_folds(TASK, "l2", (-1.0, 2.0, 5.0), fit, default=2.0)

    assert value == 5.0  # as right as 2.0, and likelier
    assert said == {
        "selected": "l2",
        "selected_on": "3-fold cross-validation inside the labelled subset",
        "selected_split": "train",
        "grid": [-1.0, 2.0, 5.0],
        "val_top1": 100.0,
        "grid_edge": True,
        "l2": 5.0,
    }
    assert fitted == [(rows.tolist(), value) for rows, _ in FOLDS for value in (-1.0, 2.0, 5.0)]


@pytest.mark.parametrize(("grid", "folds", "chosen"), [((3.0,), FOLDS, 3.0), ((1.0, 2.0), (), 7.0)])
def test_where_there_is_no_choice_nothing_is_fitted(
    grid: tuple[float, ...], folds: tuple[tuple[Tensor, Tensor], ...], chosen: float
) -> None:
    def fit(rows: Features, value: float) -> Callable[[Tensor], Tensor]:
        raise AssertionError

    value, said = choose_on_folds(replace(TASK, folds=folds), "l2", grid, fit, default=7.0)

    assert value == chosen
    assert (said["selected"], said["selected_split"], said["l2"]) == ("nothing", "nothing", chosen)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_value_that_diverges_is_not_chosen(broken: float) -> None:
    def fit(rows: Features, value: float) -> Callable[[Tensor], Tensor]:
        return lambda x: logits_of(1.0)(x) + (broken if value == 1 else 0)

    assert choose_on_folds(TASK, "lr", (1, 2), fit, default=1)[0] == 2


def test_a_class_that_a_fold_lacks_may_be_ruled_out() -> None:
    def fit(rows: Features, value: int) -> Callable[[Tensor], Tensor]:
        return lambda x: torch.cat((logits_of(1.0)(x), torch.full((len(x), 1), -torch.inf)), 1)

    three = replace(TASK, classes=("even", "odd", "none"))

    assert choose_on_folds(three, "lr", (1, 2), fit, default=2)[1]["val_top1"] == 100.0


def test_of_equal_settings_the_likelier_is_best_then_the_earlier() -> None:
    assert pick_best([50, 70, 70, 70], [1, 3, 2, 2]) == 2
    assert pick_best([70, 70 + 1e-12], [1, 2]) == 0


def test_what_a_few_rows_do_not_tell_apart_is_near_the_best() -> None:
    top1 = torch.tensor([90.0, 88.0, 60.0])

    assert is_near_best(top1, 100, 1).tolist() == [True, True, False]
    assert is_near_best(top1, 100_000, 1).tolist() == [True, False, False]
