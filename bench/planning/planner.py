"""From a request to cells: every combination, resolved, keyed, and checked before training.

A cell is one point of the grid. Its stages form a chain of keys, each a digest of the stage's own
settings and of the key before it: so a backbone is trained once and evaluated many times, and a changed
evaluator retrains nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from bench.augmentation.view import View
from bench.boundary import is_fault_of_plugin, why_refused
from bench.config import key_fields
from bench.contracts.recipe import TrainConfig, Training, resolve, too_few_images
from bench.errors import BadPlugin, BadValue
from bench.keys import digest
from bench.planning.cells import TRAINING_PARTS, Cell, Keys, PluginChoice
from bench.planning.checks import check_request
from bench.planning.failure_report import FailureReport
from bench.planning.open_datasets import Datasets
from bench.planning.plans import BackbonePlan, LabelSubset, SeededPlan
from bench.planning.plugin_choices import PluginChoices, settings_that_apply
from bench.planning.request import Request
from bench.planning.views import read_train_config, resolve_views, spend_budget
from bench.registry.registry import Registry

__all__ = ["Cell", "Datasets", "Request", "plan"]

T = TypeVar("T")
Names = tuple[str, str, str]  # of a dataset, a backbone and a method
Axes = tuple[int, str, tuple[str, float | None]]  # seed, what is evaluated on, evaluator and label fraction


def plan(request: Request, registry: Registry, datasets: Datasets) -> list[Cell]:
    """Return the cells of a request in the order of its axes, each once, those of a backbone together.

    Raises:
        UsageError: something cannot be done whatever the combination, or no combination can work;
            found here, before any training.
    """
    plugins = PluginChoices(registry, datasets, request.auto_precision)
    check_request(request, plugins)
    cells: dict[str, Cell] = {}
    planner = Planner(request, plugins)
    for cell in planner.cells():
        cells.setdefault(cell.keys.score, cell)
    reasons = [cell.why_not for cell in cells.values()]
    if reasons and all(reasons):
        if planner.faults:
            raise BadPlugin(FailureReport.of("plan", planner.faults[0]).reason) from planner.faults[0]
        raise BadValue(str(reasons[0]))
    by_backbone: dict[str, list[Cell]] = {}
    for cell in _mark_varying(cells.values()):
        by_backbone.setdefault(cell.keys.backbone, []).append(cell)
    return [cell for group in by_backbone.values() for cell in group]


def _mark_varying(cells: Collection[Cell]) -> Iterator[Cell]:
    """Yield the cells, each with those of its settings that differ within the grid."""
    values: dict[str, set[str]] = {}
    for cell in cells:
        for name, value in cell.settings.items():
            values.setdefault(name, set()).add(repr(value))
    varying = {name for name, written in values.items() if len(written) > 1}
    for cell in cells:
        varied = {name: value for name, value in cell.settings.items() if name in varying}
        yield replace(cell, varied=varied) if varied else cell


class Planner:
    """The grid of one request; what cells have in common is worked out once.

    A plugin that raises when it is asked for something fails the cells that it is in, and no others.
    """

    def __init__(self, request: Request, plugins: PluginChoices) -> None:
        self.request, self.plugins, self.datasets = request, plugins, plugins.datasets
        self.faults: list[Exception] = []

    def cells(self) -> Iterator[Cell]:
        """Yield every combination, those that share a backbone one after the other."""
        request = self.request
        for point in itertools.product(*request.settings.values()):
            settings = dict(zip(request.settings, point, strict=True))
            for names in itertools.product(request.dataset, request.backbone, request.method):
                trained = self._attempt(self._plan_backbone, *names, settings)
                eval_datasets = request.eval_dataset or names[:1]
                for axes in itertools.product(request.seed, eval_datasets, self._list_evaluations()):
                    yield self._plan_cell(names, trained, axes, settings)

    def _plan_cell(
        self, names: Names, trained: BackbonePlan | FailureReport, axes: Axes, settings: Mapping[str, Any]
    ) -> Cell:
        """Return one cell, as it is planned or as its plan failed."""
        planned: Cell | FailureReport = (
            trained
            if isinstance(trained, FailureReport)
            else self._attempt(self._build_cell, trained, axes, settings)
        )
        return planned if isinstance(planned, Cell) else self._fail_cell(names, axes, settings, planned)

    def _attempt(self, plan: Callable[..., T], *args: Any) -> T | FailureReport:
        """Return what is planned, or the report of what a plugin raised meanwhile."""
        try:
            return plan(*args)
        except Exception as error:
            if not is_fault_of_plugin(error):
                raise
            self.faults.append(error)
            return FailureReport.of("plan", error)

    def _list_evaluations(self) -> list[tuple[str, float | None]]:
        """Return each evaluator with each label fraction; with none if it takes none."""
        return [
            (name, fraction)
            for name in self.request.evaluator
            for fraction in self._list_fractions(self.plugins.plugin("evaluators", name))
        ]

    def _list_fractions(self, evaluator: Any) -> tuple[float | None, ...]:
        return self.request.label_frac if evaluator.takes_fraction else (None,)

    def _label_share(self, method: str, fraction: float | None) -> float:
        """Return the share of the training labels that a method sees in a cell: never more than a probe."""
        if not self.plugins.plugin("methods", method).uses_labels:
            return 0.0
        return 1.0 if fraction is None else fraction

    # ---- a backbone

    def _plan_backbone(
        self, dataset: str, backbone: str, method: str, settings: Mapping[str, Any]
    ) -> BackbonePlan:
        """Return the plan of a backbone, resolved once for all cells that train it alike."""
        backbone = self.plugins.plugin("methods", method).fixed_backbone or backbone
        parts = {*TRAINING_PARTS, dataset, backbone, method}
        relevant = [item for item in settings.items() if item[0].partition(".")[0] in parts]
        memo = ("trained", dataset, backbone, method, repr(relevant))
        plan = self.plugins.remember(
            memo, lambda: self._resolve_backbone(dataset, backbone, method, settings)
        )
        return cast("BackbonePlan", plan)

    def _resolve_backbone(
        self, dataset: str, backbone: str, method: str, settings: Mapping[str, Any]
    ) -> BackbonePlan:
        cls = self.plugins.plugin("methods", method)
        choices = {
            "method": self.plugins.choose("methods", method, "method", settings),
            "backbone": self.plugins.choose("backbones", backbone, "backbone", settings),
            "dataset": self.plugins.choose("datasets", dataset, "dataset", settings),
        }
        info = self.plugins.training_info(choices["method"], choices["dataset"])
        train = read_train_config(settings)
        resolved = resolve_views(choices["method"], info, train, settings, self.plugins)
        views, size = resolved.applied, resolved.image_size
        pretrain = self.datasets.open(choices["dataset"]).pretrain
        # as many steps for all methods, whether or not they can use all of what is there to pretrain on
        images = len(self.plugins.labels(choices["dataset"], pretrain)) if cls.recipe else 0
        train = spend_budget(train, cls, views, images, size) if cls.recipe else train
        training = self._resolve_training(choices["method"], choices["dataset"], images, train, size)
        if training and training.layer_decay:
            self.plugins.refuse_unknown_layers(choices["backbone"])
        unsupported = self._why_unsupported(choices["backbone"], info.channels, size, views)
        digested = {
            "stage": "backbone",
            **{role: choice.identity for role, choice in choices.items()},
            "training": training.key_fields() if training else {"image_size": size},
            "views": [key_fields(view) for view in views],
        }
        normalisation = self.plugins.normalisation(choices["backbone"], info.channels)
        if normalisation:
            digested["normalisation"] = normalisation.key_fields()
        return BackbonePlan(
            **choices,
            split="train" if cls.uses_labels else pretrain,
            training=training,
            views=views,
            image_size=size,
            epoch_images=images,
            normalisation=normalisation,
            digested=digested,
            unsupported=unsupported
            or self.plugins.why_method_refuses(**choices, size=size)
            or self.plugins.why_training_refused(choices["method"], training, choices["dataset"]),
        )

    def _why_unsupported(
        self, backbone: PluginChoice, channels: int, image_size: int, views: Sequence[View]
    ) -> str | None:
        """Return why a backbone cannot work on images of these sizes, if it cannot."""
        reason = self.plugins.why_unsupported(backbone, channels, image_size)
        for size in sorted({view.size for view in views if view.size is not None}):
            reason = reason or self.plugins.why_size_unsupported(backbone, channels, image_size, size)
        return reason

    def _plan_seed(self, trained: BackbonePlan, seed: int, share: float) -> SeededPlan:
        def plan() -> SeededPlan:
            fields, subset = {**trained.digested, "seed": seed}, LabelSubset(0, "", refusal=None)
            if share:
                subset = self._draw_training_labels(trained, share, seed)
                fields |= {"labels": subset.digest, "epoch_images": trained.epoch_images}
            skip = subset.refusal or trained.unsupported
            return SeededPlan(trained, seed, share, subset.count, key=digest(fields), skip=skip)

        return cast("SeededPlan", self.plugins.remember(("source", trained, seed, share), plan))

    def _resolve_training(
        self, method: PluginChoice, data: PluginChoice, images: int, train: TrainConfig, size: int
    ) -> Training | None:
        """Return the resolved training, of epochs of so many images; none where the method trains nothing."""
        cls = self.plugins.plugin("methods", method.name)
        if cls.recipe is None:
            return None
        if images < train.batch_size * train.accumulate:
            raise too_few_images(train.batch_size, images, data.name, train.accumulate)
        try:
            recipe = cls.recipe_for(method.config, self.plugins.training_info(method, data), size)
        except BadValue as error:
            raise BadValue(f"{method.name}: {error}") from error
        if recipe is None:
            raise BadPlugin(f"{method.name}: recipe_for() returned none. Return a Recipe, or leave it out.")
        precision = self.request.auto_precision if train.precision == "auto" else train.precision
        return resolve(recipe, train, size, precision, where=f"{method.name}: recipe")

    # ---- a cell

    def _build_cell(self, trained: BackbonePlan, axes: Axes, settings: Mapping[str, Any]) -> Cell:
        """Return the cell of an evaluator at a label fraction on what a backbone plan trains."""
        seed, eval_name, (evaluator_name, fraction) = axes
        source = self._plan_seed(trained, seed, self._label_share(trained.method.name, fraction))
        data = self._choose_eval_dataset(trained, eval_name, settings)
        evaluator = self.plugins.choose("evaluators", evaluator_name, "evaluator", settings)
        choices: dict[str, Any] = {
            "method": trained.method,
            "backbone": trained.backbone,
            "dataset": trained.dataset,
            "eval_dataset": data,
            "evaluator": evaluator,
        }
        subset = self._draw_subset(data, fraction or 1.0, source.seed)
        if subset.refusal is None:
            self._check_evaluator(evaluator, data, subset.count)
        return Cell(
            **choices,
            label_frac=fraction,
            seed=source.seed,
            split=trained.split,
            label_share=source.label_share,
            label_count=source.label_count,
            epoch_images=trained.epoch_images,
            training=trained.training,
            views=trained.views,
            image_size=trained.image_size,
            normalisation=trained.normalisation,
            settings=settings_that_apply(settings, choices, trained=trained.training is not None),
            keys=self._chain_keys(source, data, evaluator, fraction, subset),
            skip=source.skip or subset.refusal or self._unfit(trained, evaluator),
        )

    def _fail_cell(
        self, names: Names, axes: Axes, settings: Mapping[str, Any], failure: FailureReport
    ) -> Cell:
        """Return a cell whose plan failed, with as much as is known of it."""
        (dataset, backbone, method), (seed, eval_dataset, (evaluator, fraction)) = names, axes
        cls, choose = self.plugins.plugin("methods", method), self.plugins.choose_anyhow
        choices: dict[str, Any] = {
            "method": choose("methods", method, "method", settings),
            "backbone": choose("backbones", cls.fixed_backbone or backbone, "backbone", settings),
            "dataset": choose("datasets", dataset, "dataset", settings),
            "evaluator": choose("evaluators", evaluator, "evaluator", settings),
        }
        role = "eval_dataset" if self._is_other_data(dataset, eval_dataset, settings) else "dataset"
        choices["eval_dataset"] = choose("datasets", eval_dataset, role, settings)
        cell = Cell(
            **choices,
            label_frac=fraction,
            seed=seed,
            split="train",
            label_share=self._label_share(method, fraction),
            label_count=0,
            epoch_images=0,
            training=None,
            views=(),
            image_size=0,
            normalisation=None,
            settings=settings_that_apply(settings, choices, trained=cls.recipe is not None),
            keys=Keys(backbone="", features={}, score=""),
            failure=failure,
        )
        key = cell.unplanned_key
        return replace(cell, keys=Keys(backbone=key, features={}, score=key))

    def _chain_keys(
        self,
        source: SeededPlan,
        data: PluginChoice,
        evaluator: PluginChoice,
        fraction: float | None,
        subset: LabelSubset,
    ) -> Keys:
        """Return the chain of a cell's keys."""
        spec = self.plugins.plugin("evaluators", evaluator.name).features(evaluator.config)
        features = self._feature_keys(source, data, spec.key_fields())
        score = {
            "stage": "score",
            "features": features,
            "evaluator": evaluator.identity,
            "label_frac": fraction,
            "subset": subset.digest,
            "seed": source.seed,
        }
        if self._draws_by_group(data, evaluator, fraction):
            score["groups"] = self.plugins.groups_digest(data)
        return Keys(backbone=source.key, features=features, score=digest(score))

    def _draws_by_group(self, data: PluginChoice, evaluator: PluginChoice, fraction: float | None) -> bool:
        """Tell whether a score depends on which images are in a group beyond the labels it is given."""
        if self.plugins.groups(data) is None:
            return False
        own_folds = "val" in self.datasets.open(data).splits and fraction in (None, 1)
        return not own_folds or self.plugins.plugin("evaluators", evaluator.name).draws_subsets

    def _check_evaluator(self, evaluator: PluginChoice, data: PluginChoice, labelled: int) -> None:
        """Refuse an evaluator that cannot work with so many labelled images.

        Raises:
            BadValue: its config does not fit.
        """
        classes = len(self.datasets.open(data).info.classes)
        self.plugins.plugin("evaluators", evaluator.name)(evaluator.config).check(labelled, classes)

    def _draw_subset(self, data: PluginChoice, fraction: float, seed: int) -> LabelSubset:
        """Return the labels that a fraction gives, or why it gives none."""
        return LabelSubset.draw(lambda: self.plugins.subset(data, fraction, seed))

    def _draw_training_labels(self, trained: BackbonePlan, share: float, seed: int) -> LabelSubset:
        """Return the labels that a method is trained with, or why there are none.

        Raises:
            BadValue: no image has one.
        """
        data = trained.dataset
        if not (self.plugins.pool(data) >= 0).any():
            raise BadValue(
                f"{trained.method.name}: it needs labels, but no image of {data.name} has one. "
                "Leave it out, or use another --dataset."
            )
        return LabelSubset.draw(lambda: self.plugins.training_subset(data, share, seed))

    def _unfit(self, trained: BackbonePlan, evaluator: PluginChoice) -> str | None:
        """Return why an evaluator cannot work on what a method and its backbone give, if it cannot."""
        method, backbone = trained.method, trained.backbone
        cls = self.plugins.plugin("evaluators", evaluator.name)
        fixed = self.plugins.plugin("methods", method.name).fixed_backbone
        if fixed is not None and cls.needs != "features":
            return f"{evaluator.name}: it needs a backbone to work on, but {method.name} has features only."
        spec = cls.features(evaluator.config)
        if not spec.blocks:
            return None
        channels = self.datasets.open(trained.dataset).info.channels
        about = self.plugins.plugin("backbones", backbone.name).about
        reason = why_refused(
            lambda: spec.check(
                backbone.name, about(backbone.name, backbone.config, channels, trained.image_size)
            )
        )
        return reason and f"{evaluator.name} on {reason}"

    def _choose_eval_dataset(
        self, trained: BackbonePlan, name: str, settings: Mapping[str, Any]
    ) -> PluginChoice:
        """Return what is evaluated on: what was trained on, unless it has settings of its own."""
        if not self._is_other_data(trained.dataset.name, name, settings):
            return trained.dataset
        return self.plugins.choose("datasets", name, "eval_dataset", settings)

    def _is_other_data(self, dataset: str, eval_dataset: str, settings: Mapping[str, Any]) -> bool:
        """Tell whether what is evaluated on is not what was trained on."""
        return eval_dataset != dataset or any(name.startswith("eval_dataset.") for name in settings)

    def _feature_keys(
        self, source: SeededPlan, data: PluginChoice, spec: Mapping[str, Any]
    ) -> dict[str, str]:
        """Return the key of each split's features; `spec` is what it says of them beside the backbone."""

        def make() -> dict[str, str]:
            fields: dict[str, Any] = {
                "stage": "features",
                "backbone": source.key,
                "dataset": data.identity,
                "transform": {"image_size": source.trained.image_size},
            }
            if spec:
                fields["features"] = spec
            return {split: digest({**fields, "split": split}) for split in self.datasets.open(data).splits}

        memo = ("features", source.key, data.key, data.root, repr(spec))
        return cast("dict[str, str]", self.plugins.remember(memo, make))
