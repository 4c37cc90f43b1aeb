"""A job is a command line: it plans the grid again, and makes the cells that it was given."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from conftest import without_times
from environment import environment

from bench.cli import main
from bench.execution.experiment import plan_experiment
from bench.execution.submitted import to_options, to_plain
from bench.planning.options import merge_options
from bench.registry.registry import Registry
from bench.storage.records import RecordStore
from bench.storage.submissions import Submission, list_submissions

GRID = {"method": "random", "backbone": "test_resnet", "eval": "knn", "seed": [0, 1], "image_size": 16,
        "device": "cpu", "threads": 1, "set": {"dataset.max_train": 48}}  # fmt: skip


def submit(results: Path, **changes: Any) -> Submission:
    """Write down a grid of two backbones, a job each."""
    options = merge_options(None, {**GRID, **changes, "results": str(results)})
    experiment = plan_experiment(options, Registry.load())
    spec = experiment.spec
    object.__setattr__(spec, "grid", to_plain(options, spec, "float32"))
    return spec.submit("slurm", [[cell] for cell in experiment.cells])


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submission:
    monkeypatch.chdir(tmp_path)
    return submit(tmp_path / "results")


def work(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["worker", *args])
    return done.exit_code, done.stderr


@pytest.mark.long
def test_a_worker_makes_the_cells_of_its_job_as_a_run_of_one_machine_does(
    submitted: Submission, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    status, said = work(*submitted.command(results, 1)[4:])
    (record,) = RecordStore(results).records()
    options = merge_options(None, {**GRID, "seed": [1], "results": str(tmp_path / "alone")})
    (alone,) = plan_experiment(options, Registry.load()).run()

    assert status == 0, said
    assert said.startswith("[1/1] random test_resnet digits seed 1 knn 100 %: top1")
    assert without_times(record) == without_times(alone)
    assert work("--results", str(results), "--cells", submitted.name)[0] == 0  # both, of which one is there
    assert len(list(RecordStore(results).records())) == 2


def test_what_is_submitted_can_be_read_by_people_and_by_bench(submitted: Submission, tmp_path: Path) -> None:
    path = tmp_path / "results" / "submissions" / f"{submitted.name}.json"
    said = json.loads(path.read_text())
    (read,) = list_submissions(tmp_path / "results")

    assert said["grid"]["axes"]["seed"] == [0, 1]
    assert [[cell["title"] for cell in job] for job in said["jobs"]] == [
        ["random test_resnet digits seed 0 knn 100 %"],
        ["random test_resnet digits seed 1 knn 100 %"],
    ]
    assert read.jobs == tuple(map(tuple, submitted.jobs))


def test_a_grid_that_is_planned_otherwise_here_is_refused(submitted: Submission, tmp_path: Path) -> None:
    path = tmp_path / "results" / "submissions" / f"{submitted.name}.json"
    said = json.loads(path.read_text())
    said["grid"]["settings"]["dataset.max_train"] = [64]
    path.write_text(json.dumps(said))
    status, error = work("--results", str(tmp_path / "results"), "--cells", f"{submitted.name}/0")

    assert status == 2
    assert error.startswith(f"Error: {submitted.name}: 1 of its 1 cells are not planned here,")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("{name}/2", "--cells: {name} has the jobs 0 to 1, not 2."),
        ("nothing/0", "--cells: {results} has no submission 'nothing'."),
        ("a b", "--cells: 'a b' is not NAME or NAME/JOB."),
        ("../x/0", "--cells: '../x/0' is not NAME or NAME/JOB."),
    ],
)
def test_cells_that_are_not_there_are_one_line(
    submitted: Submission, tmp_path: Path, cells: str, said: str
) -> None:
    results = tmp_path / "results"
    status, error = work("--results", str(results), "--cells", cells.format(name=submitted.name))

    assert status == 2
    assert error.startswith("Error: " + said.format(name=submitted.name, results=results))


def test_a_folder_that_this_machine_has_not_and_a_damaged_file_are_one_line(
    submitted: Submission, tmp_path: Path
) -> None:
    path = tmp_path / "results" / "submissions" / f"{submitted.name}.json"
    args = ("--results", str(tmp_path / "results"), "--cells", submitted.name)
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "folder": "/not/here"}))
    elsewhere = work(*args)
    path.write_text("{")
    damaged = work(*args)

    assert elsewhere[0] == damaged[0] == 2
    assert elsewhere[1].startswith("Error: /not/here: the grid was submitted from there, and here it cannot")
    assert damaged[1].startswith(f"Error: {path}: the submission cannot be read")


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        (0, "--device: cuda is not available here. Use one of auto, cpu."),
        (1, "--devices: 2 were asked for, but there is 1 GPU here. Use --devices 1."),
    ],
)
def test_the_cells_of_a_job_whose_machine_has_fewer_devices_fail_by_that(
    submitted: Submission, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int, said: str
) -> None:
    path = tmp_path / "results" / "submissions" / f"{submitted.name}.json"
    content = json.loads(path.read_text())
    content["grid"]["runtime"] |= {"device": "cuda", "devices": 2}
    path.write_text(json.dumps(content))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpus))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    args = ("--results", str(tmp_path / "results"), "--cells", f"{submitted.name}/1")
    by_hand = work(*args, "--devices", "3")
    nothing = list(RecordStore(tmp_path / "results").records())
    status, _ = work(*args)
    (record,) = RecordStore(tmp_path / "results").records()

    assert (by_hand[0], nothing) == (2, [])  # who types it learns it at once
    assert by_hand[1].count("\n") == 1
    assert status == 1
    assert (record["status"], record["reason"], record["error"]["type"]) == ("failed", said, "NoDevice")
    assert record["cell"]["seed"] == 1


def test_a_worker_makes_cells_on_as_many_devices_as_they_were_submitted_for_or_as_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    submission = submit(tmp_path / "results", devices=3)
    asked = [to_options(submission.grid, tmp_path / "results", devices) for devices in (None, 2)]

    assert [plan_experiment(one, Registry.load()).spec.devices for one in asked] == [3, 2]


def test_a_worker_leaves_with_who_started_it(submitted: Submission, tmp_path: Path) -> None:
    command = [*submitted.command(tmp_path / "results", 0), "--until-eof"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        process.stdin.close()  # type: ignore[union-attr]
        said = process.stderr.read()  # type: ignore[union-attr]

    assert process.wait(60) == 128 + signal.SIGTERM, said
    assert command[0] == sys.executable
    assert list(RecordStore(tmp_path / "results").records()) == []


@pytest.mark.long
def test_a_worker_that_is_done_ends_though_who_started_it_goes_on(
    submitted: Submission, tmp_path: Path
) -> None:
    command = submitted.command(tmp_path / "results", 0)
    made, said = work(*command[4:])
    with subprocess.Popen(
        [*command, "--until-eof"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        again = process.stderr.read()  # type: ignore[union-attr]

    assert (made, process.returncode) == (0, 0), again
    assert again.splitlines()[-1] == said.splitlines()[-1]
