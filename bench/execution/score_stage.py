"""The score of a cell: the evaluator's verdict on features, or on the backbone itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.evaluator import Evaluator, Features, Network, Scores, Task
from bench.evaluation.tasks import build_network, build_task
from bench.execution.cost import cost_fields
from bench.execution.deal import Deal, join_fits
from bench.execution.failures import StageFailed, in_stage
from bench.execution.features_stage import FeaturesStage
from bench.execution.image_cache import ImageCache
from bench.execution.score_checks import refuse_no_score
from bench.planning.cells import Cell
from bench.planning.failure_report import FailureReport
from bench.registry.registry import Registry
from bench.splits.label_pool import pooled_groups
from bench.storage.artifact_files import PREDICTIONS
from bench.storage.artifacts import ArtifactStore
from bench.storage.record_json import refuse_unreadable_parts
from bench.system.device import threads_on
from bench.system.memory import forget_peak, peak_mb
from bench.system.ranks import Ranks
from bench.system.stage_watch import StageWatch

USUAL_PROTOCOL = {"features": "frozen", "probe": "offline", "checkpoint": "last epoch"}


@dataclass(frozen=True)
class Evaluation:
    """What comes of the evaluation of a cell that went well; another process can be sent it.

    Args:
        described: what the record says.
        predictions: what is kept of each test image, by name; empty where nothing is predicted.
    """

    described: Mapping[str, Any]
    predictions: Mapping[str, Tensor]


class ScoreStage:
    """Evaluates cells. Where several devices make a cell together, each evaluates whole cells.

    Args:
        registry: of plugins.
        features: the stage below.
        images: for evaluators that look at them.
        artifacts: where predictions are kept.
        watch: over each evaluation.
    """

    def __init__(
        self,
        registry: Registry,
        features: FeaturesStage,
        images: ImageCache,
        artifacts: ArtifactStore,
        watch: StageWatch,
    ) -> None:
        self.registry, self.features, self.images = registry, features, images
        self.artifacts, self.watch = artifacts, watch
        self.device: torch.device = features.backbones.device
        self._shared: dict[str, Any] = {}  # what evaluators leave for each other, such as a fitted probe

    def get(self, cell: Cell, coming: Iterable[Cell] = ()) -> Mapping[str, Any]:
        """Evaluate a cell, and return what its record says of a cell that went well.

        Args:
            cell: that is evaluated.
            coming: this cell, and those that are to come after it, which other devices may evaluate
                meanwhile.

        Raises:
            StageFailed: the evaluator, or a stage below, failed.
        """
        features = self.features.get_all(cell)
        with in_stage("evaluate", cell), self.watch.entered("evaluate"):
            made = self._fetch(cell, coming) or self._make(cell, features)
            self._save_predictions(cell, made.predictions)
            return made.described

    def join(self, _cell: Cell, deal: Deal, ranks: Ranks) -> None:
        """Do this process's part of the evaluation of cells, which another one leads and writes."""
        assert ranks.board is not None  # noqa: S101 - they have met
        deal.work(ranks.board, ranks.rank, self._report)

    def _report(self, cell: Cell) -> Evaluation | FailureReport:
        """Evaluate a cell whose backbone and features are there, and return what came of it."""
        try:
            with in_stage("evaluate", cell):
                if self._class_of(cell).needs == "backbone":
                    self.features.backbones.read(cell)
                return self._make(cell, self.features.read_all(cell))
        except StageFailed as failed:
            return failed.report

    def _fetch(self, cell: Cell, coming: Iterable[Cell]) -> Evaluation | None:
        """Return what another device has made of a cell; none where this one is to evaluate it.

        Raises:
            StageFailed: the evaluator failed there.
            CellError: its process ended.
        """
        team = self.features.backbones.team
        if team.size == 1 or self.watch.profiler:  # which looks at this process
            return None
        if not team.has_dealt(cell):
            team.deal(list(join_fits(one for one in coming if self._is_ready(one))))
        if not team.has_dealt(cell):
            return None
        with self.watch.timer.time("evaluate on other devices"):
            made: Evaluation | FailureReport | None = team.fetch(cell)
        if isinstance(made, FailureReport):
            raise StageFailed(made)
        return made

    def _is_ready(self, cell: Cell) -> bool:
        """Tell whether all is there that a cell is evaluated with."""
        needs_backbone = self._class_of(cell).needs == "backbone"
        return self.features.has_all(cell) and (not needs_backbone or self.features.backbones.has(cell))

    def _make(self, cell: Cell, features: Mapping[str, Features]) -> Evaluation:
        """Evaluate a cell on its features."""
        task = self._build_task(cell, features)
        groups = count_groups(task.train)  # before an evaluator may have changed its copy
        scores, seconds = self._evaluate(cell, task)
        refuse_no_score(cell.evaluator.name, scores)
        described = self._describe(cell, scores, len(features["test"]), seconds, groups)
        refuse_unreadable_parts(described)  # what no file can hold fails here, not when it is written
        return Evaluation(described, list_predictions(scores, features["test"]))

    def _class_of(self, cell: Cell) -> type[Evaluator]:
        cls: type[Evaluator] = self.registry.load_class("evaluators", cell.evaluator.name)
        return cls

    def _build_task(self, cell: Cell, features: Mapping[str, Features]) -> Task:
        """Return what the evaluator of a cell may see."""
        classes = self._info(cell).classes
        groups = pooled_groups(self.images.datasets.open(cell.eval_dataset))
        task = build_task(
            features,
            classes,
            cell.amount,
            cell.seed,
            self.device,
            self._shared,
            groups,
            seen=cell.has_seen_labels,
        )
        needs_backbone = self._class_of(cell).needs == "backbone"
        return replace(task, network=self._network(cell, groups)) if needs_backbone else task

    def _evaluate(self, cell: Cell, task: Task) -> tuple[Scores, float]:
        """Return the evaluator's scores, and the seconds it took."""
        with self.watch.stage(f"evaluate {cell.evaluator.name}", cell.keys.score, cell.training_title):
            forget_peak(self.device)
            started = time.monotonic()
            scores = self._class_of(cell)(cell.evaluator.config).evaluate(task)
            return scores, time.monotonic() - started

    def _network(self, cell: Cell, groups: Tensor | None) -> Network:
        backbone = self.features.backbones.get(cell)
        images = {split: self.images.get(cell.eval_dataset, split) for split in cell.keys.features}
        about = self.features.backbones.about(cell)
        return build_network(
            backbone, images, self._info(cell), about, cell.amount, cell.seed, self.device, groups
        )

    def _info(self, cell: Cell) -> DatasetInfo:
        info: DatasetInfo = self.images.datasets.open(cell.eval_dataset).info
        return info

    def _save_predictions(self, cell: Cell, predictions: Mapping[str, Tensor]) -> None:
        key = cell.keys.score
        if predictions:
            with self.artifacts.locked(key), self.artifacts.write(key) as folder:
                save_file(dict(predictions), folder / PREDICTIONS)

    def _describe(
        self, cell: Cell, scores: Scores, tested: int, seconds: float, groups: int | None
    ) -> dict[str, Any]:
        """Return what the record says of scores on `tested` images that took `seconds`.

        `groups` is how many the labelled images are in, where they are in groups.
        """
        info = self._info(cell)
        trained_on: DatasetInfo = self.images.datasets.open(cell.dataset).info
        return {
            "metrics": {
                name: {
                    "value": float(value),
                    "higher_is_better": scores.direction(name),
                    "n": tested,
                }
                for name, value in scores.metrics.items()
            },
            "headline": next(iter(scores.metrics), None),
            "predictions": 0 if scores.predictions is None else tested,
            "per_class": {name: list(values) for name, values in scores.per_class.items()},
            "classes": list(info.classes),
            "notes": list(dict.fromkeys((*trained_on.notes, *info.notes))),
            **describe_notes(trained_on, info),
            "protocol": {
                **USUAL_PROTOCOL,
                **describe_normalisation(cell),
                **describe_training_labels(cell),
                **({} if groups is None else {"groups": info.groups or "groups", "labelled_groups": groups}),
                **scores.protocol,
            },
            "cost": cost_fields(
                self.features.about(cell), seconds, peak_mb(self.device), threads_on(self.device)
            ),
        }


