"""Time the stages of a run and, with `--profile`, profile them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from bench.system.heartbeat import Heartbeat
from bench.system.profiler import Profiler
from bench.system.stage_timer import StageTimer

Tell = Callable[[str, str], None]  # what is told, and of whom: ("stage", "pretrain")


def tell_nobody(_what: str, _of: str) -> None:
    """Be told of what a process is doing where nobody waits for it."""


@dataclass(frozen=True)
class StageWatch:
    """Times every stage of a run; the profiler, where there is one, looks inside.

    Args:
        timer: the seconds of the whole run by stage.
        profiler: writes traces; none profiles nothing.
        tell: is told which stage of a cell is entered, so that it is known if the process ends there.
        heartbeat: says to other shells what the process does.
    """

    timer: StageTimer = field(default_factory=StageTimer)
    profiler: Profiler | None = None
    tell: Tell = tell_nobody
    heartbeat: Heartbeat = field(default_factory=Heartbeat)

    @contextlib.contextmanager
    def entered(self, stage: str) -> Iterator[None]:
        """Tell that a stage of a cell is entered, and left."""
        self.tell("stage", stage)
        self.heartbeat.enter(stage)
        yield
        self.heartbeat.leave()
        self.tell("stage", "")

    @contextlib.contextmanager
    def stage(self, stage: str, key: str, title: str, of: str = "") -> Iterator[None]:
        """Time a block, and profile its first seconds.

        Args:
            stage: what the block is; the table of a run has a line for each.
            key: of the artifact that it makes, for the trace's name.
            title: how a printed profile names it.
            of: what the stage belongs to: of one stage and one `of`, the first block is profiled.
        """
        with self.timer.time(stage), self._profile_start(stage, key, title, of):
            yield

    @contextlib.contextmanager
    def training(self, key: str, title: str, steps: int) -> Iterator[Callable[[], None]]:
        """Time a pretraining, and profile some of its steps.

        Args:
            key: of the backbone, for the trace's name.
            title: how a printed profile names it.
            steps: of the whole training.

        Yields:
            What is to be called at the end of every step.
        """
        with self.timer.time("pretrain"), self._profile_training(key, title, steps) as end_step:
            yield end_step

    def _profile_start(self, stage: str, key: str, title: str, of: str) -> AbstractContextManager[None]:
        if self.profiler is None:
            return nullcontext()
        return self.profiler.profile_start(stage, key, title, of)

    def _profile_training(
        self, key: str, title: str, steps: int
    ) -> AbstractContextManager[Callable[[], None]]:
        if self.profiler is None:
            return nullcontext(lambda: None)
        return self.profiler.profile_training(key, title, steps)
