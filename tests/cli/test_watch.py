"""`bench watch` in place at a terminal, in lines elsewhere."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_records import make

from bench.cli.main import main
from bench.cli.watch import Screen
from bench.storage.records import RecordStore


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def leave(folder: Path, age_s: float = 0.0) -> Path:
    path = folder / "results" / "running" / "r.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run": "r", "kind": "run", "cells": 8, "done": 2, "seconds": 3}))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_watch_prints_lines_until_nothing_runs_and_then_what_is_done(folder: Path) -> None:
    path = leave(folder)
    RecordStore(folder / "results").write(make(dataset="digits", eval_dataset="digits"))
    ending = threading.Timer(1.0, path.unlink)
    ending.start()
    result = CliRunner().invoke(main, ["watch", "--interval", "0.1"])
    ending.join()

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == lines[1] == "running for 3 s: 2 of 8 cells done (?, process ?)"
    assert "Nothing runs in results now." in lines
    assert lines[-2].split() == ["simclr", "resnet18", "digits", "1", "0", "0"]
    assert "\x1b" not in result.stdout


def test_watch_says_what_died_and_fails(folder: Path) -> None:
    leave(folder, age_s=3600)
    result = CliRunner().invoke(main, ["watch"])

    assert result.exit_code == 1
    assert result.stdout.startswith("died: no sign of life for 1 h 0 min, after 2 of 8 cells done")


@pytest.mark.usefixtures("folder")
def test_watch_of_a_folder_where_nothing_runs_ends_at_once() -> None:
    result = CliRunner().invoke(main, ["watch", "--results", "nowhere"])

    assert result.exit_code == 0
    assert result.stdout == "Nothing runs in nowhere now.\n"
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("interval", ["0", "-1", "soon"])
def test_an_interval_is_a_length_of_time(interval: str) -> None:
    assert CliRunner().invoke(main, ["watch", "--interval", interval]).exit_code == 2


def test_a_terminal_is_redrawn_in_place_and_no_line_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "4")
    monkeypatch.delenv("TERM", raising=False)
    out = Terminal()
    screen = Screen(out)
    screen.show(["x" * 50, "two"])
    screen.show(["1", "2", "3", "4", "5"])
    screen.show(["end"])

    assert out.getvalue() == f"{'x' * 19}\ntwo\n\x1b[2F\x1b[J1\n2\n3\n\x1b[3F\x1b[Jend\n"


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    for _ in range(2):
        Screen(out).show(["x" * 500])

    assert out.getvalue() == f"{'x' * 500}\n" * 2
