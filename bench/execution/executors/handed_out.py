"""Cells that other machines make: which job has which, and what became of them."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bench.contracts.executor import CellRunner, Executor, WorkerSpec
from bench.errors import BadValue
from bench.storage.records import Record
from bench.storage.submissions import list_submissions

Place = tuple[str, int]  # the name of a submission, and the number of a job in it
T = TypeVar("T")


class OnOtherMachines(Executor):
    """One whose workers run elsewhere, each with the `gpus` and `cpus` of its settings."""

    @property
    def device(self) -> str:
        """That of a worker: a GPU where it has one."""
        return "cuda" if self.config.gpus else "cpu"

    @property
    def threads(self) -> int:
        """Those of a worker: its processors."""
        threads: int = self.config.cpus or 1
        return threads

    def count_gpus(self, spec: WorkerSpec) -> float:
        """Return how many GPUs a worker takes: where no number is set, one for each device of its cells."""
        if self.config.gpus is not None:
            return float(self.config.gpus)
        return float(spec.devices) if spec.device == "cuda" else 0.0

    def count_cpus(self, spec: WorkerSpec) -> int:
        """Return how many processors a worker takes: where no number is set, one for each thread."""
        return self.config.cpus or spec.threads * spec.devices

    def refuse_small(self, spec: WorkerSpec, name: str) -> None:
        """Refuse a worker with fewer GPUs or processors than the devices of its cells.

        Args:
            spec: of the run.
            name: of the executor, as its settings begin.

        Raises:
            BadValue: it has.
        """
        has: dict[str, float] = {"cpus": self.count_cpus(spec)}
        if spec.device == "cuda":
            has["gpus"] = self.count_gpus(spec)
        for setting, count in has.items():
            if spec.devices > 1 and count < spec.devices:
                raise BadValue(
                    f"--devices: {spec.devices} were asked for, but {name}.{setting} gives a cell {count:g}. "
                    f"Use --set {name}.{setting}={spec.devices}, or leave it out."
                )


class HandedOut:
    """Cells by the job that is to make them.

    Args:
        runner: that finds their records.
        cells: that have none yet, but of a failure.
    """

    def __init__(self, runner: CellRunner, cells: Sequence[Any]) -> None:
        self.runner = runner
        self.places: dict[Place, list[Any]] = {}
        self._cells = {cell.keys.score: cell for cell in cells}
        self._before = {key: runner.stamp(cell) for key, cell in self._cells.items()}
        self._expected: set[str] = set()

    def expect(self, place: Place, keys: Collection[str]) -> None:
        """Note that a job is to make the cells of some keys, of which others may be of no interest."""
        cells = [self._cells[key] for key in keys if key in self._cells and key not in self._expected]
        self._expected |= {cell.keys.score for cell in cells}
        if cells:
            self.places[place] = cells

    def is_expected(self, cell: Any) -> bool:
        """Tell whether a job is to make a cell."""
        return cell.keys.score in self._expected

    def collect(self, places: Collection[Place]) -> Iterator[Record]:
        """Yield the records that the jobs at some places have made since the last look."""
        for place in sorted(self.places.keys() & set(places)):
            left = []
            for cell in self.places[place]:
                if record := self._find_new(cell):
                    yield record
                else:
                    left.append(cell)
            self.places[place] = left

    def end(self, place: Place, reason: str) -> Iterator[Record]:
        """Yield a record of each cell whose job has ended: a failure where it made none.

        Args:
            place: of the job.
            reason: of such a failure, in one line.
        """
        for cell in self.places.pop(place):
            yield self._find_new(cell) or self.runner.record_failure(cell, reason, "JobEnded")

    def _find_new(self, cell: Any) -> Record | None:
        """Return the record of a cell, if it was written since; the failure of an earlier run is none."""
        is_new = self.runner.stamp(cell) != self._before[cell.keys.score]
        return self.runner.find_any(cell) if is_new else None


def yield_known(
    runner: CellRunner, groups: Sequence[Sequence[Any]]
) -> Generator[Record, None, list[list[Any]]]:
    """Yield the records that are there, and return the other cells, of each group that has any."""
    missing: list[list[Any]] = []
    for group in groups:
        records = [(cell, runner.find_record(cell)) for cell in group]
        yield from (record for _, record in records if record)
        missing.append([cell for cell, record in records if not record])
    return [group for group in missing if group]


def list_queued(results: Path, name: str, executor: Executor) -> dict[Place, list[str]]:
    """Return the keys of the cells that wait or run in the queue of an executor, by their jobs.

    Args:
        results: the folder of results.
        name: of the executor.
        executor: that is asked.

    Raises:
        UsageError: the queue cannot be asked, or the file of a submission is damaged.
    """
    submissions = {submission.name: submission for submission in list_submissions(results, name)}
    if not submissions:
        return {}
    return {
        (job.submission, job.number): [cell.key for cell in submissions[job.submission].jobs[job.number]]
        for job in executor.list_jobs(submissions)
    }


def chunk(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return items in parts of a size, the last of which may be smaller."""
    return [items[start : start + size] for start in range(0, len(items), size)]
