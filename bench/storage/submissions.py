"""Cells that were given to other machines together, in a file that says all that a worker has to know.

`RESULTS/submissions/NAME.json` holds the options of the grid and the cells of each job as plain values, so
that a job is a command line (`bench worker --results RESULTS --cells NAME/3`) which anyone can repeat. What
the jobs print goes to `RESULTS/submissions/NAME/`. What was made says the store alone.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.bounded_files import read_bounded
from bench.errors import BadData, BadValue, UnknownName, suggest
from bench.storage.durable import write_durably
from bench.storage.presence import is_there

FOLDER = "submissions"
LARGEST_FILE = 1 << 28  # bytes: a cell takes some hundred
PLACE = re.compile(r"([A-Za-z0-9-]+)(?:/([0-9]+))?")


@dataclass(frozen=True, kw_only=True)
class SubmittedCell:
    """A cell as others can look it up.

    Args:
        key: of its score.
        title: how progress names it.
        names: as in a record's `cell`.
    """

    key: str
    title: str
    names: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Cells that were given to an executor together.

    Args:
        name: that no other has.
        executor: its name.
        folder: which relative paths of the grid start from.
        grid: the options that the cells were planned with, as plain values.
        jobs: the cells of each job.
    """

    name: str
    executor: str
    folder: str
    grid: Mapping[str, Any]
    jobs: Sequence[Sequence[SubmittedCell]]

    def save(self, results: Path) -> None:
        """Write the file, and make the folder of the logs."""
        self.log_folder(results).mkdir(parents=True, exist_ok=True)
        content = {**vars(self), "jobs": [[asdict(cell) for cell in job] for job in self.jobs]}
        write_durably(results / FOLDER / f"{self.name}.json", json.dumps(content, indent=1).encode())

    def forget(self, results: Path) -> None:
        """Remove the file of a submission that was not taken."""
        (results / FOLDER / f"{self.name}.json").unlink(missing_ok=True)

    def log_folder(self, results: Path) -> Path:
        """Return where what the jobs print goes."""
        return results.absolute() / FOLDER / self.name

    def find_log(self, results: Path, job: int) -> Path | None:
        """Return what a job printed, the latest where it was started several times; none if nothing yet."""
        logs = sorted(self.log_folder(results).glob(f"*_{job}_*.out"), key=lambda path: path.stat().st_mtime)
        return logs[-1] if logs else None

    def command(self, results: Path, job: int | str) -> list[str]:
        """Return the command line that makes the cells of a job; it can be run by hand.

        Args:
            results: the folder of results.
            job: its number, or what a shell replaces by it.
        """
        place = ("--results", str(results.absolute()), "--cells", f"{self.name}/{job}")
        return [sys.executable, "-m", "bench", "worker", *place]


def name_submission() -> str:
    """Return a name that no other submission has; by name they are in the order of their making."""
    now = time.time()
    moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return f"{moment}-{int(now * 1e6) % 1_000_000:06}-{secrets.token_hex(2)}"


def list_submissions(results: Path, executor: str = "") -> Iterator[Submission]:
    """Yield the submissions of a results folder by their names, or those of one executor.

    Raises:
        BadData: the file of one is damaged.
    """
    for path in sorted((results / FOLDER).glob("*.json")):
        submission = _read(path)
        if not executor or submission.executor == executor:
            yield submission


def read_cells(results: Path, place: str) -> tuple[Submission, tuple[SubmittedCell, ...]]:
    """Return a submission and those of its cells that `NAME` or `NAME/JOB` means.

    Raises:
        BadValue: it is written in another way, or there is no such job.
        UnknownName: there is no such submission.
        BadData: the file is damaged.
    """
    match = PLACE.fullmatch(place)
    if not match:
        raise BadValue(f"--cells: {place!r} is not NAME or NAME/JOB. See {results / FOLDER}.")
    name, number = match.groups()
    path = results / FOLDER / f"{name}.json"
    if not is_there(path):
        known = [other.stem for other in path.parent.glob("*.json")]
        raise UnknownName(f"--cells: {results} has no submission {name!r}.{suggest(name, known)}")
    submission = _read(path)
    if number is None:
        return submission, tuple(cell for job in submission.jobs for cell in job)
    if int(number) >= len(submission.jobs):
        raise BadValue(f"--cells: {name} has the jobs 0 to {len(submission.jobs) - 1}, not {number}.")
    return submission, tuple(submission.jobs[int(number)])


def _read(path: Path) -> Submission:
    try:
        said = json.loads(read_bounded(path, LARGEST_FILE))
        jobs = tuple(tuple(SubmittedCell(**cell) for cell in job) for job in said.pop("jobs"))
        return Submission(jobs=jobs, **{field.name: said[field.name] for field in fields(Submission)[:-1]})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise BadData(f"{path}: the submission cannot be read ({reason}). Delete it.") from None
