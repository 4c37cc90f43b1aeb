"""The commands that look after a results folder."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from click.testing import Result
from small_runs import bench, line_of
from stored_results import make_record, store

from bench.cli import upkeep
from bench.storage.artifacts import ArtifactStore
from bench.storage.claims import Claims
from bench.storage.records import RecordStore


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a results folder of two cells, with all that their records need and nothing else."""
    folder = tmp_path / "results"
    for seed in range(2):
        store(folder, make_record(seed=seed, predictions=360))
    return folder


def run(command: str, results: Path, *args: str) -> Result:
    return bench(command, "--results", str(results), *args)


def make_artifact(results: Path, key: str, content: bytes = b"x" * 1000) -> Path:
    artifacts = ArtifactStore(results)
    with artifacts.locked(key), artifacts.write(key) as work:
        (work / "file").write_bytes(content)
    return artifacts.folder / key


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- verify


def test_what_is_as_it_was_written_is_said_to_be(results: Path) -> None:
    before = contents(results)
    done = run("verify", results)

    assert done.output == f"{results}: 2 records and 4 artifacts are as they were written.\n"
    assert done.exit_code == 0
    assert contents(results) == before


def test_every_damage_is_a_line_and_nothing_is_repaired(results: Path) -> None:
    (record, _) = sorted(results.rglob("records/**/*.json"))
    record.write_text(record.read_text().replace("70.0", "71.0"))
    keys = ArtifactStore(results).keys()
    for key in keys[:2]:
        path = next((results / "artifacts" / key).glob("*.safetensors"))
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    before = contents(results)
    done = run("verify", results)

    assert [line.partition(": ")[0] for line in done.output.splitlines()] == ["wrong"] * 3 + [str(results)]
    assert done.output.endswith("3 of 2 records and 4 artifacts are wrong.\n")
    assert all(f"artifacts/{key}: the artifact is damaged" in done.output for key in keys[:2])
    assert "was changed after it was written" in done.output
    assert done.exit_code == 1
    assert contents(results) == before


def test_predictions_that_are_gone_while_their_record_stands_are_noted(results: Path) -> None:
    key = next(RecordStore(results).records())["keys"]["score"]
    for path in (results / "artifacts" / key).iterdir():
        path.unlink()
    (results / "artifacts" / key).rmdir()
    done = run("verify", results)

    assert f"predictions of 1 of 2 records are not there ({key} first)" in done.output
    assert done.exit_code == 0


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    for command in ("verify", "gc", "upgrade"):
        assert "there is no such folder" in line_of(run(command, tmp_path / "nowhere"))


# ---- gc


def test_what_no_record_needs_goes_and_all_else_stays(results: Path) -> None:
    before = contents(results)
    unneeded = make_artifact(results, "unneeded")
    aside = results / "artifacts" / "old.rejected"
    aside.write_bytes(b"y" * 500)
    looked = run("gc", results, "--dry-run")

    assert f"   1.2 kB  {unneeded}: no record needs it" in looked.output
    assert f"    500 B  {aside}: it was set aside" in looked.output
    assert looked.output.endswith("2 can go, 1.7 kB\n")
    assert unneeded.exists()
    assert run("gc", results, "--yes").output.endswith("removed 2, 1.7 kB\n")
    assert contents(results).keys() - before.keys() <= {results / "artifacts" / ".work" / "unneeded.lock"}
    assert contents(results).items() >= before.items()
    assert run("gc", results, "--yes").output == f"{results}: nothing can go\n"


def test_work_of_a_process_that_ended_goes_and_that_of_one_that_is_at_it_stays(results: Path) -> None:
    claims = Claims(results / "artifacts" / ".work")
    works = [claims.folder / key for key in ("ended", "held")]
    for work in works:
        work.mkdir(parents=True)
        (work / "checkpoint.pt").write_bytes(b"z" * 2000)
    make_artifact(results, "held-and-unneeded")
    with claims.hold("held"), claims.hold("held-and-unneeded"):
        done = run("gc", results, "--yes")

    assert f"2.0 kB  {works[0]}: a process that ended left it: a run would go on from it" in done.output
    assert [work.exists() for work in works] == [False, True]
    assert (results / "artifacts" / "held-and-unneeded").exists()


def test_while_a_process_shows_signs_of_life_its_work_and_its_artifacts_stay(results: Path) -> None:
    unneeded, aside = make_artifact(results, "unneeded"), results / "artifacts" / "old.rejected"
    aside.write_bytes(b"")
    beat = results / "running" / "run.json"
    beat.parent.mkdir()
    beat.write_text(json.dumps({"run": "run", "kind": "run"}))
    done = run("gc", results, "--yes")

    assert "a process works here: work folders and artifacts without a record stay until it" in done.output
    assert unneeded.exists()
    assert not aside.exists()
    os.utime(beat, (time.time() - 600,) * 2)
    run("gc", results, "--yes")
    assert not unneeded.exists()


