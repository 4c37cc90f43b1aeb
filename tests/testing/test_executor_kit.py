"""The conformance kit finds what an executor does wrong, and takes those that look at cells as ours do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fake_slurm
import pytest

from bench.api import BadValue, Executor, Record, UsageError, WorkerSpec, setting
from bench.registry.registry import Registry
from bench.testing import Outcome, check, check_executor

REGISTRY = Registry.load()
Groups = Sequence[Sequence[Any]]
RECORDS = "yields one record a cell"
WHOLE = "keeps the cells of a backbone together"


def outcomes(cls: type[Executor], config: Any = None) -> dict[str, Outcome]:
    return {outcome.name: outcome for outcome in check("executor", cls, "it", config=config)}


def failures(cls: type[Executor], config: Any = None) -> dict[str, str]:
    return {name: found.error for name, found in outcomes(cls, config).items() if found.error is not None}


class Plain(Executor):
    """Give backbones to workers one after the other."""

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        for cells in groups:
            yield from spec.work(cells)


# ---- right ones, which are not alike


class Keyed(Plain):
    """Look at titles and keys, as the executor that runs all in one process does."""

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        cells = list(itertools.chain.from_iterable(groups))
        done = {cell.keys.score: f"{cell.title} is done" for cell in cells}
        assert len(done) == len(cells)
        assert [len({cell.keys.backbone for cell in group}) for group in groups] == [1] * len(groups)
        yield from spec.build().run(iter(cells))


class Backwards(Plain):
    """Make the last backbone first."""

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        return super().run(spec, groups[::-1])


@pytest.mark.parametrize("cls", [Plain, Keyed, Backwards])
def test_a_right_executor_passes(cls: type[Executor]) -> None:
    check_executor(cls, "right")


class Queueing(Plain):
    """Leave the second backbone in a queue."""

    def leaves(self, spec: WorkerSpec) -> bool:
        return True

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        return super().run(spec, groups[:1])


class Handing(Plain):
    """Hand all cells to other machines."""

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        submission = spec.submit("handing", groups)
        raise AssertionError(submission)


class Absent(Plain):
    """Need a cluster."""

    def check(self, spec: WorkerSpec) -> None:
        raise UsageError("absent: there is no cluster. Start one.")


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Queueing, "leaves() says that cells wait in its queue"),
        (Handing, "handing hands cells to other machines, and no other machine can make those of a check"),
        (Absent, "absent: there is no cluster. Start one."),
    ],
)
def test_where_cells_are_made_elsewhere_that_is_the_reason_why_nothing_is_run(
    cls: type[Executor], why: str
) -> None:
    assert outcomes(cls)["runs"].skipped == why
    assert failures(cls) == {}


@pytest.mark.parametrize("name", ["in-process", "local", "ray"])
def test_a_built_in_executor_keeps_the_contract(name: str) -> None:
    check_executor(REGISTRY.load_class("executors", name), name)


def test_slurm_keeps_the_contract_as_far_as_it_can_be_seen_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    queue = fake_slurm.install(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir()), queue.read_text()
    found = outcomes(REGISTRY.load_class("executors", "slurm"))

    assert found["is built and takes a run of one job"].state == "ok"
    assert "slurm hands cells to other machines" in str(found["runs"].skipped)
    assert (sorted(tmp_path.iterdir()), queue.read_text()) == before  # nothing is left, or asked of the queue


# ---- wrong ones


class Silent(Plain):
    """Have all cells made, and return no record."""

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        list(super().run(spec, groups))
        return iter(())


class Losing(Plain):
    """Return the record of the first cell of each backbone."""

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        for cells in groups:
            yield spec.work(cells)[0]


class Twice(Plain):
    """Return every record twice."""

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        for cells in groups:
            yield from spec.work(cells) * 2


class Inventing(Plain):
    """Return the record of a cell that nobody asked for."""

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        yield from super().run(spec, groups)
        yield {"cell": "c0", "together": [], "status": "ok"}


class Dying(Plain):
    """Take a worker for dead that is not."""

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        here = spec.build()
        yield from (here.record_failure(cell, "it died.") for cells in groups for cell in cells)


class Parting(Plain):
    """Give each cell to a worker of its own."""

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        return super().run(spec, [[cell] for cells in groups for cell in cells])


class Picky(Plain):
    """Refuse every run."""

    def check(self, spec: WorkerSpec) -> None:
        raise BadValue(f"--jobs: {spec.jobs} are too few.")


class Raising(Plain):
    """Raise what ends an iterator, where there is no record."""

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        return iter([next(iter(()))])


@pytest.mark.parametrize(
    ("cls", "found"),
    [
        (Silent, {RECORDS: "there is none of a0, a1, b0: yield what spec.work(cells) returns"}),
        (Losing, {RECORDS: "there is none of a1: yield what spec.work(cells) returns"}),
        (Twice, {RECORDS: "there are several of a0, a1, b0"}),
        (Inventing, {RECORDS: "there are some of other cells: c0"}),
        (Parting, {WHOLE: "a0 was worked on without a1, of the same backbone"}),
        (Picky, {"is built and takes a run of one job": "BadValue: --jobs: 1 are too few."}),
        (Raising, {"runs": "StopIteration"}),
    ],
)
def test_what_is_wrong_with_an_executor_is_said_and_nothing_else(
    cls: type[Executor], found: dict[str, str]
) -> None:
    assert failures(cls) == found


def test_a_worker_that_dies_is_said() -> None:
    assert "a cell failed: WorkerDied: it died." in failures(Dying)[RECORDS]


class Set(Plain):
    """Lose all records where it is told to."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        lose: bool = setting(default=False, doc="return no record", source="a test")

    def run(self, spec: WorkerSpec, groups: Groups) -> Iterator[Record]:
        return iter(()) if self.config.lose else super().run(spec, groups)


def test_an_executor_is_checked_as_it_is_set() -> None:
    check_executor(Set, "set")
    with pytest.raises(AssertionError, match="there is none of a0, a1, b0"):
        check_executor(Set, "set", Set.Config(lose=True))
