"""Cells on several devices by the command: as on one, and what happens where a process ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Lab
from environment import environment
from torch._C._distributed_c10d import HashStore

from bench.errors import BadValue
from bench.execution.device_checks import count_devices
from bench.execution.executors.in_process import InProcess
from bench.execution.experiment import Experiment, plan_experiment
from bench.execution.pipeline import PipelineSpec
from bench.execution.team import Joined
from bench.planning.options import Runtime, merge_options
from bench.storage.records import RecordStore

ARGS = (
    *("run", "--device", "cpu", "--backbone", "test_resnet", "--eval", "linear", "--image-size", "16"),
    *("--batch-size", "20", "--set", "train.lr=0.001", "--set", "dataset.max_train=60"),
)
SHORT = (*ARGS, "--method", "simclr,random", "--epochs", "2")
LONG = (*ARGS, "--method", "simclr", "--epochs", "400")  # minutes: it is ended before


def command(*args: object, start: Sequence[str] = ("-m", "bench")) -> list[str]:
    return [sys.executable, *start, *map(str, args)]


def begin(*args: object) -> subprocess.Popen[str]:
    variables = environment(OMP_NUM_THREADS="1")
    return subprocess.Popen(command(*args), env=variables, stderr=subprocess.PIPE, text=True)


def run(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    variables = environment(OMP_NUM_THREADS="1")
    return subprocess.run(
        command(*args, **options), env=variables, capture_output=True, text=True, check=False
    )


def records(results: Path) -> dict[str, Any]:
    """Return the records of a folder by method."""
    return {record["cell"]["method"]: record for record in RecordStore(results).records()}


def wait_for(what: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Return the first thing that is true."""
    while not (found := what()):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.1)
    return found


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def spawned(pid: int) -> list[int]:
    """Return the processes that a process has started by `multiprocessing`, but for its tracker."""
    return [child for child in children(pid) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def followers(pid: int) -> list[int]:
    """Return the processes that help those which a command has started."""
    return [follower for worker in spawned(pid) for follower in spawned(worker)]


def metrics(results: Path) -> list[Path]:
    return list(results.glob("artifacts/.work/*/metrics.jsonl"))


def trained_steps(results: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in metrics(results))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the records of a run on one device."""
    results = tmp_path_factory.mktemp("one")
    done = run(*SHORT, "--results", results, "--threads", 1)

    assert done.returncode == 0, done.stderr
    return records(results)


def require_alike(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Fail unless records are those of one device: what is not trained to the bit, the rest to rounding."""
    assert found.keys() == wanted.keys() == {"simclr", "random"}
    for method, record in wanted.items():
        assert found[method]["keys"] == record["keys"]
        assert found[method]["cost"]["passes"] == record["cost"]["passes"]
    assert found["random"]["metrics"] == wanted["random"]["metrics"]
    top1 = [of["simclr"]["metrics"]["top1"]["value"] for of in (found, wanted)]
    assert abs(top1[0] - top1[1]) < 3  # percent, of 359 images: rounding, and not another training


@pytest.mark.long
def test_two_devices_make_the_records_of_one(tmp_path: Path, one: dict[str, Any]) -> None:
    done = run(*SHORT, "--results", tmp_path, "--devices", 2)
    found = records(tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 2/2") == 1
    assert (one["simclr"]["cost"]["devices"], found["simclr"]["cost"]["devices"]) == ([1], [2])
    require_alike(found, one)


@pytest.mark.long
def test_the_processes_of_torchrun_make_the_records_of_one(tmp_path: Path, one: dict[str, Any]) -> None:
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "bench")
    done = run(*SHORT, "--results", tmp_path, start=torchrun)
    again = run(*SHORT, "--results", tmp_path, start=torchrun)

    assert done.returncode == 0, done.stderr
    assert again.returncode == 0, again.stderr
    assert done.stdout == again.stdout
    assert done.stdout.count("| simclr") == 1
    require_alike(records(tmp_path), one)


@pytest.mark.long
def test_a_process_that_dies_fails_the_cell_and_the_next_run_goes_on_with_another_number(
    tmp_path: Path,
) -> None:
    process = begin(*LONG, "--results", tmp_path, "--devices", 3)
    wait_for(lambda: trained_steps(tmp_path) > 2, process)
    os.kill(followers(process.pid)[0], signal.SIGKILL)
    said = process.communicate()[1]
    (record,) = RecordStore(tmp_path).records()

    assert process.returncode == 1
    assert record["status"] == "failed"
    assert "of 3 ended (SIGKILL)" in record["reason"]
    assert "any number of --devices" in record["reason"]
    assert record["reason"] in said

    leave = begin(*LONG, "--results", tmp_path, "--devices", 2)
    wait_for(lambda: len(followers(leave.pid)) == 1 and trained_steps(tmp_path) > 4, leave)
    helpers = followers(leave.pid)
    leave.send_signal(signal.SIGTERM)
    said = leave.communicate()[1]
    lines = [json.loads(line) for path in metrics(tmp_path) for line in path.read_text().splitlines()]

    assert leave.returncode == 128 + signal.SIGTERM, said
    assert "The next run goes on at epoch" in said
    assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))
    assert len(list(tmp_path.glob("artifacts/.work/*/checkpoint.safetensors"))) == 1
    assert not [pid for pid in helpers if Path(f"/proc/{pid}").exists()]