def list_predictions(scores: Scores, test: Features) -> dict[str, Tensor]:
    """Return what is kept of each test image, by name, (n,) each; nothing where no class is predicted."""
    if scores.predictions is None:
        return {}
    kept = {"label": test.y.int(), "prediction": scores.predictions.cpu().int()}
    if scores.confidence is not None:
        kept["confidence"] = scores.confidence.cpu().half()
    return kept


def describe_notes(trained_on: DatasetInfo, info: DatasetInfo) -> dict[str, Any]:
    """Return what a record says of which data its notes are of: nothing where all are of both."""
    if trained_on.notes == info.notes:
        return {}
    return {"notes_of": {"dataset": list(trained_on.notes), "eval_dataset": list(info.notes)}}


def count_groups(labelled: Features) -> int | None:
    """Return how many groups labelled examples are in; none where each stands alone."""
    return None if labelled.groups is None else len(labelled.groups.unique())


def describe_normalisation(cell: Cell) -> dict[str, Any]:
    """Return what a record says of how images are normalised: nothing where that is by the data."""
    if cell.normalisation is None:
        return {}
    return {"normalisation": {"of": "the weights", **cell.normalisation.key_fields()}}


def describe_training_labels(cell: Cell) -> dict[str, Any]:
    """Return what a record says of the labels that pretraining saw: their share, images, and passes."""
    if not cell.label_share:
        return {"training_labels": cell.label_share}
    return {
        "training_labels": cell.label_share,
        "training_images": cell.label_count,
        "training_passes": round(cell.label_passes, 2),
    }
