"""Several processes on one grid, of which some are killed: nothing is made twice, and nothing is left out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from environment import environment

from bench.storage.records import RecordStore

NOTES = "NOTES"  # in the environment: where the observer below writes
OBSERVER = """
import os
from bench.api import hookimpl

def note(*words):
    with open(os.environ["NOTES"], "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

@hookimpl
def bench_run_start(run):
    note("begun", run.key, os.getpid())

@hookimpl
def bench_epoch_end(run, epoch):
    note("epoch", run.key, epoch)

@hookimpl
def bench_run_end(run, status):
    note("trained", run.key, status)

@hookimpl
def bench_cell_end(record):
    note("cell", record["keys"]["score"], record["status"])
"""
GRID = (
    "run", "--method", "simclr", "--backbone", "test_resnet", "--eval", "knn,linear", "--seed", "0,1,2,3",
    "--epochs", "10", "--batch-size", "32", "--image-size", "16", "--device", "cpu", "--precision", "float32",
    "--threads", "1", "--set", "dataset.max_train=512",
)  # fmt: skip
PATIENCE_S = 900  # of tests beside this one a processor may have many


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Install an observer that notes what is begun and done, and return where it does."""
    info = tmp_path / "noting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: noting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench]\nnoting = noting\n")
    (tmp_path / "noting.py").write_text(OBSERVER)
    (tmp_path / "notes").touch()
    return tmp_path / "notes"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Return a list of runs, which are ended with all of their processes."""
    runs: list[subprocess.Popen[str]] = []
    yield runs
    for run in runs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()


def start(notes: Path, kind: str) -> subprocess.Popen[str]:
    results = str(notes.parent / "results")
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *GRID, "--results", results, "--claims", kind],
        env=environment(notes.parent, NOTES=str(notes)), stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def read(notes: Path, what: str) -> list[list[str]]:
    """Return what was noted of a kind, a list of words each."""
    lines = [line.split() for line in notes.read_text().splitlines()]
    return [words[1:] for words in lines if words[0] == what]


def training(notes: Path) -> dict[int, str]:
    """Return the processes that are in the middle of a training, with the key of it."""
    done, seen = {words[0] for words in read(notes, "trained")}, {key for key, _ in read(notes, "epoch")}
    return {int(pid): key for key, pid in read(notes, "begun") if key in seen - done}


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["lock", "lease"])
def test_of_three_runs_of_a_grid_two_are_killed_and_nothing_is_made_twice_or_left_out(
    kind: str, notes: Path, started: list[subprocess.Popen[str]]
) -> None:
    """A worker alone is killed of one run, and all processes of another, each in the middle of a training."""
    runs = [start(notes, kind) for _ in range(3)]
    started += runs
    wait_until(lambda: len(training(notes)) >= 2)
    worker, other_worker = list(training(notes))[:2]
    other = next(run for run in runs if run.pid == os.getpgid(other_worker))
    os.kill(worker, signal.SIGKILL)
    os.killpg(other.pid, signal.SIGKILL)
    said = {run: run.communicate(timeout=PATIENCE_S)[1] for run in runs}
    survivors = [run for run in runs if run is not other]
    again = start(notes, kind)  # what failed with the worker is tried once more
    started.append(again)
    said[again] = again.communicate(timeout=PATIENCE_S)[1]
    records = list(RecordStore(notes.parent / "results").records())
    trained = Counter(key for key, status in read(notes, "trained") if status == "ok")
    made = Counter(key for key, status in read(notes, "cell") if status == "ok")

    assert again.returncode == 0, said
    assert {run.returncode for run in survivors} <= {0, 1}
    assert [record["status"] for record in records] == ["ok"] * 8
    assert set(made.values()) == {1}, made
    assert set(trained.values()) == {1}, trained
    assert any("SIGKILL" in text for text in said.values())
    assert not list((notes.parent / "results" / "artifacts" / ".work").glob("*.lease"))
