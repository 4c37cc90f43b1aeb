"""Tasks that evaluators are checked on: three classes that overlap, and one in ten labels that is wrong.

Nobody reads all test labels off such images: who does has looked at them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn

from bench.contracts.backbone import Backbone
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.evaluator import Features, Network, Task

CLASSES = ("cat", "dog", "owl")
EACH = 100  # enough labelled examples for a vote of 200 neighbours
TEST = 307  # a multiple of no batch size
SIDE = 4  # pixels
MEAN, STD = (0.5,), (0.25,)
BRIGHT, NOISE = 0.2, 0.16  # of a class's row, and of each pixel
WRONG = 0.1  # share of the labels
CPU = torch.device("cpu")

Folds = tuple[tuple[Tensor, Tensor], ...]


class Flat(Backbone):
    """Pixels through a linear map and a batch norm that start as none: features are normalised pixels."""

    dim = SIDE**2

    def __init__(self) -> None:
        super().__init__("flat", None, 1, SIDE)
        self.map = nn.Linear(self.dim, self.dim)
        nn.init.eye_(self.map.weight)
        nn.init.zeros_(self.map.bias)
        self.norm = nn.BatchNorm1d(self.dim, eps=1e-12)

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, 16)."""
        features: Tensor = self.norm(self.map(images.flatten(1)))
        return features


@dataclass(frozen=True, kw_only=True)
class WatchedNetwork(Network):
    """A network that knows the copies of its backbone.

    Args:
        copies: that were asked for.
    """

    copies: list[Backbone] = field(default_factory=list)

    def backbone(self) -> Backbone:
        """Return a copy of one's own, as `Network` does."""
        self.copies.append(super().backbone())
        return self.copies[-1]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a task is made of; each check changes a part of it.

    Args:
        train: the labelled images.
        test: those to be predicted.
        fit: (n,), bool, which of `train` are in the fit part of the fold, the others being held out; none:
            there is no fold.
        own_val: the held-out part is the data's own validation split.
        seen: the backbone was trained with the labels, and there is no fold.
        scale: of all features.
        shift: that is added to them.
    """

    train: Images
    test: Images
    fit: Tensor | None = None
    own_val: bool = False
    seen: bool = False
    scale: float = 1.0
    shift: float = 0.0

    @cached_property
    def folds(self) -> Folds:
        """The fold, if there is one, as pairs of rows."""
        return () if self.fit is None else ((torch.where(self.fit)[0], torch.where(~self.fit)[0]),)

    def take(self, rows: Tensor) -> Sample:
        """Return the sample with these rows of `train`, in this order."""
        return replace(self, train=self.train.take(rows), fit=None if self.fit is None else self.fit[rows])

    def task(self, *, with_network: bool = False, shared: dict[str, Any] | None = None) -> Task:
        """Return a task of its own: nothing that is done to one changes another."""
        network = self._network()
        with torch.no_grad():
            train, test = (
                Features(network.trained(network.clean(part.pixels)), part.labels.clone())
                for part in (self.train, self.test)
            )
        return Task(
            train=train,
            test=test,
            folds=tuple((fit.clone(), val.clone()) for fit, val in self.folds),
            classes=CLASSES,
            seed=0,
            device=CPU,
            own_val=self.own_val,
            seen=self.seen,
            network=network if with_network else None,
            shared={} if shared is None else shared,
        )

    def _network(self) -> Network:
        flat = Flat()
        with torch.no_grad():
            flat.map.weight.mul_(self.scale)
            flat.map.bias.fill_(self.shift)
        info = DatasetInfo(
            classes=CLASSES, channels=1, size=SIDE, mean=MEAN, std=STD, flip=False, colour=False
        )
        return WatchedNetwork(
            trained=flat.eval().requires_grad_(requires_grad=False),
            train=_copy(self.train),
            test=_copy(self.test),
            data=info,
            image_size=SIDE,
            channels=1,
            mean=MEAN,
            std=STD,
            device=CPU,
        )


@cache
def draw_sample(each: int = EACH, test: int = TEST) -> Sample:
    """Return a sample of `each` labelled images a class, and about a third of `test` images of each.

    An image is brighter in the row of its class, and images are of different contrast. A third of the
    labelled images is held out, unless there is one a class.
    """
    drawn = torch.Generator().manual_seed(0)
    train = torch.arange(len(CLASSES)).repeat(each)
    shares = torch.tensor([0.37, 0.33, 0.3])
    known = shares.multinomial(test, replacement=True, generator=drawn)
    fit = torch.arange(len(train)) % (3 * len(CLASSES)) < 2 * len(CLASSES)
    return Sample(
        train=_draw_images(train, drawn), test=_draw_images(known, drawn), fit=fit if each > 1 else None
    )


def _draw_images(classes: Tensor, drawn: torch.Generator) -> Images:
    """Return images of these classes, of whose labels one in ten is wrong."""
    n = len(classes)
    rows = torch.eye(SIDE)[classes, None, :, None]  # (n, 1, side, 1)
    noise = NOISE * torch.randn(n, 1, SIDE, SIDE, generator=drawn)
    contrast = 0.6 + 0.8 * torch.rand(n, 1, 1, 1, generator=drawn)
    values = 0.4 + contrast * (BRIGHT * rows + noise)
    wrong = torch.rand(n, generator=drawn) < WRONG if n > len(CLASSES) else torch.zeros(n, dtype=torch.bool)
    other = (classes + torch.randint(1, len(CLASSES), (n,), generator=drawn)) % len(CLASSES)
    return Images((255 * values.clamp(0, 1)).to(torch.uint8), torch.where(wrong, other, classes))


def _copy(images: Images) -> Images:
    return Images(images.pixels.clone(), images.labels.clone())


# ---- what checks change of a sample


def rename_classes(sample: Sample) -> Sample:
    """Return the sample with each label standing for the next class, in train and test."""
    return replace(sample, train=_relabel(sample.train), test=_relabel(sample.test))


def relabel_test(sample: Sample) -> Sample:
    """Return the sample with every test label another one."""
    return replace(sample, test=_relabel(sample.test))


def _relabel(images: Images) -> Images:
    return Images(images.pixels, (images.labels + 1) % len(CLASSES))


def sort_train(sample: Sample) -> Sample:
    """Return the sample with the labelled images class by class, as folders are read."""
    return sample.take(sample.train.labels.argsort(stable=True))


def sort_test(sample: Sample) -> Sample:
    """Return the sample with the test images class by class."""
    return take_test(sample, sample.test.labels.argsort(stable=True))


def take_test(sample: Sample, rows: Tensor) -> Sample:
    """Return the sample with these rows of the test images, in this order."""
    return replace(sample, test=sample.test.take(rows))


def change_odd_tests(sample: Sample) -> Sample:
    """Return the sample with another image in every second row of the test images: the first's negative."""
    odd = torch.arange(len(sample.test)) % 2 == 1
    pixels = sample.test.pixels
    changed = torch.where(odd[:, None, None, None], 255 - pixels[:1], pixels)
    return replace(sample, test=Images(changed, sample.test.labels))


