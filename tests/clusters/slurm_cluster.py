"""A grid on a real Slurm: whatever becomes of its jobs, every record is there once, with the same numbers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cluster_grids import Grid
from environment import environment

from bench.execution.executors import slurm_queue
from bench.storage.submissions import list_submissions

CLUSTER = Path(__file__).parent / "one-host-slurm"
SHORT, LONG = ("--seed", "0,1", "--epochs", "2"), ("--seed", "0", "--epochs", "20")
Alone = Callable[[Sequence[str]], dict[str, Any]]


def call(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("slurm")
    call(str(CLUSTER), "start", str(folder))
    yield folder
    call("scancel", "--user=root")
    call(str(CLUSTER), "stop", str(folder))


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grid]:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])  # which jobs get
    made = Grid(tmp_path / "results", "--executor", "slurm", "--set", "slurm.poll=1")
    yield made
    made.bench("cancel")


def wait_until(what: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, call("squeue")
        time.sleep(0.5)


def jobs_of(grid: Grid, state: str = "") -> list[str]:
    """Return the numbers that Slurm gives the jobs of a grid, with that of their array."""
    names = {f"bench-{one.name}" for one in list_submissions(grid.results)}
    lines = call("squeue", "--noheader", "--array", "--format=%j|%F_%K|%T").splitlines()
    jobs = [line.split("|") for line in lines]
    return [number for name, number, found in jobs if name in names and state in found]


def is_training(grid: Grid) -> bool:
    """Tell whether a job has logged an epoch, and is at the next one."""
    return any(path.read_text() for path in grid.results.glob("artifacts/.work/*/metrics.jsonl"))


def logs_of(grid: Grid) -> str:
    return "\n".join(path.read_text() for path in grid.results.glob("submissions/*/*.out"))


def test_a_grid_is_made_and_its_queue_is_told(grid: Grid, alone: Alone) -> None:
    grid.run(*SHORT)
    queued = grid.bench("status")
    finished = grid.run(*SHORT, "--wait")

    assert queued.startswith("submitted, and not done: 2 cells")
    assert "| simclr" in finished
    assert grid.numbers() == alone(SHORT)
    assert len(list(list_submissions(grid.results))) == 1
    assert not list(grid.results.rglob("*.pkl"))


def test_a_run_while_jobs_are_queued_submits_only_what_is_new(grid: Grid, alone: Alone) -> None:
    grid.run("--seed", "0", "--epochs", "2")
    grid.run(*SHORT, "--wait")

    assert [len(one.jobs) for one in list_submissions(grid.results)] == [1, 1]
    assert grid.numbers() == alone(SHORT)


def test_a_job_that_is_killed_is_lost_from_its_last_checkpoint_on_and_no_further(
    grid: Grid, alone: Alone
) -> None:
    grid.run(*LONG)
    wait_until(lambda: is_training(grid))
    call("scancel", "--signal=KILL", *jobs_of(grid))
    wait_until(lambda: not jobs_of(grid))
    status = grid.bench("status")
    grid.run(*LONG, "--wait")

    assert "its job ended without it: simclr" in status
    assert Path(status.split("its job ended without it: ")[1].splitlines()[0].split(": ")[1]).exists()
    assert grid.numbers() == alone(LONG)


def test_a_job_that_is_preempted_writes_a_checkpoint_and_goes_on_later(grid: Grid, alone: Alone) -> None:
    grid.run(*LONG)
    wait_until(lambda: is_training(grid))
    call("sbatch", "--partition=urgent", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 5")
    wait_until(lambda: jobs_of(grid, "PENDING"))
    said = logs_of(grid)
    grid.run(*LONG, "--wait")

    assert "SIGTERM came. The next run goes on at epoch" in said
    assert len(list(list_submissions(grid.results))) == 1  # the same job made the rest
    assert grid.numbers() == alone(LONG)


def test_a_job_whose_time_is_nearly_over_goes_back_into_the_queue(grid: Grid, alone: Alone) -> None:
    grid.run(*LONG, "--set", "slurm.leave=300")
    wait_until(lambda: is_training(grid))
    (job,) = jobs_of(grid)
    minutes = int(call("squeue", "--noheader", "--format=%M", f"--jobs={job}").strip().split(":")[0])
    call("scontrol", "update", f"job={job}", f"timelimit={minutes + 3}")  # so it is nearly over
    wait_until(lambda: "Put back into the queue." in logs_of(grid))
    call("scontrol", "update", f"job={job}", "timelimit=60")
    grid.run(*LONG, "--wait")

    assert "The next run goes on at epoch" in logs_of(grid)
    assert "Ended by SIGUSR2. The same command goes on where it was." in logs_of(grid)
    assert len(list(list_submissions(grid.results))) == 1  # the same job made the rest
    assert grid.numbers() == alone(LONG)


def test_a_node_that_is_drained_ends_its_jobs_and_takes_no_others_until_it_resumes(
    grid: Grid, alone: Alone
) -> None:
    grid.run("--seed", "0,1,2", "--epochs", "2", "--threads", "1", "--set", "slurm.cpus=2")
    wait_until(lambda: jobs_of(grid, "RUNNING"))
    node = call("hostname", "-s").strip()
    call("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    wait_until(lambda: jobs_of(grid) == jobs_of(grid, "PENDING"))  # what ran has ended, to the last step
    made, left = len(grid.records()), jobs_of(grid)
    grid.run("--seed", "0,1,2", "--epochs", "2", "--threads", "1", "--set", "slurm.cpus=2")  # is not refused
    call("scontrol", "update", f"nodename={node}", "state=resume")
    grid.run("--seed", "0,1,2", "--epochs", "2", "--threads", "1", "--set", "slurm.cpus=2", "--wait")

    assert made == 3 - len(left)
    assert len(left) in (1, 2)
    assert grid.numbers() == alone(("--seed", "0,1,2", "--epochs", "2"))


def test_cells_are_made_on_several_devices_of_a_job_with_the_numbers_of_several_here(
    grid: Grid, alone: Alone
) -> None:
    grid.run(*SHORT, "--devices", "2", "--wait")
    (submission,) = list_submissions(grid.results)
    script = (submission.log_folder(grid.results) / "job.sh").read_text()

    assert "#SBATCH --cpus-per-task=2\n" in script
    assert [record["cost"]["devices"] for record in grid.records()] == [[2], [2]]
    assert grid.numbers() == alone((*SHORT, "--devices", "2"))


def test_a_controller_that_is_started_anew_loses_nothing(grid: Grid, alone: Alone, cluster: Path) -> None:
    waiting = grid.start(*SHORT, "--wait")
    wait_until(lambda: jobs_of(grid, "RUNNING"))
    call(str(CLUSTER), "restart", str(cluster))
    said, _ = waiting.communicate(timeout=900)

    assert waiting.returncode == 0, said
    assert grid.numbers() == alone(SHORT)
    assert len(list(list_submissions(grid.results))) == 1


def test_jobs_that_are_cancelled_do_not_come_back_and_leave_a_checkpoint(grid: Grid) -> None:
    grid.run(*LONG)
    wait_until(lambda: is_training(grid))
    said = grid.bench("cancel")
    wait_until(lambda: not jobs_of(grid))
    time.sleep(3)

    assert "cancelled 1 jobs, 1 of them running." in said
    assert jobs_of(grid) == []
    assert grid.records() == []
    assert list(grid.results.glob("artifacts/.work/*/checkpoint.safetensors"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("partition=nope", "invalid partition specified: nope"),
        ("memory=900G", "Requested node configuration is not available"),
        ("gpus=8", "Invalid generic resource"),
        ("options=[nosuchoption=1]", "nosuchoption"),
    ],
)
def test_what_the_site_refuses_is_one_line_and_nothing_is_written(
    grid: Grid, setting: str, said: str
) -> None:
    process = grid.start(*SHORT, "--set", f"slurm.{setting}")
    error, _ = process.communicate(timeout=120)

    assert process.returncode == 2
    assert error.startswith("Error: slurm: sbatch refused: ")
    assert said in error
    assert error.count("\n") == 1
    assert not grid.results.exists()


def test_the_site_says_how_large_an_array_may_be() -> None:
    assert slurm_queue.read_most_jobs() == 4
