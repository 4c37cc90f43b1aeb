"""A record that is not its cell's, or not as it was written, is named, left out, and never deleted."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from environment import environment
from made_records import full_record

from bench.errors import BadData, CellError
from bench.reporting.status import describe_status
from bench.reporting.table import build_table
from bench.storage.frame import results
from bench.storage.records import RecordStore

COMMITTED = Path(__file__).parents[2] / "results"
CHANGED = (
    "was changed after it was written: it is not what its digest was made of. "
    "Restore it, or run its cell again."
)
DISPLACED = (
    "holds the record of another cell (simclr, knn, seed 0), whose place is "
    "simclr/resnet18/digits/knn-s0.json. Move it there or delete it, and run this cell again."
)
KILLED = """
import os, sys
from made_records import full_record
from bench.storage.records import RecordStore
os.fsync = lambda file: os._exit(9)
RecordStore(sys.argv[1]).write(full_record(reason="new"))
"""


def two_seeds(folder: Path) -> tuple[RecordStore, Path, Path]:
    """Return a store of two cells that differ in their seed, and their files."""
    store = RecordStore(folder)
    first = store.write(full_record("s0", seed=0))
    return store, first, store.write(full_record("s1", seed=1))


def without_digest(path: Path, **changes: Any) -> None:
    """Make of a file one as it was before records had digests."""
    record = json.loads(path.read_text())
    del record["digest"]
    path.write_text(json.dumps({**record, "schema": 1, **changes}, indent=1))


def fill_the_disk(file: int) -> None:
    """Fail as `os.fsync` does on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file)


def test_another_seeds_record_in_a_cells_place_is_not_counted_as_that_seed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, first, second = two_seeds(tmp_path)
    shutil.copy(first, second)
    (cell,) = build_table(store.records()).cells()

    assert cell.by_seed == {0: 71.25}
    assert caplog.messages == [f"{second}: {DISPLACED}"]
    assert len(results(tmp_path)) == 1
    assert "\nall" in (text := describe_status(store.records(), tmp_path))
    assert text.partition("\nall")[2].split()[0] == "1"
    assert store.find(full_record(seed=1)["cell"], "s1") is None


def test_a_copy_beside_a_record_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, first, _ = two_seeds(tmp_path)
    shutil.copy(first, first.with_name("knn-s0 (copy).json"))
    shutil.copytree(first.parent, tmp_path / "records" / "other" / "resnet18" / "digits")

    assert [record["cell"]["seed"] for record in store.records()] == [0, 1]
    assert caplog.text.count("holds the record of another cell") == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("71.25", "91.25"),
        lambda text: text.replace('"n": 360', '"n": 361'),
        lambda text: text.replace('"seed": 0', '"seed": 3'),
        lambda text: text.replace('"k": 20', '"k": 21'),
        lambda text: "\n".join(line for line in text.splitlines() if "digest" not in line or "{" in line),
        lambda text: text.replace('"digest": "', '"digest": "0'),
    ],
    ids=["a value", "a count", "the seed", "a setting", "no digest", "another digest"],
)
def test_a_record_that_was_changed_is_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Any
) -> None:
    store, first, _ = two_seeds(tmp_path)
    before = first.read_text()
    first.write_text(change(before))
    kept = [record["cell"]["seed"] for record in store.records()]

    assert first.read_text() != before
    assert kept == [1]
    assert caplog.messages == [f"{first}: {CHANGED}"]


def test_a_record_that_was_only_laid_out_anew_is_the_same_record(tmp_path: Path) -> None:
    store, first, second = two_seeds(tmp_path)
    first.write_bytes(first.read_bytes().replace(b"\n", b"\r\n"))
    second.write_text(json.dumps(json.loads(second.read_text()), indent=4))

    assert list(store.records()) == [full_record("s0", seed=0), full_record("s1", seed=1)]


def test_a_record_from_before_digests_is_found_in_its_own_place_only(tmp_path: Path) -> None:
    store, first, second = two_seeds(tmp_path)
    without_digest(first)
    without_digest(second, cell=full_record(seed=2)["cell"])
    found = store.find(full_record()["cell"], "s0")

    assert found == {**full_record(), "schema": 1}
    without_digest(store.write(full_record()), cell={**full_record()["cell"], "eval_dataset": None})
    assert store.find(full_record()["cell"], "s0") is not None
    assert store.find(full_record(seed=1)["cell"], "s1") is None
    shutil.copy(first, second)
    assert [record["cell"]["seed"] for record in store.records()] == [0]


