"""A folder that the first release wrote: read as it is, and converted."""

from __future__ import annotations

import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.reporting.table import table
from bench.storage.artifacts import MANIFEST, ArtifactStore
from bench.storage.predictions import read_predictions
from bench.storage.record_json import digest_of
from bench.storage.records import SCHEMA, RecordStore
from bench.storage.upgrading import Upgraded, upgrade
from bench.storage.verifying import verify

FIRST = Path(__file__).parent / "first_release"
KEY = "2427f5146a55a262d5ee"  # of its artifact


@pytest.fixture
def folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Path:
    """Return a copy of a results folder of the first release."""
    caplog.set_level(logging.WARNING)
    return Path(shutil.copytree(FIRST, tmp_path / "results"))


def list_records(folder: Path) -> list[dict[str, Any]]:
    return list(RecordStore(folder).records())


def test_the_first_releases_records_are_read_and_tabulated(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = list_records(folder)

    assert [record["status"] for record in records] == ["ok", "ok", "ok", "failed", "ok"]
    assert "simclr" in table(records)
    assert caplog.messages == []


def test_what_is_upgraded_says_what_it_said_and_can_be_checked(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, text = list_records(folder), table(list_records(folder))
    done = upgrade(folder)
    after = list_records(folder)

    assert done == Upgraded(records=5, artifacts=1)
    assert list(map(digest_of, after)) == [digest_of({**record, "schema": SCHEMA}) for record in before]
    assert table(after) == text
    assert verify(folder).wrong == []
    assert all('"digest"' in path.read_text() for path in folder.rglob("records/**/*.json"))
    assert read_predictions(ArtifactStore(folder), KEY) is not None
    assert caplog.messages == []
    assert upgrade(folder) == Upgraded(current=6)


def test_a_direction_that_was_withdrawn_is_gone_and_a_value_that_json_has_not_stays(folder: Path) -> None:
    upgrade(folder)
    (metrics,) = [one["metrics"] for one in list_records(folder) if one["cell"]["evaluator"] == "geometry"]

    assert [metric["higher_is_better"] for metric in metrics.values()] == [None, None]
    assert math.isnan(metrics["alignment"]["value"])


def test_a_dry_run_counts_and_changes_nothing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert upgrade(folder, dry_run=True) == Upgraded(records=5, artifacts=1)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_an_artifact_of_the_first_release_is_not_believed_before_it_is_upgraded(folder: Path) -> None:
    store = ArtifactStore(folder)

    assert not store.has(KEY)
    assert (
        "does not say of which key it is, as those of the first release: see `bench upgrade`"
        in store.find_damage(KEY)
    )


@pytest.mark.parametrize("name", ["predictions.safetensors", MANIFEST])
def test_what_is_damaged_is_named_and_left(folder: Path, name: str) -> None:
    path = folder / "artifacts" / KEY / name
    path.write_bytes(path.read_bytes()[:-20])
    (record, *_) = folder.rglob("records/**/knn*.json")
    record.write_text("{")
    done = upgrade(folder)

    assert (done.records, done.artifacts) == (4, 0)
    assert [line.partition(": ")[0] for line in done.left] == [str(record), str(path.parent)]
    assert record.read_text() == "{"


def test_a_manifest_names_files_of_its_own_folder_only(folder: Path) -> None:
    upgrade(folder)
    secret = folder / "secret"
    secret.write_text("x")
    path, store = folder / "artifacts" / KEY / MANIFEST, ArtifactStore(folder)
    manifest = json.loads(path.read_text())
    for name in ("../../secret", str(secret), "..", "", "a\0b", "..\\secret"):
        path.write_text(json.dumps({**manifest, "files": {name: {"bytes": 1, "sha256": "2d71"}}}))

        assert store.list_files(KEY) == []
        assert "it has no manifest that can be read" in store.find_damage(KEY)
