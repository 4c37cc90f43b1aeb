"""Plan a backbone: what it is trained on and how, resolved, checked and digested for its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from bench.augmentation.view import View
from bench.config import key_fields
from bench.contracts.recipe import TrainConfig, Training, resolve, too_few_images
from bench.errors import BadPlugin, BadValue
from bench.keys import digest
from bench.planning.cells import TRAINING_PARTS, PluginChoice
from bench.planning.plans import BackbonePlan, LabelSubset, SeededPlan
from bench.planning.plugin_choices import PluginChoices
from bench.planning.views import read_train_config, resolve_views, spend_budget
from bench.splits.amounts import LabelAmount


class BackbonePlanner:
    """Plans backbones, each once for all cells that train it alike.

    Args:
        plugins: what is combined.
    """

    def __init__(self, plugins: PluginChoices) -> None:
        self.plugins, self.datasets = plugins, plugins.datasets

    def plan(self, dataset: str, backbone: str, method: str, settings: Mapping[str, Any]) -> BackbonePlan:
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
        notes = () if unsupported else self.plugins.backbone_notes(choices["backbone"], info.channels, size)
        return BackbonePlan(
            **choices,
            notes=notes,
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

    def plan_seed(self, trained: BackbonePlan, seed: int, seen: LabelAmount | None) -> SeededPlan:
        """Return the plan of a backbone with a seed and the labels that it is trained with, if any."""

        def plan() -> SeededPlan:
            fields, subset = {**trained.digested, "seed": seed}, LabelSubset(0, "", refusal=None)
            share = 0.0
            if seen:
                subset = self._draw_training_labels(trained, seen, seed)
                share = self._measure_share(trained.dataset, seen, subset)
                fields |= {"labels": subset.digest, "epoch_images": trained.epoch_images}
            skip = subset.refusal or trained.unsupported
            return SeededPlan(trained, seed, share, subset.count, key=digest(fields), skip=skip)

        return cast("SeededPlan", self.plugins.remember(("source", trained, seed, seen), plan))

    def _measure_share(self, data: PluginChoice, amount: LabelAmount, subset: LabelSubset) -> float:
        """Return the share of the labels that is seen: the fraction, or that of so many shots."""
        if amount.shots is None:
            return amount.fraction
        return max(subset.count, 1) / int((self.plugins.pool(data) >= 0).sum())

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
            recipe = method.presets.get("recipe") or cls.recipe_for(
                method.config, self.plugins.training_info(method, data), size
            )
        except BadValue as error:
            raise BadValue(f"{method.name}: {error}") from error
        if recipe is None:
            raise BadPlugin(f"{method.name}: recipe_for() returned none. Return a Recipe, or leave it out.")
        precision = self.plugins.auto_precision if train.precision == "auto" else train.precision
        return resolve(recipe, train, size, precision, where=f"{method.name}: recipe")

    def _draw_training_labels(self, trained: BackbonePlan, amount: LabelAmount, seed: int) -> LabelSubset:
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
        return LabelSubset.draw(lambda: self.plugins.training_subset(data, amount, seed))
