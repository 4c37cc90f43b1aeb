"""`bench merge` says what it did, and exits with 1 where someone has to look."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from made_records import make
from small_runs import bench

from bench.cli.main import main
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import RecordStore


def write(folder: Path, *records: dict[str, Any]) -> str:
    for record in records:
        RecordStore(folder).write(record)
    return str(folder)


def test_what_became_of_the_records_is_said(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", make("x"), make("y")), write(tmp_path / "b", make("y"))
    result = CliRunner().invoke(main, ["merge", a, b, "--into", str(tmp_path / "c")])

    assert result.exit_code == 0
    assert result.output == (
        f"{tmp_path}/c: records 2 copied, 1 there already, with the same numbers; 0 artifacts copied\n"
    )


def test_a_conflict_is_a_line_and_a_status(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", make("x", 1.0)), write(tmp_path / "b", make("x", 2.0))
    result = CliRunner().invoke(main, ["merge", a, b, "--into", str(tmp_path / "c")], standalone_mode=False)

    assert result.return_value == 1
    assert result.output.splitlines()[1] == (
        f"conflict: x resnet18 digits knn 1 seed 0: top1 1.0 here, 2.0 in {b}; "
        f"that one is kept in {tmp_path}/c/conflicts/b"
    )


@pytest.mark.parametrize("arguments", [[], ["a"], ["--into", "c"]])
def test_half_a_command_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["merge", *arguments]).exit_code == 2


@pytest.mark.parametrize("trouble", ["a file in its place", "a full disk"])
def test_what_cannot_be_merged_for_the_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    source = write(tmp_path / "a", make())
    with ArtifactStore(tmp_path / "a").write("key") as work:
        (work / "file").write_text("content")
    into = tmp_path / "into"
    if trouble == "a full disk":

        def refuse(*_: object, **__: object) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(shutil, "copyfile", refuse)
    else:
        into.mkdir()
        (into / "artifacts").touch()
    done = bench("merge", source, "--into", str(into))

    assert isinstance(done.exception, SystemExit), done.exc_info
    assert done.stderr.count("\n") == 1
    assert "the artifact could not be written (" in done.stderr
    assert "use --records-only" in done.stderr


def test_folders_that_are_merged_may_have_names_too_long_for_the_file_system(tmp_path: Path) -> None:
    done = bench("merge", write(tmp_path / "a", make()), "--into", "x" * 5000)

    assert isinstance(done.exception, SystemExit), done.exc_info
    assert "could not be written (File name too long)" in done.stderr