def test_what_a_run_came_to_need_while_the_question_stood_is_not_removed(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed, unneeded = make_artifact(results, "needed"), make_artifact(results, "unneeded")

    def run_and_confirm(*_: object, **__: object) -> bool:
        record = make_record("vicreg")
        RecordStore(results).write({**record, "keys": {"score": "needed", "features": {}}})
        return True

    monkeypatch.setattr(upkeep, "confirm", run_and_confirm)
    done = run("gc", results)

    assert "2 can go" in done.output
    assert f"left: {needed}: it is needed now, or it cannot be removed" in done.output
    assert done.output.endswith("removed 1, 1.2 kB\n")
    assert done.exit_code == 1
    assert [needed.exists(), unneeded.exists()] == [True, False]


def test_where_a_run_began_while_the_question_stood_its_work_stays(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unneeded = make_artifact(results, "unneeded")

    def begin_and_confirm(*_: object, **__: object) -> bool:
        beat = results / "running" / "run.json"
        beat.parent.mkdir()
        beat.write_text(json.dumps({"run": "run", "kind": "run"}))
        return True

    monkeypatch.setattr(upkeep, "confirm", begin_and_confirm)

    assert run("gc", results).exit_code == 1
    assert unneeded.exists()


def test_while_a_record_cannot_be_read_no_artifact_is_taken_for_unneeded(results: Path) -> None:
    unneeded = make_artifact(results, "unneeded")
    next(results.rglob("records/**/*.json")).write_text("{")
    done = run("gc", results, "--yes")

    assert "1 records cannot be read, and what they need is not known: artifacts stay" in done.output
    assert unneeded.exists()


def test_where_nobody_can_be_asked_nothing_is_removed(results: Path) -> None:
    unneeded, before = make_artifact(results, "unneeded"), contents(results)
    for done in (run("gc", results), run("rm", results, "--where", "seed=0")):
        assert done.exit_code == 2
        assert "nobody can be asked here, and nothing was removed" in done.stderr
    assert unneeded.exists()
    assert contents(results) == before


# ---- rm


def test_records_go_by_the_axes_of_a_table(results: Path) -> None:
    assert "nothing was named" in line_of(run("rm", results))
    assert run("rm", results, "--where", "seed=1", "--dry-run").exit_code == 0
    assert len(list(RecordStore(results).records())) == 2
    done = run("rm", results, "--where", "seed=1", "--yes")

    assert done.output.endswith("removed 1 of 2 records\n")
    assert [record["cell"]["seed"] for record in RecordStore(results).records()] == [0]
    assert len(ArtifactStore(results).keys()) == 4
    assert run("gc", results, "--yes").output.endswith("removed 2, 24.4 kB\n")


def test_records_go_by_their_status(results: Path) -> None:
    RecordStore(results).write(make_record("vicreg", status="failed", metrics={}, reason="it broke"))

    assert run("rm", results, "--status", "failed", "--yes").exit_code == 0
    assert [record["status"] for record in RecordStore(results).records()] == ["ok", "ok"]
    assert "no record has all that was asked for" in line_of(
        run("rm", results, "--status", "failed", "--yes")
    )


def test_a_record_that_was_left_out_is_said_in_the_exit_status(results: Path) -> None:
    sorted(results.rglob("records/**/*.json"))[1].write_text("{")
    done = run("rm", results, "--where", "method=simclr", "--yes")

    assert done.exit_code == 1
    assert "removed 1 of 1 records" in done.output


def test_a_record_that_cannot_be_removed_is_named(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    done = run("rm", results, "--where", "seed=1", "--yes")

    assert done.exit_code == 1
    assert "removed 0 of" in done.output
    assert "it cannot be removed, see who may write to its folder" in done.output


# ---- upgrade


def test_a_folder_of_the_first_release_is_upgraded(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(Path(__file__).parents[1] / "storage" / "first_release", tmp_path / "r"))

    assert (
        run("upgrade", folder, "--dry-run").output
        == f"{folder}: 5 records and 1 artifacts to convert, 0 current\n"
    )
    assert run("upgrade", folder).output == f"{folder}: 5 records and 1 artifacts converted, 0 current\n"
    assert run("upgrade", folder).output == f"{folder}: 0 records and 0 artifacts converted, 6 current\n"
    assert run("verify", folder).exit_code == 0
