"""Cells that fail: how often they are tried again, when they are given up, and where a run stops."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import Lab

from bench.cli.main import main
from bench.storage.attempts import attempts_of, is_given_up
from bench.storage.records import Record, RecordStore

GRID = (
    "run", "--method", "random", "--backbone", "tiny", "--eval", "witness,knn", "--device", "cpu",
    "--precision", "float32", "--image-size", "16", "--set", "dataset.max_train=48",
    "--executor", "in-process",
)  # fmt: skip


@pytest.fixture
def broken(probes: Any) -> Any:
    """Have one of two evaluators fail."""
    probes.BREAK["evaluator"] = True
    yield probes
    probes.BREAK.clear()


def bench(folder: Path, *args: str, command: tuple[str, ...] = GRID) -> Result:
    return CliRunner().invoke(main, [*command, "--results", str(folder), *args])


def failed_of(folder: Path) -> Record:
    """Return the record of the one cell that failed."""
    (record,) = (record for record in RecordStore(folder).records() if record["status"] == "failed")
    return record


def test_a_cell_that_failed_is_tried_once_more_and_then_given_up_until_it_is_asked_for(
    tmp_path: Path, broken: Any
) -> None:
    first, second = bench(tmp_path), bench(tmp_path)
    tried = len(broken.SEEN)
    third = bench(tmp_path)
    untried = len(broken.SEEN)
    dry, status = bench(tmp_path, "--dry-run"), bench(tmp_path, command=("status",))
    again = bench(tmp_path, "--retry-failed")
    attempts = attempts_of(failed_of(tmp_path))
    broken.BREAK.clear()
    mended = bench(tmp_path, "--retry-failed")

    assert [result.exit_code for result in (first, second, third, again, mended)] == [1, 1, 1, 1, 0]
    assert "given up" not in first.output
    assert "[1] failed: LookupError: the witness broke (failed twice, given up)" in second.stdout
    assert (tried, untried, attempts) == (2, 2, 3)
    assert "witness 100 %: given up, for it failed twice. LookupError: the witness broke" in third.stderr
    assert third.stderr.splitlines()[-1].startswith(
        "Given up: 1 cell that failed before and was not tried ag"
    )
    assert third.stdout == second.stdout
    assert "have 1, given up 1" in dry.stdout
    assert "given up: 1. `bench run --retry-failed` tries these again" in status.stdout
    assert "failed: 1." not in status.stdout
    assert [record["status"] for record in RecordStore(tmp_path).records()] == ["ok", "ok"]


def test_retries_say_how_often(tmp_path: Path, broken: Any) -> None:
    bench(tmp_path, "--retries", "0")
    given_up = is_given_up(failed_of(tmp_path))
    bench(tmp_path, "--retries", "0")
    attempts = attempts_of(failed_of(tmp_path))
    bench(tmp_path, "--retries", "2")

    assert given_up
    assert attempts == 1
    assert (attempts_of(failed_of(tmp_path)), is_given_up(failed_of(tmp_path))) == (2, False)


def test_of_two_runs_at_once_one_tries_a_cell_that_fails(probing: Lab, broken: Any) -> None:
    cells = probing.plan(evaluator="witness")
    one, other = (probing.spec(again={}).build() for _ in range(2))  # both began before there were records
    (failed,) = one.run(cells)
    (found,) = other.run(cells)

    assert found == failed
    assert len(broken.SEEN) == 1


def test_the_record_of_an_older_bench_counts_as_one_failure(probing: Lab, broken: Any) -> None:
    (cell,) = probing.plan(evaluator="witness")
    (failed,) = probing.run([cell])
    for name in ("attempts", "given_up"):
        del failed["error"][name]
    probing.store.write(failed)
    (again,) = probing.run([cell])

    assert attempts_of(failed) == 1
    assert attempts_of(again) == 2


@pytest.mark.parametrize("error", [None, "x", {"attempts": "many"}, {"attempts": True}, {"attempts": -3}])
def test_what_a_record_says_of_attempts_may_be_anything(error: Any) -> None:
    record = {"status": "failed", "error": error}

    assert attempts_of(record) == 1
    assert not is_given_up(record)


def test_with_fail_fast_nothing_is_made_after_the_first_failure(tmp_path: Path, broken: Any) -> None:
    result = bench(tmp_path, "--fail-fast", "--seed", "0,1")
    later = bench(tmp_path, "--fail-fast", "--seed", "0,1", "--retries", "0")

    assert (result.exit_code, later.exit_code) == (1, 1)
    assert "failed [1]" in result.stdout
    assert result.stderr.splitlines()[-1] == "--fail-fast: a cell failed, and 3 cells of 4 were not made."
    assert sorted(record["status"] for record in RecordStore(tmp_path).records()) == [
        "failed", "failed", "ok",  # of the later run, which the cell that is given up does not stop
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1h30m", 5400), ("1.5s", 1.5), ("2d", 172_800), ("10m", 600)]
)
def test_a_limit_of_time_is_seconds_or_hours_and_minutes(text: str, seconds: float) -> None:
    from bench.planning.options import merge_options

    assert merge_options(None, {"timeout": text}).runtime["timeout"] == seconds


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--timeout", "soon"), "--timeout: soon is not a time. Use seconds, or hours, minutes and seconds"),
        (("--timeout", "0"), "--timeout: 0 is not a time."),
        (("--timeout", "-5"), "--timeout: -5 is not a time."),
        (("--retries", "-1"), "--retries: -1 is not a whole number of at least 0."),
        (("--timeout", "5"), "--timeout: in-process cannot end a cell that is not done"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    probes: Any, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    result = bench(tmp_path, *options)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {said}"), result.stderr
    assert result.stderr.count("\n") == 1


def test_a_plan_that_fails_is_tried_by_each_run(
    tmp_path: Path, probing: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    from dataclasses import replace

    from bench.planning.failure_report import FailureReport

    (cell,) = probing.plan(evaluator="witness")
    report = FailureReport(stage="plan", type="BadPlugin", message="it broke", reason="it broke")
    with caplog.at_level(logging.ERROR):
        (record,) = probing.spec(again={}).build().run([replace(cell, failure=report)])

    assert "attempts" not in record["error"]
    assert not is_given_up(record)
