"""Decide after each step whether a checkpoint is written, and whether the training leaves there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from bench.pretraining.checkpoint import EpochPart
from bench.pretraining.loss_meter import LossMeter
from bench.pretraining.training_run import TrainingRun
from bench.system.leaving import AskedToLeave, asked

logger = logging.getLogger("bench")


class CheckpointKeeper:
    """Writes a checkpoint after a step where it is time for one, or where a signal asks to leave.

    Args:
        run: says how long after the one before, and what it is named in the log.
        save: writes one, of the part of an epoch that is done; none at the end of an epoch.
    """

    def __init__(self, run: TrainingRun, save: Callable[[EpochPart | None], None]) -> None:
        self.run, self.save = run, save
        self.saved = time.monotonic()
        self.fails = False

    def after_step(self, epoch: int, part: Callable[[], EpochPart | None]) -> None:
        """Write a checkpoint if it is due.

        Args:
            epoch: the one to go on in, counted from 1.
            part: returns what is done of it.

        Raises:
            AskedToLeave: a signal came.
        """
        name = asked()
        if not name and time.monotonic() - self.saved <= self.run.checkpoint_every_s:
            return
        done = part()
        self._save(done)
        self.saved = time.monotonic()
        if name:
            where = f"at epoch {epoch}, step {done.steps + 1 if done else 1}"
            where = "from the checkpoint before, if there is one" if self.fails else where
            logger.warning("%s: %s came. The next run goes on %s.", self.run.what, name, where)
            raise AskedToLeave(name)

    def _save(self, done: EpochPart | None) -> None:
        """Write a checkpoint; where that fails, the training goes on, and it is said once."""
        try:
            self.save(done)
        except OSError as error:
            if not self.fails:
                logger.warning(
                    "%s: the checkpoint could not be written to %s (%s). The training goes on; if it is "
                    "stopped, what it did since the one before is done again. Free some space.",
                    self.run.what, self.run.folder, error.strerror or error,
                )  # fmt: skip
            self.fails = True
        else:
            self.fails = False


def part_of(meter: LossMeter, steps: int, began: float) -> EpochPart:
    """Return what is done of an epoch.

    Args:
        meter: of its loss.
        steps: how many are done.
        began: when it would have begun in one go, as of `time.monotonic`.

    Raises:
        Diverged: a term of the loss is not finite.
    """
    rows = meter.list_rows()
    return EpochPart(steps, time.monotonic() - began, meter.names, rows)
