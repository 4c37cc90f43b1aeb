"""What a logger is: it shows runs in a place of its own, such as the files or the server of a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from bench.config import NoSettings
from bench.hookspecs import Run
from bench.storage.data_names import name_data
from bench.storage.records import Record


class Logger:
    """Shows pretrainings and their scores elsewhere; `bench run --log NAME` asks for it.

    What is overridden is called on a thread of its own, in the process that trains, with copies. It cannot
    slow the run, or break it: what it raises is said once. A run is told by `run.key`, which no other
    backbone has: one that goes on, or is evaluated later or by another process, is the same run again.

    It is made at the first call, on that thread. Neither it nor its settings are part of a key.

    Args:
        config: an instance of the class's `Config`.
        results: the folder of results, for what is written to files.
    """

    Config: ClassVar[type] = NoSettings
    version: ClassVar[int] = 1
    reference: ClassVar[str] = ""
    step_interval: ClassVar[int] = 50  # optimiser steps from one `log_step` to the next
    patience: ClassVar[float] = 10.0  # seconds that the end of a run waits for it

    def __init__(self, config: Any, results: Path) -> None:
        self.config, self.results = config, results

    @classmethod
    def check(cls, config: Any) -> None:
        """Refuse, before anything is made, what cannot work, such as a package that is not installed.

        Raises:
            UsageError: it cannot work, and what to do about it.
        """

    def start(self, run: Run) -> None:
        """Open a run, or the one of its key that is there: after `run.resumed_epoch` epochs it goes on."""

    def show_views(self, run: Run, picture: bytes) -> None:
        """Show what the method sees: a PNG of training images and draws of their views."""

    def log_step(self, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """Log the terms of the loss, every `step_interval` steps, counted from 1."""

    def log_epoch(self, run: Run, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Log a line of metrics.jsonl: the means of an epoch, counted from 1, and monitors."""

    def end(self, run: Run, status: str) -> None:
        """Note how a pretraining ended: `ok`, `failed` or `interrupted`. Its scores come after it."""

    def log_record(self, run: Run, record: Record) -> None:
        """Log the record of a cell: a score of the run, or why there is none."""

    def close(self) -> None:
        """Write what is still held. More may come after it."""


def list_settings(run: Run) -> dict[str, Any]:
    """Return what tells a run from others, by name: plugins, seed, all that was set, the whole training."""
    training = {f"train.{name}": value for name, value in run.training.items()}
    names = {"method": run.method, "backbone": run.backbone, "dataset": run.dataset, "seed": run.seed}
    return {**names, **run.settings, **training, "key": run.key}


def list_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return those entries of a line of metrics that are numbers."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def list_scores(record: Record) -> dict[str, float]:
    """Return the metrics of a record, by names that tell the scores of one run apart.

    They are that of the cell (`name_cell`) and of the metric: `cifar100/knn@10%/top1`.
    """
    where = name_cell(record)
    return {f"{where}/{name}": float(metric["value"]) for name, metric in record["metrics"].items()}


def name_cell(record: Record) -> str:
    """Return the name of a cell, which tells it from the others of its run.

    It is that of the evaluator, with the data set where it is another than the one that was trained on, and
    the labels where they are not all: `cifar100/knn@10%`. A folder has its own name.
    """
    cell = record["cell"]
    trained, evaluated = name_data([record])[0]
    other = "" if trained == evaluated else f"{evaluated}/"
    shots, share = cell.get("shots"), cell.get("label_frac")
    labels = f"@{shots}-shot" if shots else "" if share in (None, 1.0) else f"@{100 * share:g}%"
    return f"{other}{cell['evaluator']}{labels}"
