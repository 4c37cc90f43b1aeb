"""What people call the data of a record: alike only where the data is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.storage.data_names import is_transfer, name_data
from bench.storage.records import RecordStore


def record(
    fingerprint: str, title: str = "", plugin: str = "image_folder", on: Any = None, **config: Any
) -> Any:
    evaluated = on or (fingerprint, title, plugin)
    cell = {"method": "random", "backbone": "b", "evaluator": "knn", "seed": 0, "label_frac": 1.0}
    cell |= {"dataset": plugin, "eval_dataset": evaluated[2]}
    cell |= {"dataset_name": title} if title else {}
    cell |= {"eval_dataset_name": evaluated[1]} if evaluated[1] else {}
    datasets = {
        "dataset": {"fingerprint": fingerprint, **config},
        "eval_dataset": {"fingerprint": evaluated[0], **config},
    }
    return {
        "cell": cell,
        "config": datasets,
        "status": "ok",
        "metrics": {},
        "keys": {"score": "key"},
        "schema": 2,
    }


def names(*records: Any) -> list[str]:
    return [trained for trained, _ in name_data(records)]


def test_a_folder_has_its_own_name() -> None:
    assert names(record("aaa", "photos"), record("bbb", "birds"), record("ccc", plugin="digits")) == [
        "photos", "birds", "digits",
    ]  # fmt: skip


def test_two_folders_of_one_name_are_told_apart_by_their_content() -> None:
    assert names(record("aaaaaaaa", "photos"), record("bbbbbbbb", "photos")) == [
        "photos (aaaaaa)", "photos (bbbbbb)",
    ]  # fmt: skip


def test_a_folder_called_as_a_data_set_is_told_from_it() -> None:
    assert names(record("aaa", "cifar10"), record("bbb", plugin="cifar10")) == [
        "cifar10 (image_folder)",
        "cifar10",
    ]


def test_a_folder_that_was_renamed_is_one_data_set() -> None:
    assert names(record("aaa", "photos"), record("aaa", "holiday")) == ["photos", "photos"]


def test_an_older_record_has_the_name_that_its_content_has_since() -> None:
    assert names(record("aaa"), record("aaa", "photos")) == ["photos", "photos"]


def test_older_records_of_two_contents_are_told_apart() -> None:
    assert names(record("aaaaaaaa"), record("bbbbbbbb")) == ["image_folder (aaaaaa)", "image_folder (bbbbbb)"]


def test_settings_that_tell_contents_apart_make_no_other_data_sets() -> None:
    assert (
        names(record("aaa", plugin="stl10", fold=0), record("bbb", plugin="stl10", fold=1)) == ["stl10"] * 2
    )


def test_a_content_that_was_noted_goes_before_a_fingerprint() -> None:
    grouped = [record("aaa", "photos", max_train=9), record("bbb", "photos", max_train=5)]
    for one in grouped:
        one["contents"] = {"dataset": "ccc", "eval_dataset": "ccc"}

    assert names(*grouped) == ["photos", "photos"]


def test_another_folder_is_another_data_set_and_the_same_content_is_none() -> None:
    assert is_transfer(record("aaa", "photos", on=("bbb", "birds", "image_folder")))
    assert is_transfer(record("aaa", "photos", on=("bbb", "photos", "image_folder")))
    assert is_transfer(record("aaa", on=("bbb", "", "image_folder")))
    assert not is_transfer(record("aaa", "photos", on=("aaa", "again", "image_folder")))
    assert not is_transfer(record("aaa", "photos"))


def test_a_record_is_found_whatever_its_folder_was_called(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    old, named, renamed = record("aaa"), record("aaa", "photos"), record("aaa", "holiday")
    path = store.write(old)

    assert path.parent.name == "image_folder"
    assert store.find(named["cell"], "key") == old
    assert store.write(named).parent.name == "photos"
    assert [one["cell"] for one in store.records()] == [named["cell"]]
    assert store.find(renamed["cell"], "key") == named
    store.remove(renamed["cell"], "key")
    assert list(store.records()) == []
