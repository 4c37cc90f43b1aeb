"""The records of several results folders in one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import cells, make
from safetensors.numpy import save_file

from bench.errors import UsageError
from bench.reporting.folders import StoredPredictions, read_folders
from bench.reporting.table import table
from bench.storage.artifact_files import PREDICTIONS
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import RecordStore

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_all(name: str, *records: dict[str, Any]) -> Path:
        for record in records:
            RecordStore(tmp_path / name).write(record)
        return tmp_path / name

    return write_all


def test_folders_without_a_cell_in_common_are_one(write: Write) -> None:
    folders = [write("b", make("x", seed=0)), write("a", make("x", seed=1), make("y", seed=0))]
    found = read_folders(folders)

    assert not found.is_axis
    assert [record["cell"]["method"] for record in found.records] == ["x", "x", "y"]
    assert cells(table(found.records))[1][1] == "70.00 ± 0.00 (n=2)"


def test_a_cell_that_is_in_two_folders_is_never_averaged(write: Write) -> None:
    folders = [write("a", make("x", 60.0)), write("b", make("x", 70.0), make("y", 50.0))]
    found = read_folders(folders)

    assert cells(table(found.records)) == [
        ["method", "folder", "top1"],
        ["x", str(folders[0]), "60.00"],
        ["x", str(folders[1]), "**70.00**"],
        ["y", str(folders[1]), "50.00"],
    ]


def test_the_folder_is_an_axis_where_it_is_asked_for(write: Write) -> None:
    folders = [write("a", make("x", 60.0)), write("b", make("y", 70.0))]
    records = read_folders(folders, as_axis=True).records

    assert cells(table(records, cols="folder"))[0] == ["method", *(f"folder={folder}" for folder in folders)]
    assert "folder" not in table(records).split("\n\n")[1]


def test_what_differs_by_name_is_named_before_the_folder(write: Write) -> None:
    records = [make(value=70.0 + n, config={"training": {"epochs": n}}) for n in (10, 20)]
    found = read_folders([write("a", records[0]), write("b", records[1])], as_axis=True)

    assert cells(table(found.records))[0] == ["train.epochs", "top1"]


def test_a_folder_that_is_named_twice_counts_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write("a", make("x")).parent)
    found = read_folders([Path("a"), Path("./a/../a")])

    assert (len(found.records), found.folders, found.is_axis) == (1, (Path("a"),), False)


def test_a_folder_without_records_is_named(write: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"^no records in {tmp_path}/nowhere\. Run `bench run` first, or"):
        read_folders([write("a", make("x")), tmp_path / "nowhere"])


def test_the_origin_of_a_record_is_known_after_some_were_chosen(write: Write) -> None:
    found = read_folders([write("a", make("x"), make("y")), write("b", make("z"))])

    assert found.origins_of(found.records[1:]) == [0, 1]


def test_predictions_of_two_folders_are_read_where_they_are_the_same(tmp_path: Path) -> None:
    stored = {"a": {"k1": 1, "k3": 3, "k5": 5}, "b": {"k2": 2, "k3": 4, "k5": 5}}
    for name, own in stored.items():
        for key, value in own.items():
            values = {"label": np.array([1], np.int32), "prediction": np.array([value], np.int32)}
            with ArtifactStore(tmp_path / name).write(key) as folder:
                save_file(values, folder / PREDICTIONS)
    read = StoredPredictions([tmp_path / "a", tmp_path / "b"]).read

    for key in ("k1", "k2", "k5"):
        found = read(key)
        assert found is not None
        assert found.predicted.tolist() == [int(key[1])]
    assert read("k3") is None
    assert read("k4") is None
