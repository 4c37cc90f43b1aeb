"""Tell how far a pretraining is, for those who watch it from another shell."""

from __future__ import annotations

import time
from collections.abc import Mapping

from bench.planning.cells import Cell
from bench.system.heartbeat import Heartbeat

KNN = "online_knn_top1"  # of an epoch's metrics


class ShownTraining:
    """Tells epoch, loss, kNN, speed and the time that is left.

    Args:
        heartbeat: is told.
        cell: one that trains.
    """

    def __init__(self, heartbeat: Heartbeat, cell: Cell) -> None:
        assert cell.training is not None  # noqa: S101
        self.heartbeat, self.steps, self.epochs = heartbeat, cell.steps, cell.training.epochs
        self.step_images = cell.training.step_images
        self._first, self._since = 0, time.monotonic()
        self._knn: float | None = None

    def start(self, epochs: int) -> None:
        """Tell that the training begins, or goes on after `epochs` epochs."""
        self._first, self._since = epochs * self.steps // self.epochs, time.monotonic()
        self.heartbeat.tell(epoch=epochs, epochs=self.epochs)

    def end_step(self, step: int, terms: Mapping[str, float]) -> None:
        """Tell that a step has ended, with the terms of the loss as they were last read."""
        seconds = max(time.monotonic() - self._since, 1e-9)
        rate = (step - self._first) / seconds
        self.heartbeat.tell(
            epoch=-(-step * self.epochs // self.steps),
            epochs=self.epochs,
            step=step,
            steps=self.steps,
            terms=terms,
            knn_top1=self._knn,
            images_per_s=rate * self.step_images,
            seconds_left=(self.steps - step) / rate,
        )

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """Take in what an epoch measured; the next step tells it."""
        self._knn = metrics.get(KNN, self._knn)
