"""Several processes give what one gives, and one that dies takes nobody with it."""

from __future__ import annotations

import multiprocessing

import pytest
import torch
from conftest import Lab, without_times
from threadpoolctl import threadpool_info

from bench.execution.executors.processes import DIED, Processes, start_process
from bench.execution.pipeline import PipelineSpec
from bench.system.processes import VARIABLES


def test_two_jobs_give_the_records_of_one_as_they_come_and_outlive_one_that_dies(
    probing: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ("random", "simclr", "probe")
    there, *others, dead = probing.plan(backbone="tiny", method=methods, evaluator="knn")
    monkeypatch.setenv("PROBES_KILL", "4")
    store, cells = probing.store, [there, *others, dead]
    (first,) = probing.run([there])
    arriving = Processes().run(probing.spec(jobs=2), [[cell] for cell in cells])
    records = [next(arriving)]
    early = store.find(others[0].names, others[0].keys.score)
    records += arriving
    monkeypatch.delenv("PROBES_KILL")
    alone = probing.beside("alone").run(cells)

    assert early is None
    assert records[0] == first
    assert [without_times(record) for record in records[:2]] == [without_times(r) for r in alone[:2]]
    assert (records[2]["status"], records[2]["error"]["stage"]) == ("failed", "process")
    assert records[2]["reason"] == DIED
    assert [store.find(cell.names, cell.keys.score) for cell in cells] == records
    assert [without_times(record) for record in probing.run(cells)] == [without_times(r) for r in alone]


def test_what_is_there_starts_no_process(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = lab.plan(method="random", seed=(0, 1))
    before = lab.run(cells)
    monkeypatch.delattr(multiprocessing, "get_context")

    assert list(Processes().run(lab.spec(jobs=2), [[cell] for cell in cells])) == before


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


def test_no_library_of_a_process_has_more_threads_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "2")
    with start_process(threads=1) as process:
        process.submit(exec, "import torch, sklearn.linear_model").result()
        libraries = process.submit(threadpool_info).result()

    assert {library["user_api"] for library in libraries} >= {"blas", "openmp"}
    assert {library["num_threads"] for library in libraries} == {1}
