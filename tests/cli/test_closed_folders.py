"""Commands on a results folder that another user has closed in part: a line, and no traceback."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from click.testing import Result
from closed_folders import close, close_locks
from small_runs import bench, line_of
from stored_results import make_record, store

from bench.storage.artifacts import ArtifactStore
from bench.storage.claims import Claims

FIRST_RELEASE = Path(__file__).parents[1] / "storage" / "first_release"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    for method in ("simclr", "vicreg"):
        store(folder, make_record(method, predictions=360))
    return folder


def run(command: str, results: Path, *args: str) -> Result:
    done = bench(*command.split(), "--results", str(results), *args)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done


@pytest.mark.parametrize(
    ("command", "status"),
    [("status", 0), ("table", 0), ("compare simclr vicreg", 0), ("verify", 1), ("upgrade", 1),
     ("gc --dry-run", 0), ("rm --status ok --dry-run", 0)],
)  # fmt: skip
def test_artifacts_that_cannot_be_listed_are_said_and_records_are_read(
    results: Path, monkeypatch: pytest.MonkeyPatch, command: str, status: int
) -> None:
    close(monkeypatch, results / "artifacts")
    done = run(command, results)

    assert done.exit_code == status
    if command in ("status", "verify", "upgrade", "gc --dry-run"):
        assert done.output.count("cannot be listed (Permission denied)") == 1
    assert "are as they were written" not in done.output
    assert " gone " not in done.output


def test_an_artifact_that_must_not_be_read_is_not_said_to_be_damaged(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ArtifactStore(results).keys()[0]
    close(monkeypatch, results / "artifacts" / key)
    done = run("verify", results)

    assert f"wrong: {results / 'artifacts' / key}: it is another user's, and must not be read." in done.output
    assert "damaged" not in done.output
    assert done.exit_code == 1


def test_a_page_is_made_of_records_whose_artifacts_are_closed(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close(monkeypatch, results / "artifacts")

    assert run("report", results, "-o", str(tmp_path / "page.html")).exit_code == 0
    assert "predictions are not stored" in (tmp_path / "page.html").read_text()


def test_a_folder_of_records_that_cannot_be_listed_is_named_and_nothing_is_taken_for_unneeded(
    results: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ArtifactStore(results).keys()
    with monkeypatch.context() as patch:
        close(patch, results / "records" / "vicreg")
        verified, table, cleaned = (run(command, results) for command in ("verify", "table", "gc --yes"))
        line = f"{results / 'records' / 'vicreg'}: the records in it cannot be listed (Permission denied)."

        assert f"wrong: {line}" in verified.output
        assert verified.exit_code == 1
        assert line in caplog.messages
        assert table.exit_code == 1
        assert "what they need is not known: artifacts stay" in cleaned.output
    assert ArtifactStore(results).keys() == keys


def test_a_key_whose_lock_cannot_be_opened_counts_as_held(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = Claims(results / "artifacts" / ".work")
    for key in ("unneeded", "other"):
        with ArtifactStore(results).locked(key), ArtifactStore(results).write(key) as work:
            (work / "file").write_text("content")
    (claims.folder / "other.lock").unlink(missing_ok=True)
    (claims.folder / "unneeded.lock").touch()
    close_locks(monkeypatch)

    assert "other: no record needs it" in run("gc --dry-run", results).output
    assert "unneeded: no record" not in run("gc --dry-run", results).output
    done = run("gc --yes", results)
    assert f"left: {results / 'artifacts' / 'other'}" in done.output
    assert done.exit_code == 1
    assert (results / "artifacts" / "other").exists()


def test_a_lease_in_a_folder_that_cannot_be_written_to_counts_as_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, os.strerror(13))

    claims = Claims(tmp_path)
    claims.choose("lease")
    (tmp_path / "key.lease").write_text("someone")
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)  # by which the clock of the folder is known

    assert claims.is_held("key")
    assert not claims.is_held("other")


def test_an_artifact_that_cannot_be_converted_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(FIRST_RELEASE, tmp_path / "r"))
    close_locks(monkeypatch)
    done = run("upgrade", folder)

    assert done.stderr.count("\n") == 1
    assert "the artifact could not be converted (Permission denied)." in done.stderr
    assert done.exit_code != 0


@pytest.mark.parametrize("command", ["table", "status", "verify", "gc --dry-run", "upgrade --dry-run"])
def test_a_name_too_long_for_the_file_system_is_one_line(command: str) -> None:
    assert "no " in line_of(bench(*command.split(), "--results", "x" * 5000))
