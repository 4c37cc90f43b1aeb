"""What an evaluator is: the class its author extends, what it is given, and what it returns."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from bench.augmentation.apply import augment
from bench.augmentation.clean import match_channels, normalise, resize
from bench.augmentation.view import View
from bench.config import check_fields
from bench.contracts.backbone import Backbone
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.declared import Declared
from bench.contracts.feature_spec import FeatureSpec
from bench.errors import BadValue, suggest
from bench.splits import stratified as splits
from bench.system.device import to_device

Needs = Literal["features", "backbone"]


@dataclass(frozen=True)
class Features:
    """Frozen features of one split.

    Args:
        x: (n, dim), float32.
        y: (n,), int64, in [0, classes).
        groups: (n,), int64, the group of each, of examples that are nearly alike; none where each stands
            alone.
    """

    x: Tensor
    y: Tensor
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Tensor) -> Features:
        """Return the rows at `index`, (m,) int64."""
        groups = None if self.groups is None else self.groups[index]
        return Features(self.x[index], self.y[index], groups)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A trained backbone and the images, for an evaluator whose `needs` is `backbone`.

    Args:
        trained: the backbone, which is not to be changed: `backbone()` returns copies.
        train: the images of `Task.train`, row by row.
        test: the images of `Task.test`, row by row.
        data: what is known of these images.
        image_size: that the backbone takes.
        channels: that the backbone takes.
        mean: that images are normalised by: of the weights it started from, or of the data it was trained
            on; a value a channel.
        std: as `mean`.
        device: where the backbone is.
    """

    trained: Backbone
    train: Images
    test: Images
    data: DatasetInfo
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device

    def backbone(self) -> Backbone:
        """Return a copy of one's own, in eval mode, whose parameters can be trained."""
        return copy.deepcopy(self.trained).requires_grad_(requires_grad=True).eval()

    def clean(self, pixels: Tensor) -> Tensor:
        """Return what the backbone takes of images, as the features were made.

        Args:
            pixels: (n, channels, h, w), uint8, on any device.

        Returns:
            (n, channels, image_size, image_size), float32, normalised.
        """
        return self._normalise(resize(to_device(pixels, self.device), self.image_size))

    def augment(self, pixels: Tensor, view: View, generator: torch.Generator) -> Tensor:
        """Return one view of each image, without what would change a label.

        Args:
            pixels: as of `clean`.
            view: the recipe.
            generator: of the draws, on the CPU.

        Returns:
            As `clean`.
        """
        view = view.label_preserving(self.data)
        return self._normalise(augment(to_device(pixels, self.device), view, self.image_size, generator))

    def _normalise(self, x: Tensor) -> Tensor:
        return normalise(match_channels(x, self.channels), self.mean, self.std)


@dataclass(frozen=True, kw_only=True)
class Task:
    """All an evaluator may see.

    Args:
        train: every labelled example that may be used, and no other.
        test: to be predicted once, with everything chosen.
        folds: pairs of row indices into `train`, (fit, val), to choose on: one pair where there are
            labels enough for a hold-out, several for cross-validation, none where no class has
            two examples, or where `seen`. Each class of a val part is in its fit part, and no group of
            `train` in both.
        classes: the classes' names.
        seed: of every draw the evaluator makes.
        own_val: the val part of `folds` is the data's own validation split.
        seen: the backbone was trained with these labels. What it makes of the images is then far better than
            what it makes of others: nothing can be chosen on them, and there are no folds.
        device: where to compute.
        network: the backbone and the images, for an evaluator that needs them.
        shared: what evaluators leave for each other, each by its own name. It belongs to whoever runs
            them, who hands the same one to every task of a run.
    """

    train: Features
    test: Features
    folds: tuple[tuple[Tensor, Tensor], ...]
    classes: tuple[str, ...]
    seed: int
    device: torch.device
    own_val: bool = False
    seen: bool = False
    network: Network | None = None
    shared: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def draw_rows(self, fraction: float, seed: int) -> Tensor:
        """Return the rows of `train` that `subset` takes, (m,) int64, ascending, of which nothing is copied.

        Args:
            fraction: as of `subset`.
            seed: likewise.

        Raises:
            BadValue: the fraction is out of range.
            Unsupported: it leaves a class without an example.
        """
        groups = None if self.train.groups is None else self.train.groups.numpy()
        return torch.from_numpy(splits.stratified_subset(self.train.y.numpy(), fraction, seed, groups=groups))

    def subset(self, fraction: float, seed: int) -> Task:
        """Return the task with a share of the labels: stratified, with folds of its own.

        What is found of it is shared with no other task: nobody else draws the same rows.

        Args:
            fraction: in (0, 1]; of each class, in whole groups where there are groups. 1 is the task as it
                is.
            seed: of the draw; a smaller fraction of the same seed lies inside a larger one.

        Raises:
            BadValue: the fraction is out of range.
            Unsupported: it leaves a class without an example.
        """
        if fraction == 1:
            return self
        train = self.train.take(self.draw_rows(fraction, seed))
        drawn = () if self.seen else draw_folds(train, seed)
        return replace(self, train=train, folds=drawn, own_val=False, network=None, shared={})

    def needed_network(self, evaluator: str) -> Network:
        """Return the network.

        Raises:
            BadValue: the task has features only.
        """
        if self.network is None:
            raise BadValue(f"{evaluator}: it needs a backbone and images, but was given features only.")
        return self.network


