"""Report a pretraining to observers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from bench.execution.observers import VIEWS, Observers
from bench.hookspecs import Run
from bench.planning.cells import TRAINING_PARTS, Cell


class ObservedRun:
    """Reports the start, steps, epochs and end of the pretraining that runs in a block.

    Args:
        observers: of the run.
        run: the pretraining.
    """

    def __init__(self, observers: Observers, run: Run) -> None:
        self.observers, self.run = observers, run
        self._started = False

    def __enter__(self) -> None:
        """Report nothing yet: `start` does, once it is known after which epoch the training goes on."""

    def start(self, epochs: int, picture: bytes) -> None:
        """Report the start, or that the training goes on after `epochs` epochs; and a picture of views."""
        self.run, self._started = replace(self.run, resumed_epoch=epochs), True
        self.observers.notify("bench_run_start", run=self.run)
        if picture:
            self.observers.notify(VIEWS, run=self.run, picture=picture)

    def end_step(self, step: int, terms: Mapping[str, float]) -> None:
        """Report the end of a step."""
        self.observers.notify_step(step, terms, run=self.run)

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report the end of an epoch."""
        self.observers.notify(
            "bench_epoch_end", run=self.run, key=self.run.key, epoch=epoch, metrics=dict(metrics)
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Report the end, if the training started."""
        status = "ok" if error is None else "failed" if isinstance(error, Exception) else "interrupted"
        if self._started:
            self.observers.notify("bench_run_end", run=self.run, status=status)


def describe_pretraining(cell: Cell, results: Path, folder: Path) -> Run:
    """Return the pretraining of a cell's backbone for observers.

    Args:
        cell: any of those that share the backbone.
        results: the folder of results.
        folder: of the artifact.
    """
    training = cell.training
    parts = {*TRAINING_PARTS, cell.method.name, cell.backbone.name, cell.dataset.name}
    return Run(
        key=cell.keys.backbone,
        title=cell.training_title,
        method=cell.method.name,
        backbone=cell.backbone.name,
        dataset=cell.dataset.name,
        seed=cell.seed,
        settings={name: value for name, value in cell.settings.items() if name.partition(".")[0] in parts},
        training=training.key_fields() if training else {"image_size": cell.image_size},
        results=str(results),
        folder=str(folder),
        epochs=training.epochs if training else 0,
        steps=cell.steps,
    )
