"""What a training logged is read as far as it is whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.storage import epochs
from bench.storage.artifact_files import METRICS
from bench.storage.artifacts import ArtifactStore
from bench.storage.epochs import read_epochs


def store(folder: Path, text: str) -> ArtifactStore:
    artifacts = ArtifactStore(folder)
    with artifacts.write("key") as work:
        (work / METRICS).write_text(text)
    return artifacts


def test_the_epochs_of_a_training_are_read_by_ascending_number(tmp_path: Path) -> None:
    lines = [{"epoch": 2, "loss": 1.5}, {"epoch": 1, "loss": 2.5}]
    artifacts = store(tmp_path, "".join(f"{json.dumps(line)}\n" for line in lines))

    assert read_epochs(artifacts, "key") == lines[::-1]


ODD_NUMBERS = ('{"epoch": true}', '{"epoch": -1}', '{"epoch": 1' + "0" * 400 + "}", '{"epoch": 2.5}')


@pytest.mark.parametrize(
    "damage", ['{"epoch": 2, "lo', "[1, 2]", '{"loss": 3}', "", "[" * 100_000, *ODD_NUMBERS]
)
def test_a_damaged_line_is_left_out_and_the_others_are_kept(tmp_path: Path, damage: str) -> None:
    artifacts = store(tmp_path, f'{{"epoch": 1}}\n{damage}\n{{"epoch": 3}}\n')

    assert read_epochs(artifacts, "key") == [{"epoch": 1}, {"epoch": 3}]


def test_there_are_no_epochs_of_an_artifact_that_is_missing_damaged_or_of_something_else(
    tmp_path: Path,
) -> None:
    artifacts = store(tmp_path, '{"epoch": 1}\n')
    with artifacts.write("other") as work:
        (work / "features.txt").write_text("")
    (artifacts.folder / "key" / METRICS).write_text('{"epoch": 1, "loss": 9}\n')

    assert [read_epochs(artifacts, key) for key in ("key", "other", "absent", "../key")] == [[], [], [], []]


def test_a_log_larger_than_any_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = store(tmp_path, '{"epoch": 1}\n')
    monkeypatch.setattr(epochs, "LARGEST_FILE", 5)

    assert read_epochs(artifacts, "key") == []
