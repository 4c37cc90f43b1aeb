"""What is demanded of an executor, on cells that are made of nothing but their names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contracts.executor import Executor
from bench.errors import BadValue
from bench.storage.records import Record
from bench.storage.submissions import Submission
from bench.system.process_end import ProcessEnd
from bench.testing.checks import Check, Outcome, class_checks, require, run

GROUPS = (("a0", "a1"), ("b0",))


class NamedCells:
    """Turns the names of cells into records that say with which others a cell was handed over."""

    def expect(self, cells: Sequence[str]) -> None:
        """Do nothing: a name takes no time."""

    def run(self, cells: Iterable[str]) -> Iterator[Record]:
        """Yield a record a cell."""
        together = list(cells)
        yield from ({"cell": cell, "together": together, "status": "ok"} for cell in together)

    def find_record(self, cell: str) -> Record | None:
        """Return none: everything is to be made."""

    def find_any(self, cell: str) -> Record | None:
        """Return none: nothing is stored."""

    def stamp(self, cell: str) -> object:
        """Return none: nothing is stored."""

    def claim(self, cell: str) -> AbstractContextManager[object]:
        """Claim a name, which nobody else does."""
        return nullcontext(self)

    def describe_claim(self, cell: str) -> str:
        """Return the name."""
        return cell

    def record_failure(
        self, cell: str, reason: str, error_type: str = "WorkerDied", end: ProcessEnd | None = None
    ) -> Record:
        """Return the record of a cell whose worker died."""
        return {"cell": cell, "together": [], "status": "failed", "reason": f"{error_type}: {reason}"}


@dataclass(frozen=True)
class NamedSpec:
    """A run of cells that are names."""

    jobs: int = 1
    threads: int = 1
    device: str = "cpu"
    devices: int = 1
    profile: bool = False
    gpus: tuple[str, ...] = ()
    timeout: float | None = None
    wait: bool = True
    results: Path = Path("results")

    def submit(self, executor: str, jobs: Sequence[Sequence[str]]) -> Submission:
        """Refuse: names are made here."""
        raise BadValue(f"{executor}: these cells are names, which no other machine can make.")

    def place(self, number: int) -> NamedSpec:
        """Return the run: its workers are alike."""
        return self

    def build(self) -> NamedCells:
        """Return what makes records of names."""
        return NamedCells()

    def work(self, cells: Sequence[str]) -> list[Record]:
        """Return the records of names, in a worker."""
        return list(self.build().run(cells))

    def open_worker(self, tell: Callable[[str, str], None], muted: Collection[str]) -> NamedCells:
        """Return what makes records of names, in a worker."""
        return self.build()


def outcomes(cls: type[Executor], name: str, config: Any = None) -> Iterator[Outcome]:
    """Run every check of an executor; `config` is there for the other kinds' sake.

    Args:
        cls: the executor.
        name: its name.
        config: not used.
    """
    yield from run(_checks(cls, name))


def _checks(cls: type[Executor], name: str) -> Iterator[Check]:
    yield from class_checks(cls, Executor, name)
    yield "is built without arguments and takes a run of one job", lambda: cls().check(NamedSpec())
    records: list[Record] = []
    yield "runs", lambda: records.extend(cls().run(NamedSpec(), GROUPS))
    if records:
        yield "yields one record a cell", lambda: _one_record_a_cell(records)
        yield "keeps the cells of a backbone together", lambda: _groups_are_whole(records)


def _one_record_a_cell(records: Sequence[Record]) -> None:
    cells, expected = sorted(record["cell"] for record in records), sorted(c for g in GROUPS for c in g)
    require(cells == expected, f"there are records of {cells} for the cells {expected}")
    failed = [record["reason"] for record in records if record["status"] != "ok"]
    require(not failed, f"a cell failed: {'; '.join(failed)}")


def _groups_are_whole(records: Sequence[Record]) -> None:
    for record in records:
        group = next(group for group in GROUPS if record["cell"] in group)
        together = record["together"]
        require(set(group) <= set(together), f"{record['cell']} was worked on with {together}, not {group}")
