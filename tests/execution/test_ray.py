"""What is handed to Ray and what is made of its answers, on a module that runs tasks when asked for."""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.execution.executors import ray as executor
from bench.storage.submissions import list_submissions

GRID = ("--method", "random", "--backbone", "test_resnet", "--eval", "knn", "--image-size", "16",
        "--set", "dataset.max_train=48", "--executor", "ray")  # fmt: skip


class RayError(Exception):
    pass


class Fake(ModuleType):
    """A cluster of one node; a task is the function and its arguments, and runs when its answer is read."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.exceptions = SimpleNamespace(RayError=RayError)
        self.options: dict[str, Any] = {}
        self.joined: list[str] = []
        self.lost = 0  # tasks whose node goes before they begin
        self.answers: dict[Any, Any] = {}

    def is_initialized(self) -> bool:
        return bool(self.joined)

    def init(self, address: str, **_: object) -> None:
        if address == "nowhere":
            raise ConnectionError("nobody answers\nthere")
        self.joined.append(address)

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 4.0}}, {"Alive": False, "Resources": {"GPU": 8.0}}]

    def remote(self, function: Callable[..., Any]) -> Any:
        def options(**said: Any) -> Any:
            self.options = said
            return SimpleNamespace(remote=lambda command: (function, tuple(command)))

        return SimpleNamespace(options=options)

    def wait(self, tasks: Sequence[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        function, command = tasks[0]
        if self.lost:
            self.lost -= 1
            self.answers[tasks[0]] = RayError("The node died. More about it")
        else:
            self.answers[tasks[0]] = function(command)
        return [tasks[0]], list(tasks[1:])

    def get(self, task: Any) -> Any:
        answer = self.answers[task]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "ray", fake)
    real: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: fake if name == "ray" else real(name))
    monkeypatch.setattr(executor, "run_command", work)
    monkeypatch.chdir(tmp_path)
    return fake


def work(command: Sequence[str]) -> tuple[int, str]:
    """Run the command line of a worker in this process."""
    done = CliRunner().invoke(main, command[3:])
    return done.exit_code, done.output


def run(results: Path, *args: str) -> Result:
    return CliRunner().invoke(main, ["run", *GRID, "--results", str(results), *args])


@pytest.mark.long
def test_a_grid_is_handed_out_as_command_lines_and_is_there_in_the_end(cluster: Fake, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # of which it is asked first whether it is there
        address = f"127.0.0.1:{server.getsockname()[1]}"
        settings = ("--set", "ray.cpus=2", "--set", "ray.backbones=2", "--set", f"ray.address={address}")
        done = run(tmp_path / "results", "--seed", "0,1,2", *settings)
    (submission,) = list_submissions(tmp_path / "results")
    again = run(tmp_path / "results", "--seed", "0,1,2", *settings)

    assert done.exit_code == 0, done.output
    assert "[3/3] random test_resnet digits seed 2 knn 100 %: top1" in done.stderr
    assert [len(job) for job in submission.jobs] == [2, 1]
    assert submission.grid["runtime"]["threads"] == 2
    assert cluster.options == {"num_cpus": 2, "num_gpus": 0.0, "max_retries": 5}
    assert cluster.joined == [address]
    assert again.stdout == done.stdout
    assert len(list(list_submissions(tmp_path / "results"))) == 1


@pytest.mark.long
def test_a_task_of_cells_on_several_devices_takes_what_they_do(cluster: Fake, tmp_path: Path) -> None:
    done = run(tmp_path / "results", "--devices", "2", "--device", "cpu")
    (submission,) = list_submissions(tmp_path / "results")

    assert done.exit_code == 0, done.output
    assert cluster.options == {"num_cpus": 2, "num_gpus": 0, "max_retries": 5}
    assert (submission.grid["runtime"]["devices"], submission.grid["runtime"]["threads"]) == (2, 1)


def test_a_task_that_is_lost_for_good_fails_its_cells_and_no_others(cluster: Fake, tmp_path: Path) -> None:
    cluster.lost = 1
    done = run(tmp_path / "results", "--seed", "0,1")

    assert done.exit_code == 1
    assert "[1/2] random test_resnet digits seed 0 knn 100 %: failed" in done.stderr
    assert "[2/2] random test_resnet digits seed 1 knn 100 %: top1" in done.stderr
    status = CliRunner().invoke(main, ["status", "--results", str(tmp_path / "results")])
    assert "its task was lost (RayError: The node died). Run again." in status.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--set", "ray.cpus=5"), "ray: no node of the cluster has 5 CPUs and 0 GPUs."),
        (("--set", "ray.gpus=1"), "ray: no node of the cluster has 1 CPUs and 1 GPUs."),
        (("--set", "ray.address=nowhere"),
         "ray: the cluster at nowhere cannot be joined (ConnectionError: nobody answers there)."),
        (("--set", "ray.address=ray://127.0.0.1:1"),
         "ray: the cluster at ray://127.0.0.1:1 cannot be joined (ConnectionRefusedError: "),
        (("--jobs", "2"), "--jobs: Ray decides how many run."),
        (("--devices", "2", "--device", "cuda"), "ray: no node of the cluster has 2 CPUs and 2 GPUs."),
        (("--devices", "5"), "ray: no node of the cluster has 5 CPUs and 0 GPUs."),
        (
            ("--devices", "2", "--set", "ray.gpus=0.5"),
            "--devices: 2 were asked for, but ray.gpus gives a cell 0.5. Use --set ray.gpus=2, or leave it",
        ),
        (("--set", "ray.gpus=1.5"), "ray.gpus: 1.5 GPUs cannot be had. Use a whole number, or less than 1."),
    ],
)  # fmt: skip
def test_what_the_cluster_has_not_is_one_line_and_nothing_is_written(
    cluster: Fake, tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    done = run(tmp_path / "results", *args)

    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {said}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else real(name))
    done = run(tmp_path / "results")

    assert (done.exit_code, done.stderr) == (
        2,
        "Error: ray: Ray is not installed. Use pip install 'ssl-bench[ray]'.\n",
    )


def test_a_command_of_a_task_ends_with_it_and_its_last_words_are_kept() -> None:
    code = "import sys; assert sys.argv[-1] == '--until-eof'; print('a line'); sys.exit(3)"

    assert executor.run_command([sys.executable, "-c", code]) == (3, "a line\n")
