"""Whose turn it is: nobody waits for a backbone that another process is at while others are free."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from socket import gethostname
from typing import Any

import pytest
from conftest import Lab

from bench.errors import ClaimLost
from bench.execution.executors import turns as module
from bench.execution.executors.local import Local
from bench.execution.executors.turns import Turns
from bench.storage.claims import Lease
from bench.storage.records import Record
from bench.system.heartbeat import Heartbeat
from bench.testing.executors import NamedCells, NamedSpec


class Claimed(NamedCells):
    """Names of which another process has some, until it was asked for them often enough."""

    def __init__(self, looks: dict[str, int], there: Iterable[str] = ()) -> None:
        self.looks, self.there = looks, set(there)
        self.held: list[str] = []

    @contextmanager
    def claim(self, cell: str) -> Iterator[bool]:
        self.looks[cell] = self.looks.get(cell, 0) - 1
        ours = self.looks[cell] < 0
        if ours:
            self.held.append(cell)
        yield ours
        if ours:
            self.held.remove(cell)

    def find_record(self, cell: str) -> Record | None:
        return {"cell": cell} if cell in self.there else None


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)


def take_all(turns: Turns) -> list[Any]:
    taken = []
    while True:
        with turns.take() as group:
            if group is None:
                return taken
            taken.append(group[0])


def test_groups_that_another_is_at_come_last(no_pause: None) -> None:
    turns = Turns([["a"], ["b"], ["c"], ["d"]], Claimed({"a": 3, "c": 1}))

    assert take_all(turns) == ["b", "d", "c", "a"]


def test_a_group_is_claimed_while_it_is_made_and_no_longer() -> None:
    runner = Claimed({})
    turns = Turns([["a"], ["b"]], runner)
    with turns.take():
        during = list(runner.held)

    assert during == ["a"]
    assert runner.held == []


def test_what_is_all_there_needs_no_claim() -> None:
    turns = Turns([["a"]], Claimed({"a": 10**6}, there=["a"]))

    assert take_all(turns) == ["a"]


def test_a_cell_whose_lease_was_lost_is_made_again_and_a_failure_never_takes_the_place_of_a_result(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell,) = lab.plan(method="random", evaluator="knn")
    lab.artifacts.claims.choose("lease")
    lost = iter([True])

    def check(lease: Lease) -> None:
        if next(lost, False):
            raise ClaimLost("another took over")

    monkeypatch.setattr(Lease, "check", check)
    (record,) = lab.run([cell])
    late = lab.pipeline()._store(cell, {**record, "status": "failed", "reason": "too late"})  # noqa: SLF001

    assert record["status"] == "ok"
    assert late == record == lab.store.find(cell.names, cell.keys.score)


def test_for_whom_it_is_waited_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    take_all(Turns([["a"], ["b"]], Claimed({"a": 4})))

    assert caplog.messages == ["waiting for a"]


def test_who_is_waited_for_is_a_process_by_its_number_and_machine(lab: Lab) -> None:
    (cell,) = lab.plan(method="random", evaluator="knn")
    one, other = lab.pipeline(), lab.pipeline()
    beat = Heartbeat()
    alone = other.describe_claim(cell)
    with one.claim(cell), beat.shown(lab.folder.absolute(), "a-run.1"):
        beat.begin(kind="worker", run="a-run", cell=cell.title, backbone=cell.keys.backbone)
        end = time.monotonic() + 20
        while (said := other.describe_claim(cell)) == alone and time.monotonic() < end:
            time.sleep(0.02)

    assert alone == "random test_resnet digits seed 0, which another process has"
    assert said == f"random test_resnet digits seed 0, which process {os.getpid()} of {gethostname()} is at"


def test_nothing_is_begun_once_it_is_over() -> None:
    over = threading.Event()
    turns = Turns([["a"]], Claimed({"a": 10**6}))
    threading.Timer(0.1, over.set).start()
    with turns.take(over.is_set) as group:
        assert group is None


@pytest.mark.parametrize("kind", ["lock", "lease"])
def test_two_runs_of_a_grid_share_it_without_making_a_backbone_twice(lab: Lab, kind: str) -> None:
    """The second finds the first at work, does the other backbone, and takes what the first has made."""
    lab.artifacts.claims.choose(kind)
    busy, free = lab.plan(method="random", evaluator="knn", seed=(0, 1))
    first, second = lab.pipeline(), lab.pipeline()
    order: list[str] = []
    with first.claim(busy) as ours:
        assert ours
        turns = Turns([[busy], [free]], second)
        with turns.take() as group:
            assert group
            order += [cell.keys.backbone for cell in group]
            list(second.run(group))
        (made,) = first.run([busy])
    with turns.take() as group:
        assert group == [busy]
        records = list(second.run(group))

    assert order == [free.keys.backbone]
    assert records == [made]


@dataclass(frozen=True)
class SlotSpec(NamedSpec):
    """A run of names by workers that say which GPUs they saw, and from when to when."""

    jobs: int = 2
    per_cell: int = 1
    own: tuple[str, ...] = field(default=())

    def place(self, number: int) -> SlotSpec:
        first = number * self.per_cell
        return SlotSpec(gpus=self.gpus[first : first + self.per_cell])

    def open_worker(self, tell: Callable[[str, str], None], muted: Any) -> NamedCells:
        return Seeing()

    def build(self) -> NamedCells:
        return NamedCells()


class Seeing(NamedCells):
    """Makes of a name what this process sees while it is at it."""

    def run(self, cells: Iterable[str]) -> Iterator[Record]:
        import os

        for cell in cells:
            began = time.time()
            time.sleep(0.3)
            yield {"cell": cell, "sees": os.environ["CUDA_VISIBLE_DEVICES"], "span": (began, time.time())}

    def claim(self, cell: str) -> AbstractContextManager[object]:
        raise AssertionError(cell)


def test_each_process_sees_its_own_gpus_and_no_gpu_has_two_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")  # what this process was given
    spec = SlotSpec(gpus=("0", "1", "3", "GPU-7f"), per_cell=2)
    records = list(Local().run(spec, [[name] for name in "abcdef"]))
    spans: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        spans.setdefault(record["sees"], []).append(record["span"])

    assert sorted(record["cell"] for record in records) == list("abcdef")
    assert set(spans) == {"4,5", "7,GPU-7f"}
    for own in spans.values():
        own.sort()
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(own))


def test_a_placed_worker_has_as_many_gpus_as_a_cell_takes(lab: Lab) -> None:
    spec = lab.spec(device="cuda", gpus=("0", "1", "2", "3"), gpus_per_cell=2)

    assert [spec.place(number).gpus for number in (0, 1)] == [("0", "1"), ("2", "3")]
    assert spec.place(1).device == "cuda"  # the first of those that it sees