def test_every_committed_record_is_found() -> None:
    for folder in sorted(path.parent for path in COMMITTED.glob("*/records")):
        store = RecordStore(folder)
        records = list(store.records())

        assert len(records) == len(list(folder.rglob("*.json")))
        assert all(store.find(record["cell"], record["keys"]["score"]) for record in records)


def test_a_direction_that_was_withdrawn_is_not_read_from_a_record_of_before(tmp_path: Path) -> None:
    names = ("alignment", "rankme", "nonlinear_gap", "top1_at_1_std", "top1_at_1", "nll", "auc")
    metrics = {name: {"value": 1.0, "higher_is_better": name != "nll", "n": 9} for name in names}
    store = RecordStore(tmp_path)
    new, old = (store.write(full_record(key, metrics=metrics)) for key in ("s0", "s1"))
    without_digest(old)
    directions = {name: metric["higher_is_better"] for name, metric in store.read(old)["metrics"].items()}

    assert directions == {**dict.fromkeys(names[:4]), "top1_at_1": True, "nll": False, "auc": True}
    assert store.read(new)["metrics"] == metrics


@pytest.mark.parametrize("damage", ["displaced", "changed", "no JSON", "of another seed"])
def test_what_lies_in_a_cells_place_is_set_aside_when_the_cell_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    store, first, second = two_seeds(tmp_path)
    if damage == "of another seed":
        without_digest(second)
    wrong = {
        "displaced": first.read_text(),
        "changed": second.read_text().replace("71.25", "91.25"),
        "no JSON": "<<<<<<< HEAD\n",
        "of another seed": second.read_text().replace('"seed": 1', '"seed": 2'),
    }[damage]
    for _ in range(2):
        second.write_text(wrong)
        store.write(full_record("s1", seed=1))
    aside = sorted(path.name for path in second.parent.iterdir() if path not in (first, second))

    assert aside == ["knn-s1.json.rejected", "knn-s1.json.rejected-2"]
    assert [(second.parent / name).read_text() for name in aside] == [wrong, wrong]
    assert caplog.messages[-1] == f"{second}: made again; what was there is now {aside[1]}."
    assert [record["cell"]["seed"] for record in store.records()] == [0, 1]


def test_an_older_record_of_the_same_cell_is_replaced_without_a_trace(tmp_path: Path) -> None:
    store, first, _ = two_seeds(tmp_path)
    without_digest(first)
    store.write(full_record(reason="again"))

    assert len(list(first.parent.iterdir())) == 2


def test_folders_of_two_machines_are_merged_by_copying_files(tmp_path: Path) -> None:
    RecordStore(tmp_path / "one").write(full_record("s0", seed=0))
    RecordStore(tmp_path / "other").write(full_record("s1", seed=1))
    shutil.copytree(tmp_path / "other", tmp_path / "one", dirs_exist_ok=True)

    assert [record["cell"]["seed"] for record in RecordStore(tmp_path / "one").records()] == [0, 1]


def test_a_failure_inside_the_write_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, first, second = two_seeds(tmp_path)

    monkeypatch.setattr(os, "fsync", fill_the_disk)
    with pytest.raises(CellError, match=r"could not be written \(No space left on device\)"):
        store.write(full_record("s0", reason="new"))

    assert store.read(first) == full_record("s0")
    assert sorted(first.parent.iterdir()) == [first, second]


def test_a_process_that_is_killed_inside_the_write_leaves_the_old_record(tmp_path: Path) -> None:
    store, first, _ = two_seeds(tmp_path)
    code = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env=environment(Path(__file__).parents[1]),
        check=False,
    ).returncode

    assert code == 9
    assert store.read(first) == full_record("s0")
    assert len(list(store.records())) == 2


def test_a_refused_record_in_the_way_is_still_there_when_the_write_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, first, second = two_seeds(tmp_path)
    shutil.copy(first, second)
    monkeypatch.setattr(os, "fsync", fill_the_disk)
    with pytest.raises(CellError):
        store.write(full_record("s1", seed=1))

    assert second.read_bytes() == first.read_bytes()
    with pytest.raises(BadData, match="another cell"):
        store.read(second)


@pytest.fixture(autouse=True)
def warnings_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
