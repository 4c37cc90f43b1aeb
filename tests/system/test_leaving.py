"""A signal that asks a process to end is raised at once, or when what must not be lost is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from environment import environment

from bench.system.leaving import SIGNALS, AskedToLeave, asked, finishes, leave_when_asked


def send(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.parametrize("name", SIGNALS)
def test_it_is_raised_where_it_comes(name: str) -> None:
    with leave_when_asked(), pytest.raises(AskedToLeave) as raised:
        send(name)

    assert raised.value.name == name
    assert raised.value.exit_status == 128 + getattr(signal, name)
    assert signal.getsignal(getattr(signal, name)) is signal.SIG_DFL


def test_in_a_block_that_finishes_it_is_noted_and_raised_at_the_end_of_the_outermost() -> None:
    seen = []

    def work() -> None:
        with finishes():
            with finishes():
                seen.append(asked())
                send("SIGTERM")
                seen.append(asked())
            seen.append(asked())

    with leave_when_asked(), pytest.raises(AskedToLeave):
        work()

    assert seen == ["", "SIGTERM", "SIGTERM"]
    assert asked() == ""


def test_what_is_raised_in_such_a_block_goes_on_and_the_signal_is_forgotten() -> None:
    def fail() -> None:
        with finishes():
            send("SIGTERM")
            raise KeyError

    with leave_when_asked():
        with pytest.raises(KeyError):
            fail()
        with finishes():
            assert asked() == ""


def test_whoever_has_a_signal_already_keeps_it() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with leave_when_asked():
            send("SIGTERM")
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard == [signal.SIGTERM]


def test_in_another_thread_it_does_nothing() -> None:
    done: list[bool] = []

    def run() -> None:
        with leave_when_asked():
            done.append(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert done == [True]


BARS = """
import multiprocessing
from bench.system import leaving, progress

def work():
    progress.tqdm(total=1, disable=True)
    leaving.end_by("SIGTERM")

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)
"""


def test_a_process_that_ends_by_a_signal_leaves_nothing_that_python_tells_of(tmp_path: Path) -> None:
    script = tmp_path / "bars.py"
    script.write_text(BARS)
    done = subprocess.run(
        [sys.executable, str(script)], env=environment(), capture_output=True, text=True, check=True
    )

    assert (done.stdout.strip(), done.stderr) == (str(-signal.SIGTERM), "")
