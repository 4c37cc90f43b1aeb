"""What an executor is: how the cells of a grid are shared out over workers.

This layer knows neither the planner nor the pipeline, so what an executor is handed is described here by
protocols, and a cell is `Any`: an executor passes cells on, and reads of one at most its `title` and the key
of its score, `keys.score`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from bench.config import NoSettings
from bench.errors import BadValue
from bench.storage.records import Record
from bench.storage.submissions import Submission
from bench.system.process_end import ProcessEnd


class CellRunner(Protocol):
    """Turns cells into stored records, in this process."""

    def expect(self, cells: Sequence[Any]) -> None:
        """Be told which cells `run` is going to be asked for next, so that several devices share them out."""

    def run(self, cells: Iterable[Any]) -> Iterator[Record]:
        """Yield the record of each cell in turn; a cell that fails has a record that says so."""

    def find_record(self, cell: Any) -> Record | None:
        """Return the record of a cell that is there already, if it is; one that failed is not."""

    def find_any(self, cell: Any) -> Record | None:
        """Return the record of a cell, of whatever status, if there is one."""

    def stamp(self, cell: Any) -> object:
        """Return what is another value once the record of a cell was written anew."""

    def claim(self, cell: Any) -> AbstractContextManager[object]:
        """Claim the backbone of a cell for a block; what it gives is false where another process has it."""

    def describe_claim(self, cell: Any) -> str:
        """Return what another process has claimed of a cell, and which process that is."""

    def record_failure(
        self, cell: Any, reason: str, error_type: str = "WorkerDied", end: ProcessEnd | None = None
    ) -> Record:
        """Store that the worker of a cell died, and return the record.

        Args:
            cell: of the worker. One whose record is there already keeps it.
            reason: one line with what to do about it.
            error_type: what kind of error it was.
            end: of its process, where that is known; what to do about it is then added to the reason.
        """


class WorkerSpec(Protocol):
    """All that a worker needs to know of a run; it can be pickled and sent to one."""

    @property
    def jobs(self) -> int:
        """Workers at a time, as `--jobs` says."""

    @property
    def threads(self) -> int:
        """Threads for each process of a worker."""

    @property
    def device(self) -> str:
        """What workers compute on: `cpu`, `cuda` or another that torch knows."""

    @property
    def devices(self) -> int:
        """Devices of each worker, a process each, as `--devices` says."""

    @property
    def profile(self) -> bool:
        """The run is to be profiled, which takes one process."""

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs that this worker, or all of them together, may use; none named are all there are."""

    @property
    def timeout(self) -> float | None:
        """Seconds after which a cell that is not done is ended, as `--timeout` says."""

    @property
    def wait(self) -> bool:
        """Yield the records of cells that were handed to other machines, as `--wait` says."""

    @property
    def results(self) -> Path:
        """The folder of results, which other machines see under the same path."""

    def place(self, number: int) -> WorkerSpec:
        """Return what the worker of a number, from 0, is to know: each may have a GPU of its own."""

    def submit(self, executor: str, jobs: Sequence[Sequence[Any]]) -> Submission:
        """Write down the cells of jobs for other machines, and return what has their command lines.

        Args:
            executor: the name of the one that runs them.
            jobs: the cells of each.
        """

    def build(self) -> CellRunner:
        """Return what turns cells into records in this process."""

    def work(self, cells: Sequence[Any]) -> list[Record]:
        """Return the records of cells: what a worker calls, in a process of its own."""

    def open_worker(self, tell: Callable[[str, str], None], muted: Collection[str]) -> CellRunner:
        """Return what turns cells into records in a worker, for one that yields them as they come.

        Args:
            tell: is told of each stage of a cell (`"stage"` and its name, empty at its end) and of each call
                of an observer (`"observing"` and `"observed"`, and the plugin).
            muted: plugins that must not observe, by their ids.
        """


@dataclass(frozen=True, kw_only=True)
class QueuedJob:
    """A job that has not ended.

    Args:
        submission: its name.
        number: of the job in it.
        is_running: it has begun.
        said: what the queue says of it: since when it runs, or why it waits.
    """

    submission: str
    number: int
    is_running: bool
    said: str = ""


class Executor(ABC):
    """How the cells of a grid are shared out over workers.

    What a worker makes is the same whichever made it, so an executor and its settings are no part of a key.
    On a CPU that holds to the bit for workers of the same number of threads; a record says how many there
    were.

    Args:
        config: an instance of the class's `Config`; none is its defaults.
    """

    Config: ClassVar[type] = NoSettings
    version: ClassVar[int] = 1
    reference: ClassVar[str] = ""

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config

    @property
    def device(self) -> str:
        """The device of workers on other machines, on which `auto` is not looked for here; empty if here."""
        return ""

    @property
    def threads(self) -> int:
        """Threads of each worker where nobody asked for a number; 0 is this machine's, shared out."""
        return 0

    def check(self, spec: WorkerSpec) -> None:
        """Refuse, before anything is made, what cannot be run.

        Raises:
            BadValue: always where the run is to be profiled, unless a subclass runs in this process.
        """
        if spec.profile:
            raise BadValue(
                "--profile: it looks at one process. Leave it, or --jobs, --threads and --executor, out."
            )

    @abstractmethod
    def run(self, spec: WorkerSpec, groups: Sequence[Sequence[Any]]) -> Iterator[Record]:
        """Yield one record per cell, in any order.

        A worker that dies must yield failed records for its cells (`CellRunner.record_failure`); it must
        not raise. Only an executor with `leaves` may leave cells out, which then wait in its queue.

        Args:
            spec: of the run; a worker calls its `work`, or is a command line of what `submit` returns.
            groups: the cells of one backbone each. A group is never split between two workers: the
                backbone would be trained twice, or one would wait for the other.
        """

    def leaves(self, spec: WorkerSpec) -> bool:
        """Tell whether `run` returns while cells wait in a queue."""
        return False

    def list_jobs(self, submissions: Collection[str]) -> Sequence[QueuedJob]:
        """Return the jobs that have not ended, of submissions of these names.

        Raises:
            UsageError: the queue cannot be asked.
        """
        return ()

    def cancel(self, submissions: Collection[str]) -> None:
        """End the jobs of submissions of these names, and take those that wait out of the queue.

        Raises:
            UsageError: the queue cannot be asked.
        """
