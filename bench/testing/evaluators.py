"""Check an evaluator: it finds what is there, repeatably, and does not look at the test labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.contracts.backbone import Backbone
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.evaluator import Evaluator, Features, Network, Scores, Task
from bench.contracts.feature_spec import FeatureSpec
from bench.errors import UsageError
from bench.testing.checks import Check, Outcome, class_checks, finite_scalars, require, run

CLASSES = ("cat", "dog", "owl")
EACH, SIDE, TEST = 100, 4, 30  # enough labelled examples for a vote of 200 neighbours
MEAN, STD = (0.5,), (0.25,)
NOISE = 0.1  # of an image beside its class, whose pixels are at most 1
WELL_ABOVE_CHANCE = 90.0  # percent; chance is 33
ROUNDING = 1e-3  # percent
FAR = 7.0  # from the other features, which are of order one


def outcomes(cls: type[Evaluator], name: str, config: Any = None) -> Iterator[Outcome]:
    """Yield every check of an evaluator with its error, or none."""
    yield from run(class_checks(cls, Evaluator, name))
    built: list[Evaluator] = []

    def build() -> None:
        built.append(cls(cls.Config() if config is None else config))

    yield from run([("it builds", build)])
    if built:
        yield from run(_checks(built[0]))
        yield from run(
            [("check() refuses a single example, or it is evaluated", lambda: _one_each(built[0]))]
        )


class Flat(Backbone):
    """Pixels through a linear map that starts as none: a backbone whose features are its images'."""

    dim = SIDE**2

    def __init__(self) -> None:
        super().__init__("flat", None, 1, SIDE)
        self.map = torch.nn.Linear(self.dim, self.dim)
        torch.nn.init.eye_(self.map.weight)
        torch.nn.init.zeros_(self.map.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, dim)."""
        features: Tensor = self.map(x.flatten(1))
        return features


def separable(each: int, *, with_network: bool = False) -> Task:
    """Return a task whose classes lie far apart: `each` labelled examples a class.

    An image is bright in the rows of its class, whichever way it is mirrored or coloured.
    """
    drawn = torch.Generator().manual_seed(0)
    info = DatasetInfo(classes=CLASSES, channels=1, size=SIDE, mean=MEAN, std=STD, flip=False, colour=False)
    shapes = torch.eye(SIDE)[: len(CLASSES), None, :, None].expand(-1, 1, SIDE, SIDE)

    def images(n: int) -> Images:
        y = torch.arange(n) % len(CLASSES)
        noise = NOISE * torch.rand(n, 1, SIDE, SIDE, generator=drawn)
        return Images((200 * shapes[y] + 255 * noise).to(torch.uint8), y)

    train, test, device = images(each * len(CLASSES)), images(TEST), torch.device("cpu")
    network = Network(
        trained=Flat().eval().requires_grad_(requires_grad=False),
        train=train,
        test=test,
        data=info,
        image_size=SIDE,
        channels=1,
        mean=MEAN,
        std=STD,
        device=device,
    )
    rows = torch.arange(len(train))
    return Task(
        train=Features(network.clean(train.pixels).flatten(1), train.labels),
        test=Features(network.clean(test.pixels).flatten(1), test.labels),
        folds=((rows[: 2 * len(rows) // 3], rows[2 * len(rows) // 3 :]),) if each > 1 else (),
        classes=CLASSES,
        seed=0,
        device=device,
        network=network if with_network else None,
    )


def _takes(evaluator: Evaluator, task: Task) -> bool:
    """Tell whether it accepts a task of this size; a vote of many neighbours wants many examples."""
    try:
        evaluator.check(len(task.train), len(task.classes))
    except UsageError:
        return False
    return True


def _checks(evaluator: Evaluator) -> Iterator[Check]:
    """Yield the checks; each makes a task of its own, which an earlier one cannot have changed."""
    count = EACH * len(CLASSES)

    def task() -> Task:
        return separable(EACH, with_network=evaluator.needs == "backbone")

    yield "needs is `features` or `backbone`", lambda: _needs(evaluator)
    yield "features() returns a FeatureSpec", lambda: _spec(evaluator)
    yield f"check() accepts {count} examples", lambda: evaluator.check(count, len(CLASSES))
    yield "its metrics are numbers, the headline first", lambda: _measures(evaluator, task())
    yield "classes that lie apart are told apart", lambda: _separates(evaluator, task())
    yield "there is a prediction for every test image, or none at all", lambda: _predicts(evaluator, task())
    yield "the same seed gives the same scores", lambda: _repeats(evaluator, task())
    yield "test labels change no prediction", lambda: _blind(evaluator, task())
    yield "no test example changes the prediction of another", lambda: _apart(evaluator, task())
    yield "what it is given is left as it is", lambda: _leaves(evaluator, task())
    yield "draws_subsets says whether it calls task.subset()", lambda: _subsets(evaluator, task())
    if evaluator.needs == "backbone":
        yield "features alone are refused in one line", lambda: _refuses(evaluator, separable(EACH))


def _needs(evaluator: Evaluator) -> None:
    require(evaluator.needs in ("features", "backbone"), f"it is {evaluator.needs!r}")


def _spec(evaluator: Evaluator) -> None:
    spec = evaluator.features(evaluator.config)
    require(isinstance(spec, FeatureSpec), f"it returned {type(spec).__name__}")


def _subsets(evaluator: Evaluator, task: Task) -> None:
    calls: list[float] = []

    class Watched(Task):
        def subset(self, fraction: float, seed: int) -> Task:
            calls.append(fraction)
            return Task.subset(self, fraction, seed)

    if not evaluator.draws_subsets:
        evaluator.evaluate(Watched(**vars(task)))
    require(not calls, "it calls it: set draws_subsets = True, so that groups of images are in its key")


def _measures(evaluator: Evaluator, task: Task) -> None:
    scores = evaluator.evaluate(task)
    require(isinstance(scores, Scores), f"it returned {type(scores).__name__}")
    require(bool(scores.metrics), "there are none")
    finite_scalars({name: torch.tensor(float(v)) for name, v in scores.metrics.items()}, "metrics")
    unknown = sorted(scores.neither_is_better - scores.metrics.keys())
    require(not unknown, f"neither_is_better has {', '.join(unknown)}, of which there is no metric")
    later = "top1" in scores.metrics and next(iter(scores.metrics)) != "top1"
    require(not later, f"top1 is not the first of {', '.join(scores.metrics)}")


def _separates(evaluator: Evaluator, task: Task) -> None:
    scores = evaluator.evaluate(task)
    if scores.predictions is not None:
        right = 100 * float((scores.predictions == task.test.y).float().mean())
        require(right >= WELL_ABOVE_CHANCE, f"{right:g} percent of the predictions are right")
        top1 = scores.metrics.get("top1", right)
        require(abs(top1 - right) < ROUNDING, f"top1 is {top1}, but {right:g} percent are right")


def _predicts(evaluator: Evaluator, task: Task) -> None:
    predictions = evaluator.evaluate(task).predictions
    if predictions is None:
        return
    shape, expected = tuple(predictions.shape), (len(task.test),)
    require(shape == expected, f"they have shape {shape}, not {expected}")
    require(predictions.dtype == torch.int64, f"they are {predictions.dtype}; use int64")
    wrong = set(predictions.tolist()) - set(range(len(task.classes)))
    require(not wrong, f"{sorted(wrong)} are no classes")


def _repeats(evaluator: Evaluator, task: Task) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = evaluator.evaluate(task)
        torch.manual_seed(2)
        other = evaluator.evaluate(task)
    require(
        dict(one.metrics) == dict(other.metrics), f"{one.metrics}, then {other.metrics}; draw from task.seed"
    )
    require(_equal(one, other), "predictions differ; draw from task.seed")


def _blind(evaluator: Evaluator, task: Task) -> None:
    relabelled = replace(task, test=Features(task.test.x, task.test.y.roll(1)))
    if task.network is not None:
        test = Images(task.network.test.pixels, task.network.test.labels.roll(1))
        relabelled = replace(relabelled, network=replace(task.network, test=test))
    require(_equal(evaluator.evaluate(task), evaluator.evaluate(relabelled)), "they do: choose on task.folds")


def _apart(evaluator: Evaluator, task: Task) -> None:
    odd = torch.arange(len(task.test)) % 2 == 1
    x = torch.where(odd[:, None], FAR * task.test.x[:1], task.test.x)  # one class more than the others
    changed = replace(task, test=Features(x, task.test.y))
    if task.network is not None:
        pixels = task.network.test.pixels
        others = torch.where(odd[:, None, None, None], 255 - pixels[:1], pixels)
        network = replace(task.network, test=Images(others, task.network.test.labels))
        changed = replace(changed, network=network)
    one, other = evaluator.evaluate(task).predictions, evaluator.evaluate(changed).predictions
    if one is not None and other is not None:
        require(torch.equal(one[~odd], other[~odd]), "it does: fit on task.train alone")


def _equal(one: Scores, other: Scores) -> bool:
    if one.predictions is None or other.predictions is None:
        return one.predictions is other.predictions
    return torch.equal(one.predictions, other.predictions)


def _leaves(evaluator: Evaluator, task: Task) -> None:
    def state() -> list[Tensor]:
        network = task.network
        more = [network.train.pixels, network.test.pixels] if network else []
        weights = list(network.trained.state_dict().values()) if network else []
        return [part.clone() for part in (task.train.x, task.test.x, *more, *weights)]

    before = state()
    evaluator.evaluate(task)
    same = all(torch.equal(one, other) for one, other in zip(before, state(), strict=True))
    require(same, "features, images or the backbone were changed in place")


def _refuses(evaluator: Evaluator, task: Task) -> None:
    try:
        evaluator.evaluate(task)
    except UsageError:
        return
    require(False, "it was evaluated; ask for task.needed_network(name)")  # noqa: FBT003


def _one_each(evaluator: Evaluator) -> None:
    """One example a class leaves nothing to choose on: a refusal or a prediction, never a crash."""
    task = separable(1, with_network=evaluator.needs == "backbone")
    if _takes(evaluator, task):
        _predicts(evaluator, task)
