from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from made_records import full_record

from bench.errors import BadData, CellError, UsageError
from bench.storage.record_json import encode
from bench.storage.records import RecordStore

WRONG: tuple[dict[str, Any], ...] = (
    {"metrics": {"top1": 3}},
    {"status": "fine"},
    {"cell": {"method": "x"}},
    {"schema": "1"},
    {"schema": 0},
)


def write_many(folder: str, worker: int) -> None:
    for seed in range(20):
        RecordStore(Path(folder)).write(full_record("shared", seed=worker))
        RecordStore(Path(folder)).write(full_record(f"s{worker}-{seed}", seed=seed))


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    path = store.write(full_record())

    assert store.read(path) == full_record()
    assert path == tmp_path / "records" / "simclr" / "resnet18" / "digits" / "knn-s0.json"
    assert store.find(full_record()["cell"], "s0") == full_record()
    assert store.find(full_record()["cell"], "s1") is None


@pytest.mark.parametrize("name", ["hf-hub:timm/a.b", "..", ".", "a\\b", "x" * 300, "täst %2F", "con|*?", ""])
def test_any_name_is_one_folder_inside_the_store(tmp_path: Path, name: str) -> None:
    store = RecordStore(tmp_path)
    path = store.write(full_record(backbone=name))

    assert len(path.relative_to(store.root).parts) == 4
    assert path.resolve().is_relative_to(store.root.resolve())
    assert [record["cell"]["backbone"] for record in store.records()] == [name]


def test_names_that_differ_have_paths_that_differ(tmp_path: Path) -> None:
    names = ["a/b", "a%2Fb", "a.b", "a_b", "x" * 300, "x" * 301]
    paths = {RecordStore(tmp_path).path(full_record(backbone=name)["cell"], "s") for name in names}

    assert len(paths) == len(names)


def test_a_second_record_of_a_cell_replaces_the_first(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.write(full_record(status="failed", metrics={}, reason="out of memory"))
    store.write(full_record())

    assert [record["status"] for record in store.records()] == ["ok"]


def test_many_workers_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_many, args=(str(tmp_path), worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(list(RecordStore(tmp_path).records())) == 61
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_half_written_file_is_ignored_and_removed_only_when_old(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    folder = store.write(full_record()).parent
    fresh, old = folder / ".knn-a.1.tmp", folder / ".knn-b.2.tmp"
    for path in (fresh, old):
        path.write_text('{"schema": 1, ')
    os.utime(old, (time.time() - 1e5,) * 2)
    records = list(store.records())
    RecordStore(tmp_path).write(full_record("s1"))  # of the next run: a store looks once

    assert len(records) == 1
    assert fresh.exists()
    assert not old.exists()


@pytest.mark.parametrize(
    "content",
    ["", '{"schema": 1', "[]", "{}", '{"schema": 1, "cell": {}}', "<<<<<<< HEAD\n", "\xff", "[" * 100_000,
     *(encode({**full_record(), **wrong}).decode() for wrong in WRONG)],
)  # fmt: skip
def test_a_damaged_file_is_one_warning_that_names_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    store = RecordStore(tmp_path)
    path = store.write(full_record())
    store.write(full_record("s1"))
    path.write_text(content, encoding="latin-1")
    with caplog.at_level(logging.WARNING):
        records = list(store.records())

    assert [record["keys"]["score"] for record in records] == ["s1"]
    assert [str(path) in message and "\n" not in message for message in caplog.messages] == [True]
    assert store.find(full_record()["cell"], "s0") is None
    with pytest.raises(BadData):
        store.read(path)


def test_a_record_of_a_newer_bench_is_named_and_left_out_and_not_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = RecordStore(tmp_path)
    path = store.write({**full_record(), "schema": 3})

    with pytest.raises(UsageError, match=rf"{path.name}: has schema 3, this bench reads 2\. Upgrade"):
        store.find(full_record()["cell"], "s0")
    assert list(store.records()) == []
    assert caplog.messages == [f"{path}: has schema 3, this bench reads 2. Upgrade ssl-bench."]


def test_records_come_in_natural_order(tmp_path: Path) -> None:
    for backbone in ("resnet101", "resnet50", "resnet18"):
        RecordStore(tmp_path).write(full_record(backbone=backbone))
    backbones = [record["cell"]["backbone"] for record in RecordStore(tmp_path).records()]

    assert backbones == ["resnet18", "resnet50", "resnet101"]


@pytest.mark.parametrize("where", ["file", "file/below", "occupied", "/proc/nowhere"])
def test_a_record_that_cannot_be_written_is_one_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "records").write_text("")
    store = RecordStore(tmp_path / where)

    with pytest.raises(CellError, match=r"could not be written"):
        store.write(full_record())


def test_the_store_and_the_tables_start_without_torch_and_pandas() -> None:
    modules = "bench.storage.records, bench.reporting.table"
    code = f"import sys, {modules}; print({{'torch', 'pandas'}} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "set()"


def test_the_search_for_circles_goes_on_after_records_were_read(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.write(full_record())
    seen = [gc.isenabled() for _ in store.records()]
    gc.disable()
    try:
        list(store.records())
        still_off = not gc.isenabled()
    finally:
        gc.enable()

    assert seen == [True]
    assert still_off
