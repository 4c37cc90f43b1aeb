"""What is handed to Slurm and what is made of its words, on commands that only keep a queue."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_slurm
import pytest
from click.testing import CliRunner, Result
from environment import environment

from bench.cli import main
from bench.execution.executors.slurm_queue import parse_queue
from bench.execution.submitted import to_options
from bench.storage.submissions import Submission, list_submissions

GRID = ("--method", "random", "--backbone", "test_resnet", "--eval", "knn", "--image-size", "16",
        "--set", "dataset.max_train=48")  # fmt: skip


class Site:
    """A folder of results, and a site whose queue is a file."""

    def __init__(self, queue: Path, results: Path) -> None:
        self.queue, self.results = queue, results

    @property
    def said(self) -> Any:
        return json.loads(self.queue.read_text())

    def change(self, **changes: Any) -> None:
        self.queue.write_text(json.dumps({**self.said, **changes}))

    def run(self, *args: str) -> Result:
        usual = ("--executor", "slurm", "--results", str(self.results))
        return CliRunner().invoke(main, ["run", *GRID, *usual, *args])

    def call(self, *args: str) -> Result:
        return CliRunner().invoke(main, [*args, "--results", str(self.results)])

    def submissions(self) -> list[Submission]:
        return list(list_submissions(self.results))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    commands = tmp_path / "commands"
    commands.mkdir()
    queue = fake_slurm.install(commands)
    monkeypatch.setenv("PATH", str(commands))  # and no Slurm that this machine may have
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.chdir(tmp_path)
    return Site(queue, tmp_path / "results")


def titles(submission: Submission) -> list[list[str]]:
    return [[cell.title for cell in job] for job in submission.jobs]


def test_a_grid_is_submitted_in_arrays_below_the_limit_of_the_site(site: Site) -> None:
    done = site.run("--seed", "0,1,2,3,4,5", "--set", "slurm.at_once=3", "--set", "slurm.time=90")
    first, second = site.said["scripts"]

    assert done.exit_code == 0, done.output
    assert [len(one.jobs) for one in site.submissions()] == [4, 2]
    assert "#SBATCH --array=0-3%3\n" in first
    assert "#SBATCH --array=0-1%2\n" in second
    assert "--dependency" not in first
    assert "#SBATCH --dependency=afterany:1\n" in second  # the limit is of both together
    assert "#SBATCH --time=90\n" in first
    assert "#SBATCH --requeue\n" in first
    assert not list(site.results.rglob("*.pkl"))


def test_a_job_has_the_plugins_that_the_run_has_and_no_others(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DISABLE", "not-for-us")
    done = site.run()
    (submission,) = site.submissions()

    assert done.exit_code == 0, done.output
    assert submission.grid["blocked"] == ["not-for-us"]


def test_a_job_has_the_limit_of_time_and_the_retries_of_the_run(site: Site) -> None:
    site.run("--timeout", "1h30m", "--retries", "3")
    (submission,) = site.submissions()
    runtime = submission.grid["runtime"]

    assert (runtime["timeout"], runtime["retries"]) == (5400, 3)
    assert to_options(submission.grid, site.results).runtime["retry_failed"]  # what it was given it tries


def test_jobs_cannot_be_stopped_by_the_first_failure(site: Site) -> None:
    done = site.run("--fail-fast")

    assert done.exit_code == 2
    assert done.stderr.startswith("Error: --fail-fast: slurm goes on elsewhere. Leave it out; `bench cancel`")
    assert site.submissions() == []


def test_a_job_has_several_backbones_where_that_is_asked_for(site: Site) -> None:
    site.run("--seed", "0,1,2", "--eval", "knn,linear", "--set", "slurm.backbones=2")
    (submission,) = site.submissions()

    assert titles(submission) == [
        [
            "random test_resnet digits seed 0 knn 100 %",
            "random test_resnet digits seed 0 linear 100 %",
            "random test_resnet digits seed 1 knn 100 %",
            "random test_resnet digits seed 1 linear 100 %",
        ],
        ["random test_resnet digits seed 2 knn 100 %", "random test_resnet digits seed 2 linear 100 %"],
    ]


@pytest.mark.parametrize(
    ("args", "asked", "threads"),
    [
        (("--device", "cpu"), {"cpus-per-task": "2"}, 1),
        (("--device", "cpu", "--threads", "3"), {"cpus-per-task": "6"}, 3),
        (("--device", "cuda"), {"cpus-per-task": "2", "gpus-per-node": "2"}, 1),
        (("--set", "slurm.gpus=3", "--set", "slurm.cpus=8"), {"cpus-per-task": "8", "gpus-per-node": "3"}, 4),
        (
            ("--device", "cuda", "--set", "slurm.options=[gres=gpu:a100:2]"),
            {"cpus-per-task": "2", "gres": "gpu:a100:2"},
            1,
        ),
    ],
)
def test_a_job_of_cells_on_several_devices_asks_for_what_they_take(
    site: Site, args: tuple[str, ...], asked: dict[str, str], threads: int
) -> None:
    done = site.run("--devices", "2", *args)
    (submission,), (script,) = site.submissions(), site.said["scripts"]
    flags = dict(re.findall(r"#SBATCH --(cpus-per-task|gpus-per-node|gres)=(.*)", script))
    runtime = submission.grid["runtime"]

    assert done.exit_code == 0, done.output
    assert flags == asked
    assert f" --cpus-per-task {asked['cpus-per-task']} " in script  # of srun
    assert (runtime["devices"], runtime["threads"]) == (2, threads)


def test_the_job_is_a_command_line_and_a_second_run_submits_what_is_neither_done_nor_queued(
    site: Site,
) -> None:
    site.run("--seed", "0,1")
    (first,) = site.submissions()
    command = first.command(site.results, 0)
    made = CliRunner().invoke(main, command[3:])
    site.change(jobs=[job for job in site.said["jobs"] if job[1] != "0"])
    again = site.run("--seed", "0,1,2")
    second = site.submissions()[-1]
    status = site.call("status").stdout

    assert made.exit_code == 0, made.output
    assert command[:4] == [sys.executable, "-m", "bench", "worker"]
    assert f"{first.name}/$SLURM_ARRAY_TASK_ID\n" in site.said["scripts"][0]
    assert titles(second) == [["random test_resnet digits seed 2 knn 100 %"]]
    assert "| random   |" in again.stdout  # the table of what there is
    assert "submitted, and not done: 2 cells" in status
    assert "waiting (Resources): random test_resnet digits seed 1 knn 100 % and 1 more" in status


def test_status_says_what_runs_what_waits_and_where_the_log_of_what_ended_is(site: Site) -> None:
    site.run("--seed", "0,1,2")
    (submission,) = site.submissions()
    name = f"bench-{submission.name}"
    site.change(jobs=[
        [name, "1", "RUNNING", "2026-01-02T03:04:05", "node7"],
        [name, "2", "PENDING", "N/A", "(Priority)"],
        ["another", "1", "RUNNING", "2026-01-02T03:04:05", "node8"],
    ])  # fmt: skip
    log = submission.log_folder(site.results) / "7_0_0_log.out"
    log.write_text("it was killed")
    lines = site.call("status").stdout.splitlines()

    assert lines == [
        "submitted, and not done: 3 cells",
        "  running since 2026-01-02T03:04:05 on node7: random test_resnet digits seed 1 knn 100 %",
        "  waiting (Priority): random test_resnet digits seed 2 knn 100 %",
        f"  its job ended without it: random test_resnet digits seed 0 knn 100 %: {log}",
    ]


def test_a_cell_that_cannot_work_takes_no_job(site: Site) -> None:
    done = site.run("--method", "pixels", "--eval", "geometry")
    (submission,) = site.submissions()

    assert [title for job in titles(submission) for title in job] == [
        "random test_resnet digits seed 0 knn 100 %",
        "random test_resnet digits seed 0 geometry",
        "pixels pixels digits seed 0 knn 100 %",
    ]
    assert "pixels pixels digits seed 0 geometry: skipped" in done.stderr


def test_cancel_ends_the_jobs_of_the_folder_and_no_others(site: Site) -> None:
    site.run("--seed", "0,1")
    other = ["bench-of-another-folder", "0", "PENDING", "N/A", "(Priority)"]
    site.change(jobs=[*site.said["jobs"], other])
    first, second = site.call("cancel"), site.call("cancel")

    assert first.stdout == f"{site.results}: cancelled 2 jobs, 0 of them running.\n"
    assert second.stdout == f"{site.results}: nothing is in the queue.\n"
    assert site.said["jobs"] == [other]


@pytest.mark.long
def test_a_waiting_run_yields_what_became_of_each_cell(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.run("--seed", "0,1")
    (submission,) = site.submissions()
    looks = iter(range(10))

    def look(_seconds: float) -> None:  # between looks at the queue one job makes its cell, and one is killed
        if next(looks) == 0:
            CliRunner().invoke(main, submission.command(site.results, 0)[3:])
            monkeypatch.chdir(site.results.parent)
        site.change(jobs=[])

    monkeypatch.setattr("bench.execution.executors.slurm.time", SimpleNamespace(sleep=look))
    done = site.run("--seed", "0,1", "--wait")

    assert len(site.submissions()) == 1
    assert done.exit_code == 1
    assert "slurm: 2 jobs are in the queue already" in caplog.messages
    assert "[1/2] random test_resnet digits seed 0 knn 100 %: top1" in done.stderr
    assert "[2/2] random test_resnet digits seed 1 knn 100 %: failed" in done.stderr
    assert "its job ended before it was made. See" in site.call("status").stdout


def test_what_the_site_refuses_is_one_line_and_nothing_is_written(site: Site) -> None:
    done = site.run("--set", "slurm.partition=nope")

    assert done.exit_code == 2
    assert done.stderr == "Error: slurm: sbatch refused: invalid partition specified: nope.\n"
    assert not site.results.exists()


@pytest.mark.parametrize("nodes", [["idle"], ["idle", "drained"], ["down*"]])
def test_more_than_any_node_has_is_refused_whether_nodes_are_up_or_not(site: Site, nodes: list[str]) -> None:
    site.change(nodes=nodes)
    done = site.run("--set", "slurm.memory=900G")

    assert done.exit_code == 2
    assert done.stderr.endswith("Requested node configuration is not available.\n")
    assert site.submissions() == []
    assert site.said["jobs"] == []


def test_jobs_are_submitted_though_all_nodes_are_down_for_now(site: Site) -> None:
    site.change(nodes=["drained", "idle*"])
    done = site.run()

    assert done.exit_code == 0, done.output
    assert len(site.said["jobs"]) == 1


def test_an_array_that_is_refused_after_others_were_taken_is_forgotten(site: Site) -> None:
    site.change(most=1)
    fake = site.queue.parent / "scontrol"
    fake.write_text("#!/bin/sh\necho 'MaxArraySize = 4'\n")
    done = site.run("--seed", "0,1")

    assert done.exit_code == 2
    assert (
        "slurm: sbatch refused: Batch job submission failed: Invalid job array specification." in done.stderr
    )
    assert site.submissions() == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--set", "slurm.gpu=1"), "slurm: no setting is named 'gpu'. Did you mean 'gpus'"),
        (("--set", "slurm.gpus=1,2"), "--set slurm.gpus: it has one value, not 2."),
        (("--set", "slurm.cpus=0"), "slurm.cpus"),
        (("--jobs", "2"), "--jobs: Slurm decides how many run."),
        (("--gpus", "0,1"), "--gpus: workers are on other machines."),
        (("--profile",), "--profile: it looks at one process."),
        (("--claims", "both"), "--claims: 'both' is not one of auto, lock, lease."),
        (
            ("--devices", "4", "--set", "slurm.gpus=2", "--set", "slurm.cpus=4"),
            "--devices: 4 were asked for, but slurm.gpus gives a cell 2. Use --set slurm.gpus=4, or leave it",
        ),
        (
            ("--devices", "4", "--set", "slurm.cpus=2"),
            "--devices: 4 were asked for, but slurm.cpus gives a cell 2. Use --set slurm.cpus=4, or leave it",
        ),
        (
            ("--devices", "9", "--method", "simclr", "--batch-size", "8"),
            "--devices: 8 images at a time cannot be shared out to 9 devices. Raise --batch-size, or use at",
        ),
        (
            ("--devices", "2", "--method", "simclr", "--batch-size", "16", "--set", "train.compile=true"),
            "--devices: train.compile is for one device.",
        ),
        (
            ("--devices", "2", "--device", "cuda:1"),
            "--devices: 2 were asked for, but --device cuda:1 is one.",
        ),
    ],
)
def test_what_cannot_be_set_is_one_line(site: Site, args: tuple[str, ...], said: str) -> None:
    done = site.run(*args)

    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {said}")
    assert done.stderr.count("\n") == 1
    assert not site.results.exists()
    assert site.said["scripts"] == []


def test_without_slurm_or_submitit_nothing_is_submitted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.queue.parent / "sbatch").unlink()
    real: Callable[..., Any] = importlib.util.find_spec
    missing_command = site.run()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "submitit" else real(name))
    missing_library = site.run()

    assert not site.results.exists()
    assert missing_command.stderr.startswith("Error: slurm: there is no sbatch on this machine.")
    assert missing_library.stderr == (
        "Error: slurm: submitit is not installed. Use pip install 'ssl-bench[slurm]'.\n"
    )


def test_of_squeue_only_our_arrays_are_read() -> None:
    said = (
        "bench-a|3|PENDING|N/A|(JobArrayTaskLimit)\nbench-b|N/A|RUNNING|x|n\n"
        "wrap|1|RUNNING|x|n\nbench-a|0|COMPLETING|2026-01-01T00:00:00|n1\n"
    )
    waiting, ending = parse_queue(said)

    assert (waiting.submission, waiting.number, waiting.is_running) == ("a", 3, False)
    assert waiting.said == "waiting (JobArrayTaskLimit)"
    assert (ending.number, ending.is_running) == (0, True)
    assert ending.said == "completing since 2026-01-01T00:00:00 on n1"
