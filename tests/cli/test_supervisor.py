"""The process that waits for a command in a child: what ends the child ends no more than what it was at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from environment import environment

START = """
import os, signal, sys, time
from pathlib import Path
from bench.boundary import plugin_call, tell_interrupts_apart
from bench.cli import supervisor
from bench.cli.supervisor import supervise
from bench.errors import BenchError
from bench.system.journal import CELL, LOAD, OBSERVER, RUN, finish_journal, how_ended, limit_calls, survived

supervisor.DONE_S = float(os.environ.get("DONE", 60))
supervisor.SLOW_S = float(os.environ.get("SLOW", 2))
print("before")
supervise(float(os.environ.get("LOAD_LIMIT", 60)))
"""
NOTE_AND_WAIT = """
Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(60)
"""


def start(code: str, *args: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", START + code, *args],
        env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(code: str, **variables: str) -> tuple[int, list[str], str]:
    """Return the exit status of a script, the lines of its output, and what it says of errors."""
    process = start(code, **variables)
    out, err = process.communicate(timeout=60)
    return process.returncode, out.splitlines(), err


def read_pid(noted: Path) -> int:
    """Wait for the number of the child that has written it down, and return it."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if noted.exists() and noted.read_text():
            return int(noted.read_text())
        time.sleep(0.05)
    raise AssertionError("the child has not begun")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.parametrize("status", [0, 1, 2, 130])
def test_it_exits_as_the_command_does_and_prints_nothing_twice(status: int) -> None:
    assert run(f"print('done'); finish_journal({status}); sys.exit({status})") == (
        status,
        ["before", "done"],
        "",
    )


def test_the_status_is_the_commands_though_the_process_crashes_when_it_is_done() -> None:
    assert run("finish_journal(0); os.abort()")[0] == 0


@pytest.mark.parametrize(
    ("end", "name"),
    [("os._exit(0)", "exit status 0"), ("os._exit(7)", "exit status 7"), ("os.abort()", "SIGABRT")],
)
def test_an_end_that_nothing_explains_is_an_error(end: str, name: str) -> None:
    status, out, err = run(end)

    assert (status, out) == (1, ["before"])
    assert err.splitlines()[-1].startswith(f"Error: a plugin or a library ended the process ({name}).")


def test_the_next_child_refuses_what_ended_the_last_one_and_that_alone() -> None:
    status, out, err = run(
        """
for what, among in (("a: views()", 1), ("a: views()", 2), ("b: views()", 1), ("c: check()", object())):
    try:
        with plugin_call("outer"), plugin_call(what, among=among):
            if (what, among) == ("a: views()", 2):
                os._exit(0)
            if what == "c: check()":
                os.kill(os.getpid(), signal.SIGKILL)
        print(what, among)
    except BenchError as error:
        print(error)
finish_journal(1)
sys.exit(1)
"""
    )
    advice = "Report it to its authors, or leave it out."

    assert status == 1
    assert out[-4:] == [  # of the last child: each does all anew
        "a: views() 1",
        f"a: views() ended its process (exit status 0). {advice}",
        "b: views() 1",
        f"c: check() ended its process (SIGKILL). {advice}",
    ]
    assert err.splitlines() == [
        "a: views() ended the process (exit status 0). Going on without it.",
        "c: check() ended the process (SIGKILL). Going on without it.",
    ]


def test_a_call_that_ends_the_process_although_it_is_refused_ends_the_command() -> None:
    status, _, err = run(
        """
try:
    with plugin_call("a: views()"):
        os._exit(0)
except BenchError:
    os._exit(0)
"""
    )

    assert status == 1
    assert [line.partition(" ended the process (exit status 0)")[0] for line in err.splitlines()] == [
        "a: views()",
        "Error: a plugin or a library",
    ]


def test_a_call_that_is_another_in_each_process_is_not_tried_for_ever() -> None:
    status, _, err = run("with plugin_call('a: views()', among=os.getpid()):\n    os._exit(0)")

    assert status == 1
    assert len(err.splitlines()) == 21
    assert err.splitlines()[-1].startswith("Error: a plugin or a library ended the process (exit status 0).")


