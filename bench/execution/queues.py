"""What waits and runs in the queues of executors, joined with what the store has of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.boundary import plugin_call
from bench.contracts.executor import Executor, QueuedJob
from bench.registry.registry import Registry
from bench.storage.submissions import Submission, SubmittedCell, list_submissions

SHOWN = 20  # lines of a kind; a grid of thousands of cells is counted

Jobs = Mapping[tuple[str, int], QueuedJob]  # by the name of the submission and their number


@dataclass(frozen=True)
class Handed:
    """A cell and the job that was to make it, of several the latest."""

    cell: SubmittedCell
    submission: Submission
    number: int


def describe_queues(results: Path, records: Iterable[Mapping[str, Any]], registry: Registry) -> str:
    """Return what became of the cells that were submitted and are not done, or nothing if all are.

    Args:
        results: the folder of results.
        records: that are in it.
        registry: of the executors.

    Raises:
        UsageError: a queue cannot be asked.
    """
    statuses = {record["keys"]["score"]: record["status"] for record in records}
    left = [one for one in _list_handed(results) if statuses.get(one.cell.key) not in ("ok", "skipped")]
    if not left:
        return ""
    jobs = list_jobs(results, registry)
    failed = [one for one in left if (one.submission.name, one.number) not in jobs]
    lines = [*_describe_running(left, jobs), *_describe_waiting(left, jobs)]
    lines += _cut(
        [f"  {_say_end(one, statuses)}: {one.cell.title}: {_log_of(results, one)}" for one in failed]
    )
    return "\n".join([f"submitted, and not done: {len(left)} cells", *lines])


def list_jobs(results: Path, registry: Registry) -> Jobs:
    """Return the jobs of a results folder that have not ended.

    Raises:
        UsageError: a queue cannot be asked.
    """
    return {
        (job.submission, job.number): job
        for executor, names in _by_executor(results, registry)
        for job in _call(executor, "list_jobs", names)
    }


def cancel_jobs(results: Path, registry: Registry) -> list[QueuedJob]:
    """End the jobs of a results folder and take those that wait out of the queue; return which those are.

    Raises:
        UsageError: a queue cannot be asked.
    """
    cancelled = []
    for executor, names in _by_executor(results, registry):
        jobs = list(_call(executor, "list_jobs", names))
        if jobs:
            _call(executor, "cancel", {job.submission for job in jobs})
        cancelled += jobs
    return cancelled


def _by_executor(results: Path, registry: Registry) -> Iterator[tuple[Executor, set[str]]]:
    """Yield each executor that cells were given to, and the names of its submissions."""
    names: dict[str, set[str]] = defaultdict(set)
    for submission in list_submissions(results):
        names[submission.executor].add(submission.name)
    for name, own in names.items():
        yield registry.load_class("executors", name)(), own


def _call(executor: Executor, what: str, names: set[str]) -> Any:
    with plugin_call(f"{type(executor).__name__}: {what}()"):
        return getattr(executor, what)(names)


def _list_handed(results: Path) -> list[Handed]:
    """Return every cell that was submitted, with the latest job that it is of."""
    handed: dict[str, Handed] = {}
    for submission in list_submissions(results):
        for number, job in enumerate(submission.jobs):
            handed |= {cell.key: Handed(cell, submission, number) for cell in job}
    return list(handed.values())


def _describe_running(left: Sequence[Handed], jobs: Jobs) -> list[str]:
    running: dict[tuple[str, int], list[str]] = defaultdict(list)
    for one in left:
        place = one.submission.name, one.number
        if place in jobs and jobs[place].is_running:
            running[place].append(one.cell.title)
    return _cut([f"  {jobs[place].said}: {_name_first(titles)}" for place, titles in running.items()])


def _describe_waiting(left: Sequence[Handed], jobs: Jobs) -> list[str]:
    waiting: dict[str, list[str]] = defaultdict(list)
    for one in left:
        place = one.submission.name, one.number
        if place in jobs and not jobs[place].is_running:
            waiting[jobs[place].said].append(one.cell.title)
    return _cut([f"  {said}: {_name_first(titles)}" for said, titles in waiting.items()])


def _name_first(titles: Sequence[str]) -> str:
    return titles[0] + (f" and {len(titles) - 1} more" if len(titles) > 1 else "")


def _say_end(one: Handed, statuses: Mapping[str, str]) -> str:
    return "failed" if statuses.get(one.cell.key) == "failed" else "its job ended without it"


def _log_of(results: Path, one: Handed) -> str:
    """Return what the job of a cell printed."""
    log = one.submission.find_log(results, one.number)
    return str(log) if log else f"{one.submission.log_folder(results)} has no log of job {one.number}"


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], f"  and {more} more like these"] if more > 0 else lines
