"""The conformance kit finds what a dataset or an evaluator does wrong."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import pytest
import torch

from bench.api import (
    Dataset,
    DatasetInfo,
    Evaluator,
    Images,
    Scores,
    Task,
)
from bench.testing import check, check_dataset, check_evaluator


def failed(kind: str, cls: type[Any]) -> set[str]:
    return {title for title, error in check(kind, cls, "it") if error is not None}


class Unsteady(Dataset):
    """Draw other images, another fingerprint and a label too many each time."""

    count = itertools.count()

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(classes=("cat", "dog"), channels=1, size=4)

    def fingerprint(self) -> str:
        return str(next(self.count))

    def labels(self, split: str) -> Sequence[int]:
        return [0, 1, 2]

    def load(self, split: str) -> Images:
        return Images(torch.full((3, 1, 4, 5), next(self.count), dtype=torch.uint8), torch.tensor([0, 1, 2]))


def test_a_dataset_that_changes_and_contradicts_itself_fails() -> None:
    with pytest.raises(AssertionError) as told:
        check_dataset(Unsteady, "unsteady")

    assert "everything would be computed anew" in str(told.value)
    assert "they are (1, 4, 5), info says (1, 4, 4)" in str(told.value)
    assert "train: labels are places in info.classes: [2] of 2 classes" in str(told.value)
    assert "test: loads alike again" in str(told.value)


class Cheating(Evaluator):
    """Predict the test labels."""

    def evaluate(self, task: Task) -> Scores:
        return Scores(metrics={"top1": 100.0}, predictions=task.test.y)


class Guessing(Evaluator):
    """Draw from the global generator, and change what it is given."""

    def evaluate(self, task: Task) -> Scores:
        task.train.x.zero_()
        predictions = torch.randint(len(task.classes), (len(task.test),))
        return Scores(metrics={"top1": 33.0}, predictions=predictions)


def test_an_evaluator_that_looks_at_test_labels_fails() -> None:
    assert failed("evaluators", Cheating) == {"test labels change no prediction"}


def test_an_evaluator_that_guesses_fails() -> None:
    with pytest.raises(AssertionError) as told:
        check_evaluator(Guessing, "guessing")

    assert "of the predictions are right" in str(told.value)
    assert "draw from task.seed" in str(told.value)
    assert "features, images or the backbone were changed in place" in str(told.value)


class Claiming(Evaluator):
    """Give a top-1 that its predictions do not have, and not first."""

    def evaluate(self, task: Task) -> Scores:
        nearest = torch.cdist(task.test.x, task.train.x).argmin(1)
        return Scores(metrics={"nll": 1.0, "top1": 50.0}, predictions=task.train.y[nearest])


def test_an_evaluator_whose_top1_is_not_that_of_its_predictions_fails() -> None:
    with pytest.raises(AssertionError) as told:
        check_evaluator(Claiming, "claiming")

    assert "top1 is not the first of nll, top1" in str(told.value)
    assert "top1 is 50.0, but 100 percent are right" in str(told.value)


class Misspelling(Guessing):
    """Says of a metric that it does not have that neither more nor less of it is better."""

    def evaluate(self, task: Task) -> Scores:
        return replace(super().evaluate(task), neither_is_better=frozenset({"top_1"}))


def test_an_evaluator_that_takes_the_direction_of_a_metric_it_lacks_fails() -> None:
    name = "its metrics are numbers, the headline first"

    assert name in failed("evaluators", Misspelling)
    assert name not in failed("evaluators", Guessing)


class Training(Evaluator):
    """Train the backbone that all share, and go on where there is none."""

    needs: ClassVar[Literal["features", "backbone"]] = "backbone"

    def evaluate(self, task: Task) -> Scores:
        if task.network is not None:
            with torch.no_grad():
                next(task.network.trained.parameters()).add_(1)
        return Scores(metrics={"norm": float(task.test.x.norm())})


def test_an_evaluator_that_trains_the_shared_backbone_fails() -> None:
    assert failed("evaluators", Training) == {
        "what it is given is left as it is",
        "features alone are refused in one line",
    }


class Measuring(Evaluator):
    """Measure without predicting, on a copy of the backbone."""

    needs: ClassVar[Literal["features", "backbone"]] = "backbone"

    def evaluate(self, task: Task) -> Scores:
        network = task.needed_network("measuring")
        with torch.inference_mode():
            found = network.backbone()(network.clean(network.test.pixels))
        return Scores(metrics={"norm": float(found.norm())})


def test_an_evaluator_without_predictions_passes() -> None:
    check_evaluator(Measuring, "measuring")