def test_an_observer_is_blamed_before_a_cell_and_a_cell_before_a_call_in_it() -> None:
    status, out, _ = run(
        """
for number in range(2):
    if how_ended("cell", number):
        print("cell", number, "ended")
        continue
    with survived("cell", CELL, number), plugin_call("data: images()"):
        try:
            with survived("p: an observer", OBSERVER), survived("q: call"):
                os._exit(0)
        except BenchError as error:
            print(error)
        if number:
            os._exit(0)
finish_journal(0)
"""
    )

    assert status == 0
    assert out[-2].startswith("p: an observer ended its process (exit status 0).")
    assert out[-1] == "cell 1 ended"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_the_command_ends_both_as_it_would_one(name: str, tmp_path: Path) -> None:
    process = start(NOTE_AND_WAIT, str(tmp_path / "pid"))
    child = read_pid(tmp_path / "pid")
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=30)

    assert process.returncode == -getattr(signal, name)
    assert err == ""
    assert not is_alive(child)


def test_the_child_ends_with_the_process_that_waits_for_it(tmp_path: Path) -> None:
    process = start(NOTE_AND_WAIT, str(tmp_path / "pid"))
    child = read_pid(tmp_path / "pid")
    process.kill()
    process.communicate(timeout=30)
    end = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < end:
        time.sleep(0.05)

    assert not is_alive(child)


def test_one_ctrl_c_that_comes_twice_is_one() -> None:
    process = start(
        """
signal.signal(signal.SIGINT, signal.default_int_handler)
with tell_interrupts_apart():
    try:
        os.kill(os.getppid(), signal.SIGINT)  # handed on to this process
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)
    except KeyboardInterrupt:
        time.sleep(0.3)
        print("once")
finish_journal(130)
sys.exit(130)
"""
    )
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out.splitlines(), err) == (130, ["before", "once"], "")


def test_a_plugin_that_is_slow_to_load_is_named_and_one_that_never_ends_is_left_out() -> None:
    status, out, err = run(
        """
with survived("slow:it: the import", LOAD):
    time.sleep(0.8)
try:
    with survived("stuck:it: the import", LOAD):
        while True:
            pass
except BenchError as error:
    print(error)
print("done")
finish_journal(0)
""",
        LOAD_LIMIT="2",
        SLOW="0.3",
    )
    how = "Without it: bench -p no:{0} ..., or BENCH_DISABLE={0}"

    assert status == 0
    assert out[-2:] == [
        "stuck:it: the import was not done after 2 s. Report it to its authors, or leave it out.",
        "done",
    ]
    assert err.splitlines() == [
        f"loading slow:it: the import ... It is given up after 2 s. {how.format('slow:it')}",
        f"loading stuck:it: the import ... It is given up after 2 s. {how.format('stuck:it')}",
        "stuck:it: the import was not done after 2 s. Going on without it.",
        f"loading slow:it: the import ... It is given up after 2 s. {how.format('slow:it')}",
    ]


def test_a_call_has_the_limit_that_the_command_names_and_else_none() -> None:
    status, out, err = run(
        """
with plugin_call("slow: views()"):
    time.sleep(0.5)
limit_calls(0.3)
with survived("Executor: run()", RUN), survived("a cell", CELL), plugin_call("data: load()"):
    time.sleep(0.5)
with survived("Executor: run()", RUN):
    time.sleep(0.5)
try:
    with plugin_call("stuck: views()"):
        time.sleep(60)
except BenchError as error:
    print(error)
finish_journal(0)
"""
    )

    assert status == 0
    assert out[-1] == "stuck: views() was not done after 0.3 s. Report it to its authors, or leave it out."
    assert err.splitlines() == ["stuck: views() was not done after 0.3 s. Going on without it."]


def test_a_plugin_that_keeps_the_process_when_the_command_is_done_does_not_keep_the_command() -> None:
    status, out, err = run(
        """
import threading
threading.Thread(target=time.sleep, args=(600,)).start()
print("done")
finish_journal(3)
""",
        DONE="1",
    )

    assert (status, out[-1]) == (3, "done")
    assert err == "A plugin keeps the process, 1 s after the command was done. It is ended.\n"
