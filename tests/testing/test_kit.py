"""The conformance kit finds what a dataset or an evaluator does wrong."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import pytest
import torch

from bench.api import (
    BadValue,
    Dataset,
    DatasetInfo,
    Evaluator,
    Images,
    PublishedData,
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


class Misprinted(Unsteady):
    """Have published files with more classes than counts."""

    @classmethod
    def published(cls, config: Any) -> PublishedData:
        return PublishedData(classes=("cat", "dog"), counts={"train": (3,), "test": (1, 1)})


def test_what_is_published_has_to_fit_together() -> None:
    with pytest.raises(
        AssertionError, match=r"what is published .*: published\(\) returns something, and about"
    ):
        check_dataset(Misprinted, "misprinted")


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


class Centring(Evaluator):
    """Predict by the nearest class mean, of features that are centred by the test examples."""

    def evaluate(self, task: Task) -> Scores:
        centre = task.test.x.mean(0)
        train = task.train.x - task.train.x.mean(0)
        means = torch.stack([train[task.train.y == c].mean(0) for c in range(len(task.classes))])
        predictions = torch.cdist(task.test.x - centre, means).argmin(1)
        right = 100 * float((predictions == task.test.y).float().mean())
        return Scores(metrics={"top1": right}, predictions=predictions)


def test_an_evaluator_that_fits_on_test_features_fails() -> None:
    assert "no test example changes the prediction of another" in failed("evaluators", Centring)


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


class Filmed(Dataset):
    """Four images of two films to train on, and one of each of two others to test on."""

    films: ClassVar[dict[str, Any]] = {"train": [0, 0, 1, 1], "test": [2, 3]}

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(classes=("cat", "dog"), channels=1, size=4, groups="films")

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.films)

    def fingerprint(self) -> str:
        return "films"

    def labels(self, split: str) -> Sequence[int]:
        return [i % 2 for i in range(2 if split == "test" else 4)]

    def load(self, split: str) -> Images:
        labels = torch.tensor(self.labels(split))
        return Images(torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8), labels)

    def groups(self, split: str) -> Sequence[int] | None:
        films: Sequence[int] | None = self.films[split]
        return films


class Renamed(Filmed):
    """Films whose numbers, but not whose images, differ from process to process."""

    def groups(self, split: str) -> Sequence[int] | None:
        return [hash(f"film {film}") for film in self.films[split]]


class Hashed(Filmed):
    """Films that have other images in every process."""

    def labels(self, split: str) -> Sequence[int]:
        return [i % 2 for i in range(64)]

    def groups(self, split: str) -> Sequence[int] | None:
        first = 8 * (split == "test")
        return [first + hash(f"image {i}") % 8 for i in range(64)]


class Parted(Filmed):
    """A film on both sides."""

    films: ClassVar[dict[str, Any]] = {"train": [0, 0, 1, 1], "test": [1, 3]}


class Short(Filmed):
    """A film too few."""

    films: ClassVar[dict[str, Any]] = {"train": [0, 0, 1], "test": [2, 3]}


class Halved(Filmed):
    """Films that are no whole numbers."""

    films: ClassVar[dict[str, Any]] = {"train": [0.5, 0.5, 1.0, 1.0], "test": [2, 3]}


class Partial(Filmed):
    """Films of the training images, but not of the validation images."""

    films: ClassVar[dict[str, Any]] = {"train": [0, 0, 1, 1], "val": None, "test": None}


@pytest.mark.parametrize("cls", [Filmed, Renamed])
def test_a_dataset_may_say_which_images_belong_together(cls: type[Dataset]) -> None:
    check_dataset(cls, "filmed")


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Parted, "group 1 is in train and test; its images are nearly alike"),
        (Short, r"train: they are \(3,\) for 4 images"),
        (Halved, "train: they are float64; use int64"),
        (Partial, "train or val has none; return them for both, or for neither"),
        (Hashed, "in another process: they are others there"),
    ],
)
def test_groups_that_contradict_the_splits_or_themselves_fail(cls: type[Dataset], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check_dataset(cls, "filmed")


class Curving(Evaluator):
    """Predict by the mean of each class, and look at a half of the labels as well."""

    def check(self, labelled: int, classes: int) -> None:
        if labelled < 2 * classes:
            raise BadValue(f"curving: {labelled} labels have no half.")

    def evaluate(self, task: Task) -> Scores:
        task.subset(0.5, 0)
        means = torch.stack([task.train.x[task.train.y == c].mean(0) for c in range(len(task.classes))])
        predictions = torch.cdist(task.test.x, means).argmin(1)
        right = 100 * float((predictions == task.test.y).float().mean())
        return Scores(metrics={"top1": right}, predictions=predictions)


class Declared(Curving):
    """The same, and says so."""

    draws_subsets: ClassVar[bool] = True


def test_an_evaluator_that_draws_subsets_has_to_say_so() -> None:
    assert failed("evaluators", Curving) == {"draws_subsets says whether it calls task.subset()"}
    assert failed("evaluators", Declared) == set()
