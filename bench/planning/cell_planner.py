"""Plan a cell: an evaluator at a label fraction on a backbone, and the chain of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from bench.boundary import why_refused
from bench.keys import digest
from bench.planning.backbone_planner import BackbonePlanner
from bench.planning.cells import Cell, Keys, PluginChoice
from bench.planning.failure_report import FailureReport
from bench.planning.plans import BackbonePlan, LabelSubset, SeededPlan
from bench.planning.plugin_choices import PluginChoices, settings_that_apply

Names = tuple[str, str, str]  # of a dataset, a backbone and a method
Axes = tuple[int, str, tuple[str, float | None]]  # seed, what is evaluated on, evaluator and label fraction


class CellPlanner:
    """Plans cells on planned backbones.

    Args:
        plugins: what is combined.
        backbones: plans what the cells train.
    """

    def __init__(self, plugins: PluginChoices, backbones: BackbonePlanner) -> None:
        self.plugins, self.datasets, self.backbones = plugins, plugins.datasets, backbones

    def plan(self, trained: BackbonePlan, axes: Axes, settings: Mapping[str, Any]) -> Cell:
        """Return the cell of an evaluator at a label fraction on what a backbone plan trains."""
        seed, eval_name, (evaluator_name, fraction) = axes
        source = self.backbones.plan_seed(trained, seed, self._label_share(trained.method.name, fraction))
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

    def plan_failed(
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

    def _label_share(self, method: str, fraction: float | None) -> float:
        """Return the share of the training labels that a method sees in a cell: never more than a probe."""
        if not self.plugins.plugin("methods", method).uses_labels:
            return 0.0
        return 1.0 if fraction is None else fraction

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
