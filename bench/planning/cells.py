"""The cells of a grid, with everything resolved and keyed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import format_value
from bench.contracts.recipe import Training
from bench.keys import digest
from bench.planning.failure_report import FailureReport
from bench.splits.amounts import LabelAmount

if TYPE_CHECKING:
    from bench.contracts.backbone import Normalisation

TRAINING_PARTS = ("method", "backbone", "dataset", "train", "views")  # parts of `--set` that shape a backbone


@dataclass(frozen=True, kw_only=True)
class PluginChoice:
    """A plugin that was chosen, with its settings resolved.

    Args:
        kind: `methods`, `backbones`, `datasets` or `evaluators`.
        name: as the request has it.
        config: a `Config` of its class.
        identity: what a key hashes of it.
        root: of a dataset, the folder that was set.
        title: of a dataset, the name that people know it by; empty is its own.
        content: of a dataset, what its files hold, whatever is selected.
        presets: of a method, the recipe and views of others that take the place of its own, by slot; what
            they set is in a key, and not their names.
    """

    kind: str
    name: str
    config: Any
    identity: Mapping[str, Any]
    root: Path | None = None
    title: str = ""
    content: str = ""
    presets: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The name that people know it by."""
        return self.title or self.name

    @cached_property
    def key(self) -> str:
        """The digest of the identity."""
        return digest(self.identity)

    def is_same_data(self, other: PluginChoice) -> bool:
        """Tell whether two datasets are of the same files, whatever is selected of them."""
        if (self.name, self.identity.get("dist")) != (other.name, other.identity.get("dist")):
            return False
        return self.root == other.root or self.content == other.content


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The chain of a cell: `features` by split."""

    backbone: str
    features: Mapping[str, str]
    score: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of the grid, with everything resolved.

    Args:
        amount: of the labels; none where the evaluator takes no fraction.
        split: that the backbone is trained on; that of val as well where it is trained on labels.
        label_share: of the labels of train and val that the method sees, 0 where it looks at none.
        label_count: how many that are.
        epoch_images: how many images an epoch takes, 0 where nothing is trained.
        training: none where nothing is trained.
        views: resolved, empty where nothing is trained.
        image_size: that the backbone sees.
        normalisation: that the weights expect which the backbone starts from; none is that of the data.
        settings: what was set explicitly and applies to this cell, by its `--set` name.
        skip: why this combination cannot work, if it cannot.
        failure: what a plugin raised when the cell was planned, if it did.
        varied: those of `settings` that other cells of the grid have at another value.
    """

    method: PluginChoice
    backbone: PluginChoice
    dataset: PluginChoice
    eval_dataset: PluginChoice
    evaluator: PluginChoice
    amount: LabelAmount | None
    seed: int
    split: str
    label_share: float
    label_count: int
    epoch_images: int
    training: Training | None
    views: tuple[Any, ...]
    image_size: int
    normalisation: Normalisation | None
    settings: Mapping[str, Any]
    keys: Keys
    skip: str | None = None
    failure: FailureReport | None = None
    varied: Mapping[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Optimiser steps of the training, 0 where nothing is trained."""
        return self.training.epochs * (self.epoch_images // self.training.step_images) if self.training else 0

    @property
    def label_passes(self) -> float:
        """How often the training sees each labelled image, 0 where it looks at none."""
        if self.training is None or not self.label_count:
            return 0.0
        return self.steps * self.training.step_images / self.label_count

    @property
    def has_seen_labels(self) -> bool:
        """Whether the backbone was trained with the labels that it is evaluated with."""
        return self.label_share > 0 and self.dataset.is_same_data(self.eval_dataset)

    @property
    def unplanned_key(self) -> str:
        """The key of the cell's score where its plan failed: of what was asked for, as no more is known."""
        return digest({"stage": "unplanned", "cell": self.names, "settings": self.settings})

    @property
    def why_not(self) -> str | None:
        """Why the cell cannot be made, if that was known when it was planned."""
        return self.failure.reason if self.failure else self.skip

    @property
    def training_title(self) -> str:
        """How progress and errors name the backbone."""
        words = [self.method.name, self.backbone.name, self.dataset.shown]
        if self.label_share and self.amount and self.amount.shots is not None:
            words.append(f"{self.amount.shots} labels a class")
        elif 0 < self.label_share < 1:
            words.append(f"{100 * self.label_share:g} % of labels")
        return " ".join([*words, *self._varied_settings(of_training=True), f"seed {self.seed}"])

    @property
    def title(self) -> str:
        """How progress names the cell."""
        words = [self.training_title]
        if not self.dataset.is_same_data(self.eval_dataset):
            words.append(f"-> {self.eval_dataset.shown}")
        words += [self.evaluator.name, *self._varied_settings(of_training=False)]
        if self.shots is not None:
            words.append(f"{self.shots} {'shot' if self.shots == 1 else 'shots'}")
        elif self.label_frac is not None:
            words.append(f"{100 * self.label_frac:g} %")
        return " ".join(words)

    @property
    def label_frac(self) -> float | None:
        """Share of the labels; none where the evaluator takes none, or it is shots that count."""
        return None if self.amount is None or self.amount.shots is not None else self.amount.fraction

    @property
    def shots(self) -> int | None:
        """Labelled images a class; none where they are a share."""
        return self.amount.shots if self.amount else None

    def _varied_settings(self, *, of_training: bool) -> list[str]:
        """Return the settings that differ within the grid, as they are written after `--set`."""
        training_parts = {*TRAINING_PARTS, self.method.name, self.backbone.name, self.dataset.name}
        return [
            f"{name}={format_value(value)}"
            for name, value in self.varied.items()
            if (name.partition(".")[0] in training_parts) is of_training
        ]

    @property
    def names(self) -> dict[str, Any]:
        """The names by which the store and tables know the cell."""
        return {
            "method": self.method.name,
            "backbone": self.backbone.name,
            "dataset": self.dataset.name,
            "eval_dataset": self.eval_dataset.name,
            "evaluator": self.evaluator.name,
            "label_frac": self.label_frac,
            "seed": self.seed,
            **({} if self.shots is None else {"shots": self.shots}),
            **({"keep_one": True} if self.amount and self.amount.keep_one else {}),
            **self._titles,
        }

    @property
    def _titles(self) -> dict[str, str]:
        """The names of data that has one beside its plugin's."""
        roles = {"dataset_name": self.dataset, "eval_dataset_name": self.eval_dataset}
        return {name: choice.title for name, choice in roles.items() if choice.shown != choice.name}
