"""Two machines and one folder on which locks do not meet: leases keep them apart, and nothing is damaged.

A machine is a set of namespaces (processes, mounts, network, host name) with a mount of its own of the
folder: bindfs, a file system that leaves locks to the kernel of the mount, as NFS does with `nolock`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cluster_grids import GRID, Grid
from environment import environment

SHORT, LONG = ("--seed", "0,1,2", "--epochs", "2"), ("--seed", "0,1", "--epochs", "20")
SETUP = 'hostname "$1" && ip link set lo up && bindfs "$2" "$3" && echo up && read -r _'
NAMESPACES = ("--mount", "--uts", "--net", "--pid")
Alone = Callable[[Sequence[str]], dict[str, Any]]


class Machine:
    """A machine that has a folder under the path at which all others have it.

    Args:
        name: its host name.
        shared: the folder.
        view: the path.
    """

    def __init__(self, name: str, shared: Path, view: Path) -> None:
        own = ("--fork", "--kill-child", "--mount-proc", "bash", "-c", SETUP, "bash")
        command = ("unshare", *NAMESPACES, *own, name, str(shared), str(view))
        self._parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = self._parent.stdout.readline() if self._parent.stdout else ""
        assert said == "up\n", "it did not come up"
        children = Path(f"/proc/{self._parent.pid}/task/{self._parent.pid}/children")
        self.init = int(children.read_text())
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a process there."""
        enter = ("nsenter", f"--target={self.init}", *NAMESPACES)
        process = subprocess.Popen(
            [*enter, *command], env=environment(OMP_NUM_THREADS="1"), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._started.append(process)
        return process

    def stop(self) -> None:
        """Stop all processes there, the file system's too."""
        for process in self._started:  # which enter from here, and wait for those there
            process.send_signal(signal.SIGSTOP)
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let them go on, in the other order: one that enters stops where it sees one stopped there."""
        self._signal(signal.SIGCONT)
        for process in self._started:
            process.send_signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        own = Path(f"/proc/{self.init}/ns/pid").readlink()
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                if (path / "ns" / "pid").readlink() == own:
                    os.kill(int(path.name), number)

    def end(self) -> None:
        """End it at once, with all that runs there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)
        for process in (*self._started, self._parent):
            if process.stdout and not process.stdout.closed:
                process.communicate()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    (tmp_path / "shared").mkdir()
    (tmp_path / "view").mkdir()
    made = [Machine(name, tmp_path / "shared", tmp_path / "view") for name in ("one", "two")]
    yield made[0], made[1]
    for machine in made:
        machine.end()


def start_grid(machine: Machine, tmp_path: Path, *args: str) -> subprocess.Popen[str]:
    run = ("run", *GRID, "--results", str(tmp_path / "view" / "results"), "--threads", "1", *args)
    return machine.start(sys.executable, "-m", "bench", *run)


def wait_until(what: Callable[[], object], *processes: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 600
    while not what():
        assert time.monotonic() < end
        for process in processes:
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)


def epochs_of(results: Path, name: str) -> int:
    """Return how many epochs a machine has logged of what it is at."""
    logs = results.glob(f"artifacts/.work/*.{name}-*/metrics.jsonl")
    return sum(len(path.read_text().splitlines()) for path in logs)


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    return said


def test_on_these_machines_locks_do_not_meet_and_files_do(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    """What the other tests stand on."""
    one, two = machines
    file = str(tmp_path / "view" / "file")
    holder = one.start("flock", file, "sh", "-c", "echo held; sleep 20")
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"

    assert two.start("flock", "--nonblock", file, "true").wait(10) == 0
    assert one.start("flock", "--nonblock", file, "true").wait(10) == 1
    assert two.start("hostname").communicate()[0] == "two\n"
    assert two.start("sh", "-c", "set -C; : > $0", file).wait(10) != 0  # created exclusively


def test_two_machines_make_every_record_of_a_grid_once(
    machines: tuple[Machine, Machine], tmp_path: Path, alone: Alone
) -> None:
    grid = Grid(tmp_path / "shared" / "results")
    runs = [start_grid(machine, tmp_path, *SHORT) for machine in machines]
    first, second = map(finish, runs)
    refused = start_grid(machines[0], tmp_path, *SHORT, "--claims", "lock")

    assert (grid.results / "artifacts" / ".work" / "claims").read_text() == "lease\n"
    assert "whose locks may not reach other machines. Claims are leases;" in first + second
    assert grid.numbers() == alone(SHORT)
    assert (first + second).count("epoch 2/2") == 3  # none was trained twice
    assert first.splitlines()[-4:] == second.splitlines()[-4:]  # of the table
    assert "Error: --claims: lock was asked for, and the runs in" in refused.communicate()[0]
    assert refused.returncode == 2
    assert not list(grid.results.glob("artifacts/.work/*.lease"))


def test_what_a_machine_was_at_that_is_gone_is_taken_over(
    machines: tuple[Machine, Machine], tmp_path: Path, alone: Alone
) -> None:
    one, two = machines
    grid = Grid(tmp_path / "shared" / "results")
    lost = start_grid(two, tmp_path, *LONG, "--claims", "lease")
    wait_until(lambda: epochs_of(grid.results, "two"), lost)
    two.end()
    finish(start_grid(one, tmp_path, *LONG, "--claims", "lease"))

    assert len(grid.records()) == 2
    assert grid.numbers() == alone(LONG)
    assert not [path for path in grid.results.glob("artifacts/.work/*") if path.is_dir()]


def test_a_machine_that_slept_takes_what_another_made_meanwhile_and_damages_nothing(
    machines: tuple[Machine, Machine], tmp_path: Path, alone: Alone
) -> None:
    one, two = machines
    grid = Grid(tmp_path / "shared" / "results")
    slept = start_grid(two, tmp_path, *LONG, "--claims", "lease")
    wait_until(lambda: epochs_of(grid.results, "two"), slept)
    two.stop()
    finish(start_grid(one, tmp_path, *LONG, "--claims", "lease"))
    made = {path: path.read_bytes() for path in grid.results.glob("records/**/*.json")}
    two.go_on()
    said = finish(slept)

    assert "this process gave no sign of life for 60 s, and another took over" in said
    assert {path: path.read_bytes() for path in grid.results.glob("records/**/*.json")} == made
    assert len(made) == 2
    assert grid.numbers() == alone(LONG)
