"""Plan a cell: an evaluator at a label fraction on a backbone, and the chain of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

from bench.boundary import why_refused
from bench.keys import digest
from bench.planning.backbone_planner import BackbonePlanner
from bench.planning.cells import Cell, Keys, PluginChoice
from bench.planning.failure_report import FailureReport
from bench.planning.plans import BackbonePlan, LabelSubset, SeededPlan
from bench.planning.plugin_choices import PluginChoices
from bench.planning.settings import settings_that_apply
from bench.splits.amounts import ALL_LABELS, LabelAmount

Names = tuple[str, str, str]  # of a dataset, a backbone and a method
Axes = tuple[int, str, tuple[str, LabelAmount | None]]  # seed, what is evaluated on, evaluator and labels


class CellPlanner:
    """Plans cells on planned backbones.

    Args:
        plugins: what is combined.
        backbones: plans what the cells train.
    """

    def __init__(self, plugins: PluginChoices, backbones: BackbonePlanner) -> None:
        self.plugins, self.datasets, self.backbones = plugins, plugins.datasets, backbones

    def plan(self, trained: BackbonePlan, axes: Axes, settings: Mapping[str, Any]) -> Cell:
        """Return the cell of an evaluator at an amount of labels on what a backbone plan trains."""
        seed, eval_name, (evaluator_name, amount) = axes
        data = self._choose_eval_dataset(trained, eval_name, settings)
        evaluator = self.plugins.choose("evaluators", evaluator_name, "evaluator", settings)
        amount = self._keep_only_if_needed(trained, data, amount, seed)
        source = self.backbones.plan_seed(trained, seed, self._seen_labels(trained.method.name, amount))
        choices: dict[str, Any] = {
            "method": trained.method,
            "backbone": trained.backbone,
            "dataset": trained.dataset,
            "eval_dataset": data,
            "evaluator": evaluator,
        }
        subset = self._draw_subset(data, evaluator, amount or ALL_LABELS, source.seed)
        if subset.refusal is None:
            self._check_evaluator(evaluator, data, subset.count)
        return Cell(
            **choices,
            amount=amount,
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
            keys=self._chain_keys(source, data, evaluator, amount, subset),
            skip=source.skip or subset.refusal or self._unfit(trained, evaluator),
        )

    def plan_failed(
        self, names: Names, axes: Axes, settings: Mapping[str, Any], failure: FailureReport
    ) -> Cell:
        """Return a cell whose plan failed, with as much as is known of it."""
        (dataset, backbone, method), (seed, eval_dataset, (evaluator, amount)) = names, axes
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
            amount=amount,
            seed=seed,
            split="train",
            label_share=1.0 if self._seen_labels(method, amount) else 0.0,
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

    def _seen_labels(self, method: str, amount: LabelAmount | None) -> LabelAmount | None:
        """Return the training labels that a method sees in a cell: never more than a probe; none if none."""
        return (amount or ALL_LABELS) if self.plugins.plugin("methods", method).uses_labels else None

    def _keep_only_if_needed(
        self, trained: BackbonePlan, data: PluginChoice, amount: LabelAmount | None, seed: int
    ) -> LabelAmount | None:
        """Return an amount that keeps one image of each class only where the fraction leaves one out."""
        if amount is None or not amount.keep_one:
            return amount
        plain = replace(amount, keep_one=False)
        used = [data]
        if self.plugins.plugin("methods", trained.method.name).uses_labels:
            used.append(trained.dataset)
        drawn = [LabelSubset.draw(partial(self.plugins.training_subset, one, plain, seed)) for one in used]
        return amount if any(one.refusal for one in drawn) else plain

    def _chain_keys(
        self,
        source: SeededPlan,
        data: PluginChoice,
        evaluator: PluginChoice,
        amount: LabelAmount | None,
        subset: LabelSubset,
    ) -> Keys:
        """Return the chain of a cell's keys."""
        spec = self.plugins.plugin("evaluators", evaluator.name).features(evaluator.config)
        features = self._feature_keys(source, data, spec.key_fields())
        score = {
            "stage": "score",
            "features": features,
            "evaluator": evaluator.identity,
            "label_frac": None if amount is None or amount.shots is not None else amount.fraction,
            "subset": subset.digest,
            "seed": source.seed,
        }
        if amount is not None and amount.shots is not None:
            score["shots"] = amount.shots
        if self._draws_by_group(data, evaluator, amount):
            score["groups"] = self.plugins.groups_digest(data)
        return Keys(backbone=source.key, features=features, score=digest(score))

    def _draws_by_group(
        self, data: PluginChoice, evaluator: PluginChoice, amount: LabelAmount | None
    ) -> bool:
        """Tell whether a score depends on which images are in a group beyond the labels it is given."""
        if self.plugins.groups(data) is None:
            return False
        own_folds = "val" in self.datasets.open(data).splits and (amount is None or amount.is_all)
        return not own_folds or self.plugins.plugin("evaluators", evaluator.name).draws_subsets

    def _check_evaluator(self, evaluator: PluginChoice, data: PluginChoice, labelled: int) -> None:
        """Refuse an evaluator that cannot work with so many labelled images.

        Raises:
            BadValue: its config does not fit.
        """
        classes = len(self.datasets.open(data).info.classes)
        self.plugins.plugin("evaluators", evaluator.name)(evaluator.config).check(labelled, classes)

    def _draw_subset(
        self, data: PluginChoice, evaluator: PluginChoice, amount: LabelAmount, seed: int
    ) -> LabelSubset:
        """Return the labels that an amount gives, or why it gives none."""
        needed = self.plugins.plugin("evaluators", evaluator.name).uses_labels
        if not needed and not (self.plugins.pool(data) >= 0).any():
            return LabelSubset(0, "none", refusal=None)
        return LabelSubset.draw(lambda: self.plugins.subset(data, amount, seed))

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
