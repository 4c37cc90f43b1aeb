"""What runs is said in words: a line for each run and each of its workers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from made_records import make

from bench.reporting.running import describe_running
from bench.reporting.status import describe_status

RUN = {"kind": "run", "cells": 8, "done": 2, "failed": 1, "seconds": 200.4}
TRAINING = {
    "kind": "worker", "cell": "vicreg resnet18 digits seed 0 linear 100 %", "stage": "pretrain",
    "stage_seconds": 9, "epoch": 3, "epochs": 100, "terms": {"invariance": 1.5, "variance": 2.25},
    "knn_top1": 71.234, "images_per_s": 1234.5, "seconds_left": 200.0, "quiet_seconds": 0.1,
}  # fmt: skip


def leave(results: Path, name: str, age_s: float = 0.0, **said: Any) -> None:
    path = results / "running" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run": name.partition(".")[0], "host": "lab1", "pid": 42, **said}))
    os.utime(path, (time.time() - age_s,) * 2)


def test_a_run_says_its_cells_and_a_worker_how_far_it_is(tmp_path: Path) -> None:
    leave(tmp_path, "r", **RUN)
    leave(tmp_path, "r.1", **TRAINING)
    leave(
        tmp_path,
        "r.2",
        kind="worker",
        cell="simclr resnet18 digits seed 0 knn",
        stage="evaluate",
        stage_seconds=12,
    )
    running = describe_running(tmp_path)

    assert running.is_alive
    assert (
        running.lines[0] == "running for 3 min 20 s: 2 of 8 cells done, 1 of them failed (lab1, process 42)"
    )
    assert running.lines[1] == (
        "  vicreg resnet18 digits seed 0 linear 100 %: pretrain  epoch 3/100  loss 3.75  kNN 71.2 %  "
        "1234 img/s  3 min 20 s left  invariance 1.5  variance 2.25"
    )
    assert running.lines[2:] == ("  simclr resnet18 digits seed 0 knn: evaluate  12 s",)


def test_a_dead_run_is_said_to_be_dead_and_promises_nothing(tmp_path: Path) -> None:
    leave(tmp_path, "r", 130, **RUN)
    leave(tmp_path, "r.1", 120, **TRAINING)
    running = describe_running(tmp_path)

    assert not running.is_alive
    assert running.lines[0] == (
        "died: no sign of life for 2 min 0 s, after 2 of 8 cells done, 1 of them failed (lab1, process 42). "
        "The same `bench run` again goes on from there."
    )
    assert "epoch 3/100  loss 3.75  kNN 71.2 %" in running.lines[1]
    assert "left" not in running.lines[1]


def test_a_worker_that_died_is_not_shown_beside_its_run_that_lives(tmp_path: Path) -> None:
    leave(tmp_path, "r", **RUN)
    leave(tmp_path, "r.1", 120, **TRAINING)
    leave(tmp_path, "r.2", **{**TRAINING, "cell": "another"})

    assert [line.split(":")[0] for line in describe_running(tmp_path).lines] == [
        "running for 3 min 20 s", "  another",
    ]  # fmt: skip


def test_a_dead_run_and_a_living_one_stand_beside_each_other(tmp_path: Path) -> None:
    leave(tmp_path, "a", 120, **RUN)
    leave(tmp_path, "b", **RUN)
    running = describe_running(tmp_path)

    assert running.is_alive
    assert [line.split()[0] for line in running.lines] == ["died:", "running"]


def test_a_training_that_hangs_is_said_to_take_no_step(tmp_path: Path) -> None:
    leave(tmp_path, "r.1", **{**TRAINING, "quiet_seconds": 300})

    assert "no step for 5 min 0 s" in describe_running(tmp_path).lines[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": "x", "epochs": None, "terms": [], "images_per_s": {}, "seconds_left": float("inf")},
        {"terms": {"a": "b", "\x1b[2J": float("nan")}, "cell": "\x1b[2J\n\x07", "stage": None, "host": 3},
        {"cell": None, "stage_seconds": float("nan"), "kind": 7},
    ],
)
def test_a_file_may_say_anything_and_moves_no_cursor(tmp_path: Path, changes: dict[str, Any]) -> None:
    leave(tmp_path, "r.1", **{**TRAINING, **changes})
    lines = describe_running(tmp_path).lines

    assert lines
    assert not any(letter in line for line in lines for letter in "\x1b\n\x07")


def test_status_begins_with_what_runs(tmp_path: Path) -> None:
    leave(tmp_path, "r", **RUN)

    assert describe_status([make()], tmp_path).splitlines()[0].startswith("running for 3 min 20 s: 2 of 8")
    assert describe_status([], tmp_path).splitlines() == list(describe_running(tmp_path).lines)
