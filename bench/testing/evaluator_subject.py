"""What an evaluator makes of samples, and what is required of any scores that it returns."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bench.contracts.dataset import Images
from bench.contracts.evaluator import Evaluator, Scores, Task
from bench.testing.checks import require
from bench.testing.evaluation_tasks import CLASSES, Sample, WatchedNetwork, bounds, draw_sample, share_right
from bench.testing.process_state import ProcessState, seeded
from bench.testing.scores import (
    require_numbers,
    require_percent,
    require_predictions,
    require_protocol,
)

COUNTED = 100  # test images from which on a share of them says something
Vary = Callable[[Sample], Sample]
Requirement = Callable[[Task, Scores, "Vary | None"], None]


class Subject:
    """An evaluator, and what it makes of samples: each of a new object, as for every cell of a run."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.with_network = evaluator.needs == "backbone"
        self.shared: dict[str, Any] = {}  # of a run
        self.trained: list[str] = []  # what the first evaluation changed in its copies of the backbone
        self.switched: list[str] = []  # switches of the process, by the last evaluation
        self.repeats = False  # it gives the same scores again: they can be compared with others
        self.row_by_row = False  # no prediction depends on another test image

    @cached_property
    def sample(self) -> Sample:
        """What its tasks are made of."""
        return draw_sample()

    def task(self, vary: Vary | None = None, shared: dict[str, Any] | None = None) -> Task:
        """Return a task of its own, of the sample or of a change of it."""
        sample = self.sample if vary is None else vary(self.sample)
        return sample.task(with_network=self.with_network, shared=shared)

    def evaluate(self, task: Task) -> Scores:
        """Return the scores that a new object gives a task; switches of the process are put back."""
        process = ProcessState()
        try:
            return type(self.evaluator)(self.evaluator.config).evaluate(task)
        finally:
            self.switched = process.changed_switches()
            process.restore_switches()

    @cached_property
    def base(self) -> tuple[Task, Scores]:
        """A task as it was given, and its scores; what else has changed is kept."""
        given, task = self.task(), self.task(shared=self.shared)
        before = _state_of(task)
        with seeded(1):
            scores, self.process = self.evaluate(task), ProcessState()
        after = _state_of(task)
        self.trained = _list_trained(task)
        self.changed = [name for name, value in before.items() if not _same(value, after.get(name))]
        require(isinstance(scores, Scores), f"it returned {type(scores).__name__}, not Scores")
        return given, scores

    def evaluate_varied(self, vary: Vary) -> Scores:
        """Return the scores of a changed sample, of which all is required that the first ones have met."""
        given = self.task(vary)
        with seeded(1):
            scores = self.evaluate(self.task(vary))
        for require_it in self.met:
            require_it(given, scores, vary)
        return scores

    @cached_property
    def met(self) -> list[Requirement]:
        """What is true of the first scores: what is not has been said, and is not said again."""
        return [require_it for require_it in REQUIREMENTS if is_met(require_it, *self.base)]


def _require_numbers(_task: Task, scores: Scores, _vary: Vary | None) -> None:
    require_numbers(scores)


def require_valid(task: Task, scores: Scores, _vary: Vary | None) -> None:
    """Require predictions of classes, or none."""
    require_predictions(scores, task)


def require_shares(task: Task, scores: Scores, _vary: Vary | None) -> None:
    """Require that what is said of the predictions is true of them."""
    if is_met(require_valid, task, scores):
        require_percent(scores, task)


def _require_protocol(task: Task, scores: Scores, _vary: Vary | None) -> None:
    require_protocol(scores, task)


def _require_right(task: Task, scores: Scores, vary: Vary | None) -> None:
    """Require as many right predictions as plain classifiers have of the same sample, about."""
    if scores.predictions is None or len(task.test) < COUNTED or not is_met(require_valid, task, scores):
        return
    least, _ = bounds(vary)
    predictions, labels = scores.predictions.cpu(), task.test.y
    right = share_right(predictions, labels)
    for step in (1, -1):
        moved = share_right((predictions + step) % len(CLASSES), labels)
        require(right >= least or moved < least, f"{moved:g} percent are right with {step:+d}: off by one")
    require(
        right >= least,
        f"{right:g} percent are right, a plain classifier has at least {least:.0f}: is a row's label that "
        "of its features, is the nearest the most alike, are train and test prepared alike?",
    )


REQUIREMENTS: dict[Requirement, str] = {
    _require_numbers: "its metrics are numbers, the headline first",
    require_valid: "there is a prediction for every test image, or none at all",
    require_shares: "its metrics are in percent, and those of its predictions",
    _require_right: "it is as often right as a plain classifier",
    _require_protocol: "protocol says what was chosen, on which split",
}


def is_met(require_it: Requirement, task: Task, scores: Scores) -> bool:
    """Tell whether scores are as they are required to be."""
    try:
        require_it(task, scores, None)
    except Exception:  # noqa: BLE001 - which one is said where it is a check
        return False
    return True


def _state_of(task: Task) -> dict[str, Any]:
    """Return what of a task is not the evaluator's own, by name: other cells of a run are given the same."""
    kept: dict[str, Any] = {"task.train.y": task.train.y.clone(), "task.test.y": task.test.y.clone()}
    network = task.network
    if network is None:
        return kept
    for split in ("train", "test"):
        images: Images = getattr(network, split)
        kept[f"network.{split}.pixels"] = images.pixels.clone()
        kept[f"network.{split}.labels"] = images.labels.clone()
    for name, value in network.trained.state_dict().items():
        kept[f"{name} of the shared backbone"] = value.clone()
    for name, module in network.trained.named_modules():
        kept[f"the mode of the shared backbone (train or eval; {name or 'itself'})"] = module.training
        kept[f"hooks on the shared backbone ({name or 'itself'})"] = len(module._forward_hooks)  # noqa: SLF001
    for name, parameter in network.trained.named_parameters():
        kept[f"requires_grad of {name} of the shared backbone"] = parameter.requires_grad
        kept[f"the gradient of {name} of the shared backbone"] = parameter.grad is None
    return kept


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    return bool(one == other)


def _list_trained(task: Task) -> list[str]:
    """Return the names of what an evaluator has changed in its own copies of the backbone."""
    network = task.network
    if not isinstance(network, WatchedNetwork):
        return []
    given = network.trained.state_dict()
    states = [copied.state_dict() for copied in network.copies]
    return sorted({name for state in states for name in given if not torch.equal(given[name], state[name])})
