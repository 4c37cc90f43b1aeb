"""A file says what a process does, for as long as it does it, and grows old where the process was killed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from odd_files import KINDS, make_odd

from bench.system import heartbeat
from bench.system.heartbeat import (
    SILENT_S,
    Heartbeat,
    forget_silent,
    forget_workers,
    look_around,
    name_run,
    name_worker,
)

KILLED = """
import os, sys, time
from pathlib import Path
from bench.system.heartbeat import Heartbeat, look_around

beat, results = Heartbeat(), Path(sys.argv[1])
beat.begin(run="r", cell="a cell")
with beat.shown(results, "r"):
    while not look_around(results):
        time.sleep(0.01)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.02)


def until(condition: Callable[[], Any]) -> Any:
    """Return what a condition does, once that is true."""
    end = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def leave(results: Path, name: str, age_s: float = 0.0, **said: Any) -> Path:
    """Leave a file as a process does that was killed so long ago."""
    path = results / "running" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run": name.partition(".")[0], "kind": "run", **said}))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_a_file_says_what_is_done_and_goes_with_its_folder(tmp_path: Path) -> None:
    beat = Heartbeat()
    with beat.shown(tmp_path, "r"):
        beat.begin(run="r", cell="a cell")
        (begun,) = until(lambda: look_around(tmp_path))
        beat.enter("evaluate")
        beat.enter("pretrain")
        beat.tell(epoch=3)
        until(lambda: look_around(tmp_path)[0].said.get("epoch") == 3)
        (deep,) = look_around(tmp_path)
        beat.leave()
        until(lambda: look_around(tmp_path)[0].said["stage"] == "evaluate")
        (back,) = look_around(tmp_path)

    assert (begun.said["cell"], begun.said["stage"], begun.name) == ("a cell", "", "r")
    assert (deep.said["stage"], deep.said["pid"]) == ("pretrain", os.getpid())
    assert "epoch" not in back.said
    assert list(tmp_path.iterdir()) == []


def test_what_is_begun_replaces_what_was_said_before(tmp_path: Path) -> None:
    beat = Heartbeat()
    beat.begin(run="r", cell="one")
    beat.enter("pretrain")
    beat.tell(epoch=3)
    beat.begin(run="r", cell="two")
    with beat.shown(tmp_path, "r"):
        (seen,) = until(lambda: look_around(tmp_path))

    assert (seen.said["cell"], seen.said["stage"]) == ("two", "")
    assert "epoch" not in seen.said


def test_nothing_is_written_between_two_beats_however_often_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 60.0)
    beat = Heartbeat()
    beat.begin(run="r")
    with beat.shown(tmp_path, "r"):
        until(lambda: look_around(tmp_path))
        written = (tmp_path / "running" / "r.json").stat().st_mtime_ns
        for step in range(1000):
            beat.tell(step=step)

        assert (tmp_path / "running" / "r.json").stat().st_mtime_ns == written


def test_a_file_that_is_read_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.0)
    beat = Heartbeat()
    beat.begin(run="r", padding="x" * 100_000)
    with beat.shown(tmp_path, "r"):
        until(lambda: look_around(tmp_path))
        sizes = {
            len(json.loads((tmp_path / "running" / "r.json").read_text())["padding"]) for _ in range(200)
        }

    assert sizes == {100_000}


def test_a_killed_process_leaves_a_file_that_grows_old(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    path = tmp_path / "running" / "r.json"
    (young,) = look_around(tmp_path)
    os.utime(path, (time.time() - SILENT_S - 5,) * 2)
    (old,) = look_around(tmp_path)

    assert ended.returncode == -9
    assert (young.is_silent, old.is_silent) == (False, True)
    assert old.age_s == pytest.approx(SILENT_S + 5, abs=4)
    assert old.said["cell"] == "a cell"


def test_the_age_is_by_the_clock_of_the_folder_and_not_by_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, "r")
    ahead = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: ahead)  # as on a machine whose clock is wrong

    assert look_around(tmp_path)[0].age_s < SILENT_S
    monkeypatch.setattr(heartbeat.tempfile, "TemporaryFile", refuse)  # we may only read: ours is all there is
    assert look_around(tmp_path)[0].age_s == pytest.approx(3600, abs=30)


