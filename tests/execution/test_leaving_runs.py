"""A run that is asked to end leaves a checkpoint, and the next one goes on in the middle of an epoch."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from environment import environment

from bench.storage.records import RecordStore

TRAINING = ("--backbone", "test_resnet", "--batch-size", "32", "--epochs", "3", "--threads", "1",
            "--set", "dataset.max_train=640")  # fmt: skip


def start(results: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", "run", "--eval", "knn", *TRAINING, "--results", str(results)]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def wait_for_a_step(results: Path, process: subprocess.Popen[str]) -> None:
    """Return when a training has logged an epoch and is at the next one."""
    end = time.monotonic() + 120
    while not any(path.read_text() for path in results.glob("artifacts/.work/*/metrics.jsonl")):
        assert time.monotonic() < end
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)
    time.sleep(0.2)


def result_of(results: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the metrics of the one record, and what the training logged but for its times."""
    (record,) = RecordStore(results).records()
    log = results / "artifacts" / record["keys"]["backbone"] / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        del line["seconds"], line["images_per_s"]
    return record["metrics"], lines


def finish(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


@pytest.mark.long
def test_the_worker_leaves_a_checkpoint_and_the_next_run_goes_on(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    finish(start(whole))
    parts = tmp_path / "parts"
    run = start(parts)
    wait_for_a_step(parts, run)
    run.send_signal(signal.SIGUSR1)
    _, said = run.communicate(timeout=120)
    checkpoints = list(parts.glob("artifacts/.work/*/checkpoint.safetensors"))

    assert run.returncode == 128 + signal.SIGUSR1, said
    assert said.rstrip().endswith("Ended by SIGUSR1. The same command goes on where it was.")
    assert "SIGTERM came. The next run goes on at epoch" in said  # what the process sends to its worker
    assert "leaked" not in said
    assert len(checkpoints) == 1
    assert list(RecordStore(parts).records()) == []
    finish(start(parts))
    assert result_of(parts) == result_of(whole)
