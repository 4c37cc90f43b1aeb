"""From what was asked to cells: every combination, resolved, keyed, and checked before training.

A cell is one point of the grid. Its stages form a chain of keys, each a digest of what the stage is
told and of the key before it: so a backbone is trained once and evaluated many times, and a changed
evaluator retrains nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from bench.augmentation.view import View
from bench.config import key_fields
from bench.contracts.recipe import TrainConfig, Training, resolve, too_few_images
from bench.errors import BadValue, Unsupported
from bench.keys import digest
from bench.planning.cells import TRAINING_PARTS, Cell, Keys, PluginChoice
from bench.planning.checks import check_request
from bench.planning.open_datasets import Datasets
from bench.planning.plugin_choices import PluginChoices, settings_that_apply
from bench.planning.request import Request
from bench.planning.views import read_train_config, resolve_views
from bench.registry.registry import Registry

__all__ = ["Cell", "Datasets", "Request", "plan"]


def plan(request: Request, registry: Registry, datasets: Datasets) -> list[Cell]:
    """Return the cells of a request in the order of its axes, each once, those of a backbone together.

    Raises:
        UsageError: something cannot be done whatever the combination, or no combination can work;
            found here, before any training.
    """
    parts = PluginChoices(registry, datasets)
    check_request(request, parts)
    cells: dict[str, Cell] = {}
    for cell in Planner(request, parts).cells():
        cells.setdefault(cell.keys.score, cell)
    skips = [cell.skip for cell in cells.values()]
    if skips and all(skips):
        raise BadValue(str(skips[0]))
    together: dict[str, list[Cell]] = {}
    for cell in _mark_varying(cells.values()):
        together.setdefault(cell.keys.backbone, []).append(cell)
    return [cell for group in together.values() for cell in group]


def _mark_varying(cells: Collection[Cell]) -> Iterator[Cell]:
    """Yield the cells, each with those of its settings that differ within the grid."""
    values: dict[str, set[str]] = {}
    for cell in cells:
        for name, value in cell.settings.items():
            values.setdefault(name, set()).add(repr(value))
    varying = {name for name, found in values.items() if len(found) > 1}
    for cell in cells:
        varied = {name: value for name, value in cell.settings.items() if name in varying}
        yield replace(cell, varied=varied) if varied else cell


@dataclass(frozen=True, kw_only=True, eq=False)
class BackbonePlan:
    """What cells of one backbone and of any seed have in common; the fields are those of `Cell`.

    Args:
        told: what its key is a digest of, but for the seed.
        unsupported: why the backbone cannot work on these images, if it cannot.
    """

    method: PluginChoice
    backbone: PluginChoice
    dataset: PluginChoice
    split: str
    training: Training | None
    views: tuple[View, ...]
    image_size: int
    told: Mapping[str, Any]
    unsupported: str | None


@dataclass(frozen=True)
class SeededPlan:
    """What cells of one backbone have in common: a seed, too."""

    trained: BackbonePlan
    seed: int
    label_share: float
    key: str
    skip: str | None


class Planner:
    """The grid of one request; what cells have in common is worked out once."""

    def __init__(self, request: Request, parts: PluginChoices) -> None:
        self.request, self.parts, self.datasets = request, parts, parts.datasets

    def cells(self) -> Iterator[Cell]:
        """Yield every combination, those that share a backbone one after the other."""
        request = self.request
        for point in itertools.product(*request.settings.values()):
            settings = dict(zip(request.settings, point, strict=True))
            for names in itertools.product(request.dataset, request.backbone, request.method):
                trained = self._backbone_plan(*names, settings)
                for seed in request.seed:
                    yield from self._cells_of_seed(trained, seed, settings)

    def _cells_of_seed(self, trained: BackbonePlan, seed: int, settings: Mapping[str, Any]) -> Iterator[Cell]:
        for eval_dataset in self.request.eval_dataset or (trained.dataset.name,):
            for evaluator, fraction in self._evaluations():
                source = self._source(trained, seed, self._label_share(trained.method.name, fraction))
                yield self._cell(source, eval_dataset, evaluator, fraction, settings)

    def _evaluations(self) -> Iterator[tuple[str, float | None]]:
        """Yield each evaluator with each label fraction; with none if it takes none."""
        for name in self.request.evaluator:
            takes = self.parts.plugin("evaluators", name).takes_fraction
            for fraction in self.request.label_frac if takes else (None,):
                yield name, fraction

    def _label_share(self, method: str, fraction: float | None) -> float:
        """Return the share of the training labels that a method sees in a cell: never more than a probe."""
        if not self.parts.plugin("methods", method).uses_labels:
            return 0.0
        return 1.0 if fraction is None else fraction

    # ---- a backbone

    def _backbone_plan(
        self, dataset: str, backbone: str, method: str, settings: Mapping[str, Any]
    ) -> BackbonePlan:
        backbone = self.parts.plugin("methods", method).fixed_backbone or backbone
        count = {*TRAINING_PARTS, dataset, backbone, method}
        told = [item for item in settings.items() if item[0].partition(".")[0] in count]
        memo = ("trained", dataset, backbone, method, repr(told))
        return cast(
            "BackbonePlan",
            self.parts.remember(memo, lambda: self._resolve_backbone(dataset, backbone, method, settings)),
        )

    def _resolve_backbone(
        self, dataset: str, backbone: str, method: str, settings: Mapping[str, Any]
    ) -> BackbonePlan:
        cls = self.parts.plugin("methods", method)
        parts = {
            "method": self.parts.choose("methods", method, "method", settings),
            "backbone": self.parts.choose("backbones", backbone, "backbone", settings),
            "dataset": self.parts.choose("datasets", dataset, "dataset", settings),
        }
        info = self.datasets.open(parts["dataset"]).info
        train = read_train_config(settings)
        resolved = resolve_views(parts["method"], info, train, settings, self.parts)
        views, size = resolved.applied, resolved.image_size
        split = "train" if cls.uses_labels else self.datasets.open(parts["dataset"]).pretrain
        training = self._training(parts["method"], parts["dataset"], split, train, size)
        told = {
            "stage": "backbone",
            **{role: part.identity for role, part in parts.items()},
            "training": training.key_fields() if training else {"image_size": size},
            "views": [key_fields(view) for view in views],
        }
        return BackbonePlan(
            **parts,
            split=split,
            training=training,
            views=views,
            image_size=size,
            told=told,
            unsupported=self._why_unsupported(parts["backbone"], info.channels, size, views),
        )

    def _why_unsupported(
        self, backbone: PluginChoice, channels: int, image_size: int, views: Sequence[View]
    ) -> str | None:
        """Return why a backbone cannot work on images of these sizes, if it cannot."""
        reason = self.parts.why_unsupported(backbone, channels, image_size)
        for size in sorted({view.size for view in views if view.size is not None}):
            reason = reason or self.parts.why_size_unsupported(backbone, channels, image_size, size)
        return reason

    def _source(self, trained: BackbonePlan, seed: int, share: float) -> SeededPlan:
        def make() -> SeededPlan:
            told, lacking = {**trained.told, "seed": seed}, None
            if 0 < share < 1:
                _, told["labels"], lacking = self._subset(trained.dataset, share, seed)
            return SeededPlan(
                trained, seed=seed, label_share=share, key=digest(told), skip=lacking or trained.unsupported
            )

        return cast("SeededPlan", self.parts.remember(("source", trained, seed, share), make))

    def _training(
        self, method: PluginChoice, data: PluginChoice, split: str, train: TrainConfig, size: int
    ) -> Training | None:
        """Return the resolved training; none where the method trains nothing."""
        cls = self.parts.plugin("methods", method.name)
        if cls.recipe is None:
            return None
        labels = self.parts.labels(data, split)
        if len(labels) < train.batch_size * train.accumulate:
            raise too_few_images(train.batch_size, len(labels), data.name, train.accumulate)
        if cls.uses_labels and labels.min() < 0:
            raise BadValue(f"{method.name}: it needs labels, but not every image of {data.name} has one.")
        auto = train.precision == "auto"
        return resolve(cls.recipe, train, size, self.request.auto_precision if auto else train.precision)

    # ---- a cell

    def _cell(
        self,
        source: SeededPlan,
        eval_name: str,
        evaluator_name: str,
        fraction: float | None,
        settings: Mapping[str, Any],
    ) -> Cell:
        trained, data = source.trained, self._eval_choice(source.trained, eval_name, settings)
        evaluator = self.parts.choose("evaluators", evaluator_name, "evaluator", settings)
        count, subset, lacking = self._subset(data, fraction or 1.0, source.seed)
        cls = self.parts.plugin("evaluators", evaluator_name)
        if lacking is None:
            classes = len(self.datasets.open(data).info.classes)
            cls(evaluator.config).check(count, classes)
        spec = cls.features(evaluator.config)
        features = self._feature_keys(source, data, spec.key_fields())
        told = {
            "stage": "score",
            "features": features,
            "evaluator": evaluator.identity,
            "label_frac": fraction,
            "subset": subset,
            "seed": source.seed,
        }
        parts: dict[str, Any] = {
            "method": trained.method,
            "backbone": trained.backbone,
            "dataset": trained.dataset,
            "eval_dataset": data,
            "evaluator": evaluator,
        }
        return Cell(
            **parts,
            label_frac=fraction,
            seed=source.seed,
            split=trained.split,
            label_share=source.label_share,
            training=trained.training,
            views=trained.views,
            image_size=trained.image_size,
            settings=settings_that_apply(settings, parts, trained=trained.training is not None),
            keys=Keys(backbone=source.key, features=features, score=digest(told)),
            skip=source.skip or lacking or self._unfit(trained, evaluator),
        )

    def _subset(self, data: PluginChoice, fraction: float, seed: int) -> tuple[int, str, str | None]:
        """Return how many labels a fraction gives, the digest of which, and why it cannot be drawn."""
        try:
            return *self.parts.subset(data, fraction, seed), None
        except Unsupported as error:
            return 0, "", str(error)

    def _unfit(self, trained: BackbonePlan, evaluator: PluginChoice) -> str | None:
        """Return why an evaluator cannot work on what a method and its backbone give, if it cannot."""
        method, backbone = trained.method, trained.backbone
        cls = self.parts.plugin("evaluators", evaluator.name)
        fixed = self.parts.plugin("methods", method.name).fixed_backbone
        if fixed is not None and cls.needs != "features":
            return f"{evaluator.name}: it needs a backbone to work on, but {method.name} has features only."
        spec = cls.features(evaluator.config)
        if not spec.blocks:
            return None
        channels = self.datasets.open(trained.dataset).info.channels
        about = self.parts.plugin("backbones", backbone.name).about
        try:
            spec.check(backbone.name, about(backbone.name, backbone.config, channels, trained.image_size))
        except Unsupported as error:
            return f"{evaluator.name} on {error}"
        return None

    def _eval_choice(self, trained: BackbonePlan, name: str, settings: Mapping[str, Any]) -> PluginChoice:
        """Return what is evaluated on: what was trained on, unless something else is said of it."""
        own = any(setting.startswith("eval_dataset.") for setting in settings)
        if name == trained.dataset.name and not own:
            return trained.dataset
        return self.parts.choose("datasets", name, "eval_dataset", settings)

    def _feature_keys(
        self, source: SeededPlan, data: PluginChoice, spec: Mapping[str, Any]
    ) -> dict[str, str]:
        """Return the key of each split's features; `spec` is what it says of them beside the backbone."""

        def make() -> dict[str, str]:
            transform = {"image_size": source.trained.image_size}
            told = {
                "stage": "features",
                "backbone": source.key,
                "dataset": data.identity,
                "transform": transform,
            }
            if spec:
                told["features"] = spec
            return {split: digest({**told, "split": split}) for split in self.datasets.open(data).splits}

        memo = ("features", source.key, data.key, data.root, repr(spec))
        return cast("dict[str, str]", self.parts.remember(memo, make))