def make_rare(sample: Sample, images: int = 8) -> Sample:
    """Return the sample with so many labelled images of the last class, and a validation split of its own."""
    labels = sample.train.labels
    rank = (labels == len(CLASSES) - 1).cumsum(0)
    kept = (labels != len(CLASSES) - 1) | (rank <= images)
    return replace(sample.take(torch.where(kept)[0]), own_val=True)


def drop_folds(sample: Sample) -> Sample:
    """Return the sample as a backbone has it that was trained with the labels: nothing can be chosen."""
    return replace(sample, fit=None, seen=True)


def double_rows(sample: Sample) -> Sample:
    """Return the sample with half of the labelled images, each of them twice, and test images among them."""
    half = torch.arange(len(sample.train) // 2).repeat(2)
    seen, others = sample.train.take(half[:60]), sample.test.take(torch.arange(120))
    test = Images(torch.cat([others.pixels, seen.pixels]), torch.cat([others.labels, seen.labels]))
    return replace(sample.take(half), test=test)


def darken_pixel(sample: Sample) -> Sample:
    """Return the sample with one pixel of all images black: its feature is constant."""

    def darken(images: Images) -> Images:
        pixels = images.pixels.clone()
        pixels[:, :, -1, -1] = 0
        return Images(pixels, images.labels)

    return replace(sample, train=darken(sample.train), test=darken(sample.test))


def scale_features(sample: Sample) -> Sample:
    """Return the sample with features ten times as large, and away from zero."""
    return replace(sample, scale=10.0, shift=5.0)


def scale_rows(task: Task, part: str) -> Task:
    """Return the task with each row of `train` or `test` longer or shorter, its direction as it was."""
    features: Features = getattr(task, part)
    factors = torch.linspace(0.3, 3.0, len(features)).roll(len(features) // 3)[:, None]
    scaled: dict[str, Any] = {part: replace(features, x=features.x * factors)}
    return replace(task, **scaled)


# ---- what may be expected of it


def share_right(predictions: Tensor, labels: Tensor) -> float:
    """Return the share of predictions that are right, in percent."""
    return 100 * int((predictions == labels).sum()) / len(labels)


@cache
def bounds(vary: Callable[[Sample], Sample] | None = None) -> tuple[float, float]:
    """Return the least and the most percent of the test labels that a classifier of a sample gets right.

    The least is half of what logistic regression and five neighbours, by their defaults, have beyond
    the largest class; the most is a little more than the images tell, whose labels are wrong in part.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    sample = draw_sample()
    task = (sample if vary is None else vary(sample)).task()
    train, test = task.train, task.test
    plain = (LogisticRegression(max_iter=1000), KNeighborsClassifier(5))
    right = [
        model.fit(train.x.numpy(), train.y.numpy()).score(test.x.numpy(), test.y.numpy()) for model in plain
    ]
    largest = 100 * int(test.y.bincount().max()) / len(test)
    return largest + (100 * min(right) - largest) / 2, 100 * (1 - WRONG) + 4
