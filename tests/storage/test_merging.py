"""Folders are merged: nothing twice, nothing lost, nothing averaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from made_records import make

from bench.errors import BadValue, UsageError
from bench.storage.artifacts import ArtifactStore
from bench.storage.merging import merge
from bench.storage.records import RecordStore


def write(folder: Path, *records: dict[str, Any]) -> Path:
    for record in records:
        RecordStore(folder).write(record)
    return folder


def keep(folder: Path, key: str, text: str) -> None:
    with ArtifactStore(folder).write(key) as work:
        (work / "predictions.safetensors").write_text(text)


def values(folder: Path) -> dict[str, float]:
    records = RecordStore(folder).records()
    return {one["cell"]["method"]: one["metrics"]["top1"]["value"] for one in records if one["metrics"]}


def all_files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def failed(method: str) -> dict[str, Any]:
    return {**make(method, 1.0), "status": "failed", "reason": "no", "metrics": {}}


def test_records_and_artifacts_of_all_folders_are_in_one_and_theirs_are_as_they_were(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", make("x", 1.0)), write(tmp_path / "b", make("y", 2.0), make("z", 3.0))
    keep(a, "k1", "one"), keep(b, "k2", "two")
    before = all_files(a), all_files(b)
    merged = merge([a, b], tmp_path / "c")

    assert values(tmp_path / "c") == {"x": 1.0, "y": 2.0, "z": 3.0}
    assert ArtifactStore(tmp_path / "c").keys() == ["k1", "k2"]
    assert all(not ArtifactStore(tmp_path / "c").find_damage(key) for key in ("k1", "k2"))
    assert merged.counts == {"copied": 3, "artifacts": 2}
    assert (all_files(a), all_files(b)) == before


def test_a_second_time_there_is_nothing_to_do(tmp_path: Path) -> None:
    a = write(tmp_path / "a", make("x", 1.0))
    keep(a, "k1", "one")
    merge([a], tmp_path / "c")
    before = all_files(tmp_path / "c")

    assert merge([a], tmp_path / "c").counts == {"same": 1}
    assert all_files(tmp_path / "c") == before


def test_the_same_numbers_at_another_cost_count_once_and_the_first_stays(tmp_path: Path) -> None:
    a = write(tmp_path / "a", make("x", 1.0, cost={"seconds": {"evaluate": 1.0}}))
    b = write(tmp_path / "b", make("x", 1.0, cost={"seconds": {"evaluate": 2.0}}))
    merged = merge([a, b], tmp_path / "c")
    (record,) = RecordStore(tmp_path / "c").records()

    assert merged.counts == {"copied": 1, "same": 1}
    assert record["cost"] == {"seconds": {"evaluate": 1.0}}


def test_other_numbers_of_a_cell_are_named_and_kept_apart_with_their_predictions(tmp_path: Path) -> None:
    a, b = write(tmp_path / "m1" / "r", make("x", 1.0)), write(tmp_path / "m2" / "r", make("x", 2.0))
    key = make("x")["keys"]["score"]
    keep(a, key, "of a"), keep(b, key, "of b")
    (conflict,) = merge([a, b], tmp_path / "c").conflicts

    assert values(tmp_path / "c") == {"x": 1.0}
    assert conflict.kept_in == tmp_path / "c" / "conflicts" / "r-2"
    assert values(conflict.kept_in) == {"x": 2.0}
    assert (conflict.here["metrics"]["top1"]["value"], conflict.source) == (1.0, b)
    for folder, text in ((tmp_path / "c", "of a"), (conflict.kept_in, "of b")):
        (path,) = ArtifactStore(folder).list_files(key)
        assert path.read_text() == text


def test_damaged_predictions_of_a_conflict_are_named_and_not_made_whole(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", make("x", 1.0)), write(tmp_path / "b", make("x", 2.0))
    key = make("x")["keys"]["score"]
    keep(a, key, "of a"), keep(b, key, "of b")
    (b / "artifacts" / key / "predictions.safetensors").write_text("of x")
    merged = merge([a, b], tmp_path / "c")

    assert ArtifactStore(tmp_path / "c" / "conflicts" / "b").keys() == []
    assert "predictions.safetensors is not what its manifest says" in merged.damaged[0]


def test_a_conflict_leaves_predictions_where_records_alone_are_merged(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", make("x", 1.0)), write(tmp_path / "b", make("x", 2.0))
    keep(b, make("x")["keys"]["score"], "of b")
    (conflict,) = merge([a, b], tmp_path / "c", artifacts=False).conflicts

    assert values(conflict.kept_in) == {"x": 2.0}
    assert ArtifactStore(conflict.kept_in).keys() == []


def test_conflicts_of_two_folders_of_one_name_are_both_kept_each_with_its_own_predictions(
    tmp_path: Path,
) -> None:
    into, key = write(tmp_path / "c", make("x", 0.0)), make("x")["keys"]["score"]
    sources = [write(tmp_path / f"m{n}" / "r", make("x", float(n))) for n in (1, 2)]
    for n, source in enumerate(sources, start=1):
        keep(source, key, f"of {n}")
        merge([source], into)
    folders = [into / "conflicts" / name for name in ("r", "r~2")]

    assert sorted((into / "conflicts").iterdir()) == folders
    assert [values(folder) for folder in folders] == [{"x": 1.0}, {"x": 2.0}]
    for n, folder in enumerate(folders, start=1):
        (path,) = ArtifactStore(folder).list_files(key)
        assert path.read_text() == f"of {n}"
    before = all_files(into)
    assert [merge([source], into).conflicts[0].kept_in for source in sources] == folders
    assert all_files(into) == before


@pytest.mark.parametrize("theirs", [make("x", 2.0), failed("x")], ids=["other numbers", "failed"])
def test_predictions_of_another_record_are_never_beside_the_one_that_stays(
    tmp_path: Path, theirs: dict[str, Any]
) -> None:
    into, source = write(tmp_path / "c", make("x", 1.0)), write(tmp_path / "b", theirs)
    keep(source, theirs["keys"]["score"], "of b")
    keep(source, "backbone", "of both")
    merge([source], into)

    assert values(into) == {"x": 1.0}
    assert ArtifactStore(into).keys() == ["backbone"]


def test_predictions_that_the_same_numbers_lack_are_taken(tmp_path: Path) -> None:
    into, source = write(tmp_path / "c", make("x", 1.0)), write(tmp_path / "b", make("x", 1.0))
    keep(source, make("x")["keys"]["score"], "of both")
    merge([source], into)

    assert ArtifactStore(into).keys() == [make("x")["keys"]["score"]]


def test_nothing_of_a_source_is_changed_its_modes_neither(tmp_path: Path) -> None:
    source = write(tmp_path / "a", make("x"))
    for key in ("closed", "open"):
        keep(source, key, "one")
    closed, shared = (source / "artifacts" / key / "predictions.safetensors" for key in ("closed", "open"))
    closed.chmod(0o600)
    before = {path: path.stat().st_mode for path in source.rglob("*")}
    merge([source], tmp_path / "c")
    (copied,), (linked,) = (ArtifactStore(tmp_path / "c").list_files(key) for key in ("closed", "open"))

    assert {path: path.stat().st_mode for path in source.rglob("*")} == before
    assert copied.stat().st_mode & 0o666 == copied.parent.stat().st_mode & 0o666
    assert linked.samefile(shared)


@pytest.mark.parametrize("failed_first", [False, True])
def test_a_cell_that_failed_in_one_folder_is_taken_from_the_other(
    tmp_path: Path, *, failed_first: bool
) -> None:
    folders = [write(tmp_path / "a", make("x", 1.0)), write(tmp_path / "b", failed("x"))]
    merged = merge(folders[::-1] if failed_first else folders, tmp_path / "c")

    assert values(tmp_path / "c") == {"x": 1.0}
    assert merged.counts == {"copied": 1, "replaced" if failed_first else "left": 1}
    assert not merged.conflicts


def test_two_failures_count_once(tmp_path: Path) -> None:
    merged = merge([write(tmp_path / "a", failed("x")), write(tmp_path / "b", failed("x"))], tmp_path / "c")

    assert merged.counts == {"copied": 1, "same": 1}


def test_a_damaged_artifact_is_left_and_named(tmp_path: Path) -> None:
    a = write(tmp_path / "a", make("x"))
    keep(a, "k1", "one"), keep(a, "k2", "two")
    (a / "artifacts" / "k1" / "predictions.safetensors").write_text("eno")
    merged = merge([a], tmp_path / "c")

    assert ArtifactStore(tmp_path / "c").keys() == ["k2"]
    assert "k1: the artifact is damaged: predictions.safetensors is not" in merged.damaged[0]


def test_artifacts_are_copied_where_they_cannot_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    a = write(tmp_path / "a", make("x"))
    keep(a, "k1", "one")
    merge([a], tmp_path / "c")
    (path,) = ArtifactStore(tmp_path / "c").list_files("k1")

    assert path.read_text() == "one"


def test_records_alone_are_merged_where_that_is_asked_for(tmp_path: Path) -> None:
    a = write(tmp_path / "a", make("x", 1.0))
    keep(a, "k1", "one")
    merge([a], tmp_path / "c", artifacts=False)

    assert values(tmp_path / "c") == {"x": 1.0}
    assert ArtifactStore(tmp_path / "c").keys() == []


def test_what_cannot_be_merged_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    a = write(tmp_path / "a", make("x"))

    with pytest.raises(BadValue, match="is one of the folders to merge"):
        merge([a, tmp_path / "c" / ".." / "c"], tmp_path / "c")
    with pytest.raises(UsageError, match=r"nowhere\. Is it a results folder\?"):
        merge([a, tmp_path / "nowhere"], tmp_path / "c")
    assert not (tmp_path / "c").exists()
