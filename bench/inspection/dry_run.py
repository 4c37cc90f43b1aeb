"""Say what a run would do, from the keys that it would use: what is there, is to be made, or is skipped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from tabulate import tabulate

from bench.inspection.estimates import Estimator
from bench.inspection.spans import Span
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.registry.registry import Registry
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import RecordStore

HEADERS = ("backbone", "", "takes", "scores", "why")


@dataclass(frozen=True)
class BackboneCells:
    """The cells of one backbone, by what is to be done for their scores."""

    all: Sequence[Cell]
    skipped: Sequence[Cell]
    given_up: Sequence[Cell]
    missing: Sequence[Cell]

    @property
    def counts(self) -> str:
        """How many scores are there, to be made, skipped and given up."""
        counts = {
            "have": len(self.all) - len(self.missing) - len(self.skipped) - len(self.given_up),
            "make": len(self.missing),
            "skip": len(self.skipped),
            "given up": len(self.given_up),
        }
        return ", ".join(f"{word} {count}" for word, count in counts.items() if count)

    @property
    def reasons(self) -> str:
        """Why cells are skipped, each reason once."""
        return "; ".join(dict.fromkeys(cell.why_not for cell in self.skipped if cell.why_not))


def describe_run(
    cells: Sequence[Cell],
    datasets: Datasets,
    registry: Registry,
    store: RecordStore,
    cache: ArtifactStore,
    device: torch.device,
    given_up: Collection[str] = (),
) -> str:
    """Return a table of backbones and their scores: what is there, to be made or skipped, with an estimate.

    Each shape of training, of features and of evaluator that is to be made is timed once.

    Args:
        cells: of the grid.
        datasets: where datasets are opened.
        registry: of plugins.
        store: of records.
        cache: of backbones and features.
        device: that would compute.
        given_up: cells that have failed and are not tried again, by the keys of their scores.
    """
    estimator = Estimator(datasets, registry, device)
    rows, training, features, evaluation = [], Span(), Span(), Span()
    asked: set[str] = set()  # features that are counted already
    for key, group in _group_by_backbone(cells, store, given_up).items():
        action, takes = "make", ""
        if len(group.skipped) == len(group.all):
            action = "skip"
        elif len(group.skipped) + len(group.given_up) == len(group.all):
            action = "given up"
        elif cache.has(key) or all(_has_features(cell, cache) for cell in group.missing):
            action = "have"
        else:
            own = estimator.pretraining(group.all[0])
            takes = "unknown" if own.unknown else str(own)
            training += own
        for cell in group.missing:
            evaluation += estimator.evaluation(cell)
            for split, name in cell.keys.features.items():
                if name not in asked and not cache.has(name):
                    asked.add(name)
                    features += estimator.features(cell, split)
        rows.append([group.all[0].training_title, action, takes, group.counts, group.reasons])
    table = tabulate(rows, HEADERS, tablefmt="simple", disable_numparse=True)
    left = f"Pretraining left: {training}. Features: {features}. Evaluation: {evaluation}."
    return f"{table}\n\n{left} Nothing was made."


def _group_by_backbone(
    cells: Sequence[Cell], store: RecordStore, given_up: Collection[str]
) -> dict[str, BackboneCells]:
    """Return the cells of each backbone by its key."""
    by_key: dict[str, list[Cell]] = {}
    for cell in cells:
        by_key.setdefault(cell.keys.backbone, []).append(cell)
    return {
        key: BackboneCells(
            all=group,
            skipped=[cell for cell in group if cell.why_not],
            given_up=[cell for cell in group if cell.keys.score in given_up and not cell.why_not],
            missing=[
                cell
                for cell in group
                if not (cell.why_not or cell.keys.score in given_up or _has_score(cell, store))
            ],
        )
        for key, group in by_key.items()
    }


def _has_score(cell: Cell, store: RecordStore) -> bool:
    return (store.find(cell.names, cell.keys.score) or {}).get("status") == "ok"


def _has_features(cell: Cell, cache: ArtifactStore) -> bool:
    return all(map(cache.has, cell.keys.features.values()))
