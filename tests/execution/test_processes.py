"""Several processes give what one gives, and one that dies takes nobody with it."""

from __future__ import annotations

import importlib
import multiprocessing
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import pytest
import torch
from conftest import Lab, without_times
from threadpoolctl import threadpool_info

from bench.errors import DeviceLost
from bench.execution.executors.local import Local
from bench.execution.pipeline import PipelineSpec
from bench.storage.records import Record
from bench.system.processes import VARIABLES
from bench.testing.executors import NamedCells, NamedSpec


def test_two_jobs_give_the_records_of_one_as_they_come_and_outlive_one_that_dies(
    probing: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ("random", "simclr", "probe")
    there, *others, dead = probing.plan(backbone="tiny", method=methods, evaluator="knn")
    monkeypatch.setenv("PROBES_KILL", "4")
    store, cells = probing.store, [there, *others, dead]
    keys = [cell.keys.score for cell in cells]
    (first,) = probing.run([there])
    arriving = Local().run(probing.spec(jobs=2), [[cell] for cell in cells])
    records = [next(arriving)]
    early = store.find(others[0].names, others[0].keys.score)
    records += arriving
    records.sort(key=lambda record: keys.index(record["keys"]["score"]))
    monkeypatch.delenv("PROBES_KILL")
    alone = probing.beside("alone").run(cells)

    assert early is None
    assert records[0] == first
    assert [without_times(record) for record in records[:2]] == [without_times(r) for r in alone[:2]]
    assert (records[2]["status"], records[2]["error"]["stage"]) == ("failed", "pretrain")
    assert (records[2]["error"]["type"], records[2]["error"]["signal"]) == ("WorkerDied", "SIGKILL")
    assert records[2]["reason"] == (
        "its process ended in the stage pretrain (SIGKILL). It was killed, or memory ran out. "
        "Use --set train.chunk_size=8 (16 images at a time were too many), a smaller --batch-size, "
        "or fewer --jobs."
    )
    assert [store.find(cell.names, cell.keys.score) for cell in cells] == records
    assert [without_times(record) for record in probing.run(cells)] == [without_times(r) for r in alone]


def test_what_is_there_starts_no_process(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = lab.plan(method="random", seed=(0, 1))
    before = lab.run(cells)
    monkeypatch.delattr(multiprocessing, "get_context")
    found = list(Local().run(lab.spec(jobs=2), [[cell] for cell in cells]))

    assert sorted(found, key=lambda record: int(record["cell"]["seed"])) == before


def test_a_group_is_run_with_its_share_of_the_threads(lab: Lab) -> None:
    cells = lab.plan(method="random", evaluator=("knn", "linear"))
    records = PipelineSpec(results=lab.folder, data_dir=lab.folder, threads=1).work(cells)

    assert [record["status"] for record in records] == ["ok", "ok"]
    assert torch.get_num_threads() == 1
    assert records[0]["provenance"]["device"].endswith("1 thread)")


def test_a_cell_that_was_stored_before_its_process_died_is_kept(lab: Lab) -> None:
    made, other = lab.plan(method="random", seed=(0, 1))
    (record,) = lab.run([made])
    kept, failed = (lab.pipeline().record_failure(cell, "it died") for cell in (made, other))

    assert kept == record
    assert (failed["status"], failed["reason"]) == ("failed", "it died")


class Libraries(NamedCells):
    """Makes of a cell the libraries that have threads in this process."""

    def run(self, cells: Iterable[str]) -> Iterator[Record]:
        importlib.import_module("sklearn.linear_model")
        yield from ({"cell": cell, "libraries": threadpool_info()} for cell in cells)


@dataclass(frozen=True)
class LibrariesSpec(NamedSpec):
    """A run whose records are the libraries of the worker that made them."""

    def open_worker(self, tell: Callable[[str, str], None], muted: Collection[str]) -> NamedCells:
        return Libraries()


def test_no_library_of_a_process_has_more_threads_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "2")
    (record,) = Local().run(LibrariesSpec(threads=1), [["a"]])

    assert {library["user_api"] for library in record["libraries"]} >= {"blas", "openmp"}
    assert {library["num_threads"] for library in record["libraries"]} == {1}


class Losing(NamedCells):
    """Loses its device at the cell `bad`; says in each record which process made it."""

    def run(self, cells: Iterable[str]) -> Iterator[Record]:
        for cell in cells:
            yield {"cell": cell, "process": os.getpid()}
            if cell == "bad":
                raise DeviceLost("it does nothing more")


@dataclass(frozen=True)
class LosingSpec(NamedSpec):
    """A run whose workers lose their device."""

    def open_worker(self, tell: Callable[[str, str], None], muted: Collection[str]) -> NamedCells:
        return Losing()


@pytest.mark.long
def test_a_process_whose_device_is_lost_is_replaced_for_the_other_cells() -> None:
    records = list(Local().run(LosingSpec(), [["a", "bad", "b"], ["c"]]))
    first, lost, second, third = (record["process"] for record in records)

    assert [record["cell"] for record in records] == ["a", "bad", "b", "c"]
    assert first == lost != second == third


def test_a_cell_that_loses_the_device_is_recorded_before_the_run_ends(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = lab.plan(method="random", evaluator=("knn", "linear"))
    monkeypatch.setattr("bench.execution.pipeline.is_lost", lambda _device: True)
    monkeypatch.setattr("bench.execution.score_stage.ScoreStage._evaluate", fail)
    with pytest.raises(
        DeviceLost, match=r"cpu: it does nothing more in this process after an error of random"
    ):
        lab.run(cells)

    assert [record["status"] for record in lab.store.records()] == ["failed"]


def fail(*_: object) -> None:
    raise RuntimeError("device-side assert triggered")


@pytest.mark.parametrize(
    ("device", "gpus", "jobs", "places"),
    [
        ("cpu", 0, 2, [("cpu", 2), ("cpu", 2)]),
        ("cuda", 4, 4, [("cuda:0", 1), ("cuda:1", 1), ("cuda:2", 1), ("cuda:3", 1)]),
        ("cuda", 2, 3, [("cuda:0", 2), ("cuda:1", 2), ("cuda:0", 2)]),
        ("cuda:1", 2, 2, [("cuda:1", 2), ("cuda:1", 2)]),
    ],
)
def test_workers_take_the_gpus_in_turn_and_share_one_that_is_named(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    gpus: int,
    jobs: int,
    places: list[tuple[str, int]],
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    spec = lab.spec(jobs=jobs, device=device)

    assert [(own.device, own.sharers) for own in map(spec.place, range(jobs))] == places