# ---- what is refused


def planned(lab: Lab, **options: Any) -> Experiment:
    """Return an experiment that trains on batches of 20 images."""
    values = {
        "method": "simclr", "backbone": "test_resnet", "eval": "knn", "image_size": 16, "batch_size": 20,
        "set": {"dataset.max_train": 48}, "device": "cpu", "results": str(lab.folder), **options,
    }  # fmt: skip
    return plan_experiment(merge_options(None, values), lab.registry)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"devices": 21},
            "--devices: 20 images at a time cannot be shared out to 21 devices. ",
        ),
        ({"devices": 0}, "--devices: 0 is not a whole number of at least 1."),
        ({"devices": 2, "set": {"train.compile": True}}, "--devices: train.compile is for one device."),
        (
            {"devices": 8, "set": {"train.chunk_size": 7}},
            "--devices: 6 images at a time cannot be",
        ),
    ],
)
def test_what_several_devices_cannot_do_is_refused_before_anything_starts(
    lab: Lab, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadValue) as refused:
        planned(lab, **options)

    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)
    assert not lab.folder.exists()


def test_a_method_that_says_that_it_trains_on_one_device_is_refused_on_several(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.registry.load_class("methods", "simclr"), "one_device", True, raising=False)
    random = planned(lab, devices=2, method="random")

    assert planned(lab).spec.devices == 1
    assert random.spec.devices == 2
    with pytest.raises(BadValue) as refused:
        planned(lab, devices=2, method="random,simclr")
    assert str(refused.value) == "--devices: simclr trains on one device. Leave one of them out."


def test_a_batch_that_the_devices_do_not_divide_is_planned_and_keeps_its_keys(lab: Lab) -> None:
    one, several = planned(lab), planned(lab, devices=3)

    assert [cell.keys for cell in one.cells] == [cell.keys for cell in several.cells]
    assert (one.spec.devices, several.spec.devices) == (1, 3)


@pytest.mark.parametrize(
    ("changes", "device", "gpus", "said"),
    [
        (
            {"devices": 4},
            "cuda",
            2,
            "--devices: 4 were asked for, but there are 2 GPUs here. Use",
        ),
        ({"devices": 2}, "cuda", 1, "--devices: 2 were asked for, but there is 1 GPU here. "),
        (
            {"devices": 4, "jobs": 2},
            "cuda",
            4,
            "--devices: 4 were asked for by each of 2 --jobs, but ",
        ),
        ({"devices": 2}, "cuda:1", 4, "--devices: 2 were asked for, but --device cuda:1 is one."),
        ({"devices": 2}, "mps", 0, "--devices: 2 were asked for, but --device mps is one."),
    ],
)
def test_more_devices_than_there_are_is_one_line(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, int], device: str, gpus: int, said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    with pytest.raises(BadValue) as refused:
        count_devices(Runtime(**changes), InProcess(), torch.device(device), None)

    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_the_processes_of_torchrun_are_as_many_devices_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = Joined(0, 4, 0, 2, HashStore())

    assert count_devices(Runtime(), InProcess(), torch.device("cpu"), joined).devices == 4
    for changes in ({"devices": 2}, {"jobs": 2}, {"executor": "local"}):
        with pytest.raises(BadValue, match="torchrun"):
            count_devices(Runtime(**changes), InProcess(), torch.device("cpu"), joined)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BadValue, match="there is 1 GPU here"):
        count_devices(Runtime(), InProcess(), torch.device("cuda"), joined)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    assert count_devices(Runtime(), InProcess(), torch.device("cuda"), joined).devices == 4


def test_each_of_several_jobs_has_gpus_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    spec = PipelineSpec(results=Path(), device="cuda", jobs=2, devices=2)
    placed = [spec.place(number) for number in range(2)]

    assert [str(one.rank_device(rank)) for one in placed for rank in range(2)] == [
        f"cuda:{number}" for number in range(4)
    ]