def refuse(*_: object, **__: object) -> None:
    raise PermissionError


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": 3}', "[" * 100_000, '"\\ud800"', "\0"])
def test_what_is_no_such_file_is_passed_over(tmp_path: Path, content: str) -> None:
    path = leave(tmp_path, "good")
    path.with_name("bad.json").write_text(content)
    path.with_name("note.txt").write_text("{}")
    path.with_name("folder.json").mkdir()

    assert [seen.name for seen in look_around(tmp_path)] == ["good"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path: Path, kind: str) -> None:
    path = leave(tmp_path, "good")
    make_odd(path.with_name("odd.json"), kind)

    assert [seen.name for seen in look_around(tmp_path)] == ["good"]
    forget_silent(tmp_path)
    assert path.exists()


@pytest.mark.parametrize(
    "beat", [10**400, -1, None, "x", math.nan], ids=["enormous", "-1", "none", "text", "nan"]
)
def test_a_process_that_says_an_odd_number_of_seconds_is_silent_in_time(tmp_path: Path, beat: Any) -> None:
    leave(tmp_path, "dead", age_s=heartbeat.SILENT_S * 2, beat_s=beat)
    leave(tmp_path, "good", beat_s=beat)

    assert [seen.is_silent for seen in look_around(tmp_path)] == [True, False]


def test_looking_at_a_folder_where_nothing_runs_makes_nothing(tmp_path: Path) -> None:
    assert look_around(tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_written_to_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "running").write_text("in the way")
    beat = Heartbeat()
    beat.begin(run="r")
    with beat.shown(tmp_path, "r"):
        time.sleep(0.1)
        beat.tell(step=1)

    assert (tmp_path / "running").read_text() == "in the way"


def test_a_file_that_was_tidied_away_comes_back(tmp_path: Path) -> None:
    beat = Heartbeat()
    beat.begin(run="r")
    with beat.shown(tmp_path, "r"):
        until(lambda: look_around(tmp_path))
        (tmp_path / "running").rename(tmp_path / "elsewhere")

        assert until(lambda: look_around(tmp_path))


def test_only_those_that_are_silent_are_forgotten_and_what_they_half_wrote(tmp_path: Path) -> None:
    leave(tmp_path, "dead", SILENT_S + 60)
    half = leave(tmp_path, "half", SILENT_S + 60)
    half.rename(half.with_name(".half.json.tmp"))
    leave(tmp_path, "alive", SILENT_S / 2)
    other = leave(tmp_path, "other", SILENT_S + 60)
    other.rename(other.with_name("notes.txt"))
    forget_silent(tmp_path)

    assert sorted(path.name for path in (tmp_path / "running").iterdir()) == ["alive.json", "notes.txt"]


def test_many_processes_beat_more_rarely_and_are_given_more_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        leave(tmp_path, f"other-{number}", host="elsewhere", pid=1)
    monkeypatch.setattr(heartbeat, "MOST_PER_S", 10)
    beat = Heartbeat()
    beat.begin(run="r", cell="a cell")
    with beat.shown(tmp_path, "r"):
        said = until(lambda: [one.said for one in look_around(tmp_path) if one.name == "r"])[0]
    slow, quick = leave(tmp_path, "slow", 60, beat_s=7.0), leave(tmp_path, "quick", 60, beat_s=3.0)
    silent = {one.name: one.is_silent for one in look_around(tmp_path)}
    forget_silent(tmp_path)

    assert said["beat_s"] == pytest.approx(4, abs=0.5)
    assert (silent["slow"], silent["quick"]) == (False, True)
    assert (slow.exists(), quick.exists()) == (True, False)


def test_what_was_killed_here_is_forgotten_at_once_and_what_may_live_is_not(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (seen,) = look_around(tmp_path)
    folder = tmp_path / "running"
    for name, change in (
        ("elsewhere", {"host": "elsewhere"}),
        ("here", {"pid": os.getpid()}),
        ("odd", {"pid": "1"}),
    ):
        (folder / f"{name}.json").write_text(json.dumps({**seen.said, **change}))
    forget_silent(tmp_path)

    assert killed.returncode == -9
    assert {seen.name for seen in look_around(tmp_path)} == {"elsewhere", "here", "odd"}


def test_workers_go_with_their_run_and_others_stay(tmp_path: Path) -> None:
    run = name_run()
    for name in (name_worker(run), name_worker(run), f"{run}1", name_worker(f"{run}1")):
        leave(tmp_path, name)
    forget_workers(tmp_path, run)

    assert {seen.said["run"] for seen in look_around(tmp_path)} == {f"{run}1"}
    assert len(look_around(tmp_path)) == 2
    assert name_run() != run
