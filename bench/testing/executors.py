"""What is demanded of an executor, on cells of which nothing is made but a record."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contracts.executor import Executor
from bench.errors import BadValue, UsageError
from bench.storage.records import Record
from bench.storage.submissions import Submission
from bench.system.process_end import ProcessEnd
from bench.testing.checks import Check, Outcome, class_checks, require, run, skip


@dataclass(frozen=True)
class NamedKeys:
    """The keys of a cell that nothing is made of.

    Args:
        backbone: of the cells that are worked on together.
        score: of the cell alone.
    """

    backbone: str
    score: str


@dataclass(frozen=True)
class NamedCell:
    """A cell that nothing is made of, with what executors read of one.

    Args:
        title: its name.
        keys: that tell it and its backbone from others.
    """

    title: str
    keys: NamedKeys

    def __str__(self) -> str:
        return self.title


def name_cells(*names: str) -> tuple[NamedCell, ...]:
    """Return cells of one backbone."""
    return tuple(NamedCell(name, NamedKeys(f"backbone of {names[0]}", f"score of {name}")) for name in names)


GROUPS = (name_cells("a0", "a1"), name_cells("b0"))


class NamedCells:
    """Turns cells, which may be names, into records that say with which others a cell was handed over."""

    def expect(self, cells: Sequence[Any]) -> None:
        """Do nothing: a name takes no time."""

    def run(self, cells: Iterable[Any]) -> Iterator[Record]:
        """Yield a record a cell."""
        together = list(cells)
        yield from ({"cell": cell, "together": together, "status": "ok"} for cell in together)

    def find_record(self, cell: Any) -> Record | None:
        """Return none: everything is to be made."""

    def find_any(self, cell: Any) -> Record | None:
        """Return none: nothing is stored."""

    def stamp(self, cell: Any) -> object:
        """Return none: nothing is stored."""

    def claim(self, cell: Any) -> AbstractContextManager[object]:
        """Claim a cell, which nobody else does."""
        return nullcontext(self)

    def describe_claim(self, cell: Any) -> str:
        """Return the name."""
        return str(cell)

    def record_failure(
        self, cell: Any, reason: str, error_type: str = "WorkerDied", end: ProcessEnd | None = None
    ) -> Record:
        """Return the record of a cell whose worker died."""
        return {"cell": cell, "together": [], "status": "failed", "reason": f"{error_type}: {reason}"}


@dataclass(frozen=True)
class NamedSpec:
    """A run of cells that nothing is made of."""

    jobs: int = 1
    threads: int = 1
    device: str = "cpu"
    devices: int = 1
    profile: bool = False
    gpus: tuple[str, ...] = ()
    timeout: float | None = None
    wait: bool = True
    results: Path = Path("results")

    def submit(self, executor: str, jobs: Sequence[Sequence[Any]]) -> Submission:
        """Leave the check out: these cells are made here.

        Raises:
            NotApplied: always.
        """
        skip(f"{executor} hands cells to other machines, and no other machine can make those of a check")

    def place(self, number: int) -> NamedSpec:
        """Return the run: its workers are alike."""
        return self

    def build(self) -> NamedCells:
        """Return what makes records of names."""
        return NamedCells()

    def work(self, cells: Sequence[Any]) -> list[Record]:
        """Return the records of cells, in a worker."""
        return list(self.build().run(cells))

    def open_worker(self, tell: Callable[[str, str], None], muted: Collection[str]) -> NamedCells:
        """Return what makes records of names, in a worker."""
        return self.build()


def outcomes(cls: type[Executor], name: str, config: Any = None) -> Iterator[Outcome]:
    """Run every check of an executor.

    Args:
        cls: the executor.
        name: its name.
        config: a `cls.Config`; none is the default one.
    """
    yield from run(_checks(cls, name, config))


def _checks(cls: type[Executor], name: str, config: Any) -> Iterator[Check]:
    yield from class_checks(cls, Executor, name)
    refusals: list[str] = []
    yield "is built and takes a run of one job", lambda: _take(cls, config, refusals)
    runs: list[list[Record]] = []
    yield "runs", lambda: runs.append(_run(cls, config, refusals))
    if runs:
        yield "yields one record a cell", lambda: _one_record_a_cell(runs[0])
        yield "keeps the cells of a backbone together", lambda: _groups_are_whole(runs[0])


def _take(cls: type[Executor], config: Any, refusals: list[str]) -> None:
    """Have an executor look at a run; where what it needs is not on this machine, nothing can be run."""
    try:
        cls(config).check(NamedSpec())
    except BadValue:  # of a value, and there is none but those of its settings
        raise
    except UsageError as refusal:
        refusals.append(str(refusal))
        skip(refusals[0])


def _run(cls: type[Executor], config: Any, refusals: Sequence[str]) -> list[Record]:
    if refusals:
        skip(refusals[0])
    with tempfile.TemporaryDirectory() as folder:
        spec, executor = NamedSpec(results=Path(folder)), cls(config)
        records = list(executor.run(spec, GROUPS))
        if len(records) < sum(map(len, GROUPS)) and executor.leaves(spec):
            skip("leaves() says that cells wait in its queue")
    return records


def _one_record_a_cell(records: Sequence[Record]) -> None:
    found = [record["cell"] for record in records]
    expected = [cell for group in GROUPS for cell in group]
    missing = [cell.title for cell in expected if cell not in found]
    require(not missing, f"there is none of {', '.join(missing)}: yield what spec.work(cells) returns")
    twice = [cell.title for cell in expected if found.count(cell) > 1]
    require(not twice, f"there are several of {', '.join(twice)}")
    others = [str(cell) for cell in found if cell not in expected]
    require(not others, f"there are some of other cells: {', '.join(others)}")
    failed = [record["reason"] for record in records if record["status"] != "ok"]
    require(not failed, f"a cell failed: {'; '.join(failed)}")


def _groups_are_whole(records: Sequence[Record]) -> None:
    for record in records:
        together = [cell.title for cell in record["together"]]
        for group in GROUPS:
            apart = [cell.title for cell in group if cell.title not in together]
            require(
                record["cell"] not in group or not apart,
                f"{record['cell']} was worked on without {', '.join(apart)}, of the same backbone",
            )
