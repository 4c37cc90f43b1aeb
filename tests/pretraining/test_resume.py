"""A training that was stopped is the one that was not."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from environment import environment
from watched_training import (
    IMAGES,
    Stopped,
    lines,
    run_in,
    same,
    simclr,
    stop_at,
    untimed,
)

from bench.pretraining import loop as pretrain
from bench.pretraining.checkpoint import FILE, PART, Checkpoint
from bench.system.leaving import SIGNALS, AskedToLeave, finishes, leave_when_asked

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("optimizer", ["lars", "sgd", "adamw"])
@pytest.mark.parametrize("stop", [2, 3])
def test_a_run_that_was_stopped_is_bitwise_the_one_that_was_not(
    tmp_path: Path, optimizer: str, stop: int
) -> None:
    settings = {"optimizer": optimizer, "epochs": 4, "lr": 0.01}
    whole, first, second = simclr(), simclr(), simclr(seed=1)
    pretrain.pretrain(whole, IMAGES, run_in(tmp_path / "whole", **settings))
    parts = run_in(tmp_path / "parts", checkpoint_every_s=0.0, **settings)
    with pytest.raises(Stopped):
        pretrain.pretrain(first, IMAGES, replace(parts, on_epoch=stop_at(stop)))
    done = checkpoint_epochs(tmp_path / "parts", settings)
    torch.manual_seed(1234)  # no draw depends on what was drawn before
    pretrain.pretrain(second, IMAGES, parts)

    assert done == stop - 1
    assert same(whole, second)
    assert not same(whole, first)
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")


@pytest.mark.parametrize("step", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_that_was_stopped_in_any_step_is_bitwise_the_one_that_was_not(
    tmp_path: Path, step: int, accumulate: int
) -> None:
    settings = {"epochs": 3, "batch_size": 20 // accumulate, "accumulate": accumulate}
    whole, first, second = simclr(), simclr(), simclr(seed=1)
    pretrain.pretrain(whole, IMAGES, run_in(tmp_path / "whole", **settings))
    parts = run_in(tmp_path / "parts", checkpoint_every_s=0.0, **settings)
    with pytest.raises(Stopped):
        pretrain.pretrain(first, IMAGES, replace(parts, on_step=stop_in(step)))
    taken: list[int] = []
    pretrain.pretrain(second, IMAGES, replace(parts, on_step=lambda number, _terms: taken.append(number)))

    assert taken == list(range(step, 7))
    assert same(whole, second)
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")


def stop_in(step: int) -> Any:
    def stop(number: int, _terms: Mapping[str, float]) -> None:
        if number == step:
            raise Stopped

    return stop


def test_the_time_of_an_epoch_is_that_of_all_its_parts(tmp_path: Path) -> None:
    parts = run_in(tmp_path, checkpoint_every_s=0.0)

    def stop(number: int, _terms: Mapping[str, float]) -> None:
        time.sleep(0.3 if number == 1 else 0)
        if number == 2:
            raise Stopped

    with pytest.raises(Stopped):
        pretrain.pretrain(simclr(), IMAGES, replace(parts, on_step=stop))
    pretrain.pretrain(simclr(), IMAGES, parts)

    assert lines(tmp_path)[0]["seconds"] > 0.3
    assert lines(tmp_path)[0]["images_per_s"] < 40 / 0.3
    assert lines(tmp_path)[1]["seconds"] < 0.3


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("step", [1, 4, 6])
def test_a_signal_has_the_step_end_and_a_checkpoint_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, step: int
) -> None:
    whole, second = simclr(), simclr(seed=1)
    pretrain.pretrain(whole, IMAGES, run_in(tmp_path / "whole"))
    parts = run_in(tmp_path / "parts")
    taken: list[int] = []

    def send(number: int, _terms: Mapping[str, float]) -> None:
        taken.append(number)
        if number == step:
            os.kill(os.getpid(), getattr(signal, name))

    first = simclr()
    with leave_when_asked(), pytest.raises(AskedToLeave, match=name), finishes():
        pretrain.pretrain(first, IMAGES, replace(parts, on_step=send))
    if step == 6:  # it is done: the block goes on to its end
        second = first
    else:
        pretrain.pretrain(second, IMAGES, parts)
        where = {1: "epoch 1, step 2", 4: "epoch 3, step 1"}[step]
        assert f"{name} came. The next run goes on at {where}." in caplog.text

    assert taken == list(range(1, step + 1))
    assert same(whole, second)
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")


@pytest.fixture
def too_small(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on whose disk no checkpoint has room: here, no file may have so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield tmp_path / "full"
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_checkpoint_that_does_not_fit_is_told_once_and_the_training_goes_on(
    too_small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, other = simclr(), simclr()
    pretrain.pretrain(whole, IMAGES, run_in(tmp_path / "whole"))
    left: list[str] = []

    def look(_number: int, _terms: Mapping[str, float]) -> None:
        left.extend(path.name for path in too_small.iterdir() if path.name != "metrics.jsonl")

    pretrain.pretrain(other, IMAGES, run_in(too_small, checkpoint_every_s=0.0, on_step=look))
    (said,) = [message for message in caplog.messages if "checkpoint" in message]

    assert "the run: the checkpoint could not be written to" in said
    assert "File too large" in said
    assert "The training goes on" in said
    assert same(whole, other)
    assert untimed(too_small) == untimed(tmp_path / "whole")
    assert left == []


def test_a_signal_where_the_checkpoint_does_not_fit_does_not_promise_one(
    too_small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def send(number: int, _terms: Mapping[str, float]) -> None:
        if number == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with leave_when_asked(), pytest.raises(AskedToLeave, match="SIGTERM"), finishes():
        pretrain.pretrain(simclr(), IMAGES, run_in(too_small, on_step=send))

    assert "SIGTERM came. The next run goes on from the checkpoint before, if there is one." in caplog.text


def checkpoint_epochs(folder: Path, settings: Mapping[str, Any]) -> int:
    method = simclr()
    loop = pretrain.TrainingLoop(method, IMAGES, run_in(folder, **settings))
    return len(Checkpoint(folder, "key").resume(method, loop.stepper.optimizer, loop.stepper.scaler).log)


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    whole, again = simclr(), simclr()
    pretrain.pretrain(whole, IMAGES, run_in(tmp_path / "whole"))
    with pytest.raises(Stopped):
        pretrain.pretrain(simclr(), IMAGES, run_in(tmp_path / "parts", on_epoch=stop_at(2)))
    pretrain.pretrain(again, IMAGES, run_in(tmp_path / "parts"))

    assert same(whole, again)
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")


def test_a_half_written_line_is_cut_off(tmp_path: Path) -> None:
    parts = run_in(tmp_path, checkpoint_every_s=0.0)
    with pytest.raises(Stopped):
        pretrain.pretrain(simclr(), IMAGES, replace(parts, on_epoch=stop_at(2)))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')
    pretrain.pretrain(simclr(), IMAGES, parts)

    assert [line["epoch"] for line in lines(tmp_path)] == [1, 2, 3]


def test_the_time_of_all_processes_counts(tmp_path: Path) -> None:
    parts = run_in(tmp_path, checkpoint_every_s=0.0)
    with pytest.raises(Stopped):
        pretrain.pretrain(simclr(), IMAGES, replace(parts, on_epoch=stop_at(3)))
    spent = pretrain.pretrain(simclr(), IMAGES, parts)

    assert spent.seconds == pytest.approx(sum(line["seconds"] for line in lines(tmp_path)))
    assert spent.images_per_s >= 3 * 40 / spent.seconds  # the monitors' time is no training's


def test_the_speed_is_that_of_all_images_in_the_time_of_all_epochs(tmp_path: Path) -> None:
    spent = pretrain.pretrain(simclr(), IMAGES, run_in(tmp_path))

    assert spent.images_per_s == pytest.approx(
        120 / sum(40 / line["images_per_s"] for line in lines(tmp_path))
    )


def test_a_finished_run_leaves_its_metrics_and_no_checkpoint(tmp_path: Path) -> None:
    pretrain.pretrain(simclr(), IMAGES, run_in(tmp_path, checkpoint_every_s=0.0))

    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_run_that_goes_on_with_other_threads_says_so_and_keeps_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = run_in(tmp_path, checkpoint_every_s=0.0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(Stopped):
            pretrain.pretrain(simclr(), IMAGES, replace(parts, on_epoch=stop_at(2)))
    finally:
        torch.set_num_threads(before)
    cost = pretrain.pretrain(simclr(), IMAGES, parts)
    again = pretrain.pretrain(simclr(), IMAGES, run_in(tmp_path / "again"))

    assert (cost.threads, again.threads) == ((2, 1), (1,))
    assert caplog.text.count("the run: it was begun with 2 threads and goes on with 1, so") == 1


def test_a_process_that_is_killed_at_any_step_or_write_is_gone_on_with_bit_by_bit(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(TESTS / "killed_training.py"), str(tmp_path)],
        env=environment(TESTS), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    first, later, half = found["step 1"]["left"], found["step 5"]["left"], found["write 2 0.5"]["left"]

    assert len(found) == 12
    assert {kill["ended"] for kill in found.values()} == {-signal.SIGKILL}
    assert [name for name, kill in found.items() if not kill["alike"]] == []
    assert (FILE in first, FILE in later) == (False, True)
    assert {FILE, PART} <= set(half)