def draw_folds(labelled: Features, seed: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Return the folds of labelled examples, as `Task.folds` has them."""
    groups = None if labelled.groups is None else labelled.groups.numpy()
    pairs = splits.folds(labelled.y.numpy(), seed, groups)
    return tuple((torch.from_numpy(fit), torch.from_numpy(val)) for fit, val in pairs)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What an evaluator found.

    Args:
        metrics: by name, the headline first; accuracies in percent.
        predictions: (n,), int64, the predicted class of each test image; none of what does not
            classify.
        confidence: (n,), float32, the probability of the predicted class, where there is one.
        per_class: by name, a value a class.
        protocol: for the record: what was chosen and on what. Left out are what every evaluator of
            frozen features shares: `features` frozen, `probe` offline.
        lower_is_better: the metrics of which less is better.
        neither_is_better: the metrics of which neither more nor less means better features, so that a table
            marks no best: such as one that a collapsed or an untrained network may win.
    """

    metrics: Mapping[str, float]
    predictions: Tensor | None = None
    confidence: Tensor | None = None
    per_class: Mapping[str, Sequence[float]] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    lower_is_better: frozenset[str] = frozenset({"nll", "ece"})
    neither_is_better: frozenset[str] = frozenset()

    def direction(self, metric: str) -> bool | None:
        """Tell whether more of a metric is better; none where neither more nor less is."""
        return None if metric in self.neither_is_better else metric not in self.lower_is_better


class Evaluator(Declared, ABC):
    """A measure of a trained backbone, by its features unless it needs more.

    Args:
        config: a `Config` of its class.
    """

    needs: ClassVar[Needs] = "features"  # or `Task.network`, too
    takes_fraction: ClassVar[bool] = True  # or it is given all labels, once
    uses_labels: ClassVar[bool] = True  # or it works on data without any, too
    draws_subsets: ClassVar[bool] = False  # by `Task.subset`: groups of images are then in its key

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.needs not in get_args(Needs):
            near = suggest(str(cls.needs), get_args(Needs))
            raise BadValue(f"{cls.__name__}.needs: {cls.needs!r} is unknown.{near}")

    def __init__(self, config: Any) -> None:
        check_fields(config, type(self).__name__)
        self.config = config

    @classmethod
    def features(cls, config: Any) -> FeatureSpec:
        """Return which features `Task.train` and `Task.test` are to hold."""
        return FeatureSpec()

    @classmethod
    def uses(cls, config: Any) -> Mapping[str, Evaluator]:
        """Return the other evaluators that this one fits, by name and as it fits them.

        What changes their numbers changes those of this one: its key holds their versions and settings.
        """
        return {}

    @classmethod
    def excerpt(cls, config: Any, sample: Mapping[str, int], whole: Mapping[str, int]) -> tuple[Any, float]:
        """Return a config that takes less time, and how many times as long `config` takes as it does.

        A dry run asks it of an evaluator that `needs` the backbone, and times the excerpt on a few images:
        one that goes over its rows for many epochs returns a config of one.

        Args:
            config: whose time is asked for.
            sample: images of `train` and of `test` that the excerpt is given.
            whole: likewise, that `config` is given.
        """
        return config, sum(whole.values()) / sum(sample.values())

    def check(self, labelled: int, classes: int) -> None:
        """Refuse, before any training, what cannot be evaluated.

        Args:
            labelled: examples that `Task.train` will have.
            classes: number of classes.

        Raises:
            BadValue: the config does not fit.
        """

    @abstractmethod
    def evaluate(self, task: Task) -> Scores:
        """Choose on `task.folds`, predict `task.test` once."""
