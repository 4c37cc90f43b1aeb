"""A cell that is not done in time is ended, and no other with it."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Lab

from bench.errors import BadValue
from bench.execution import worker_process
from bench.execution.endings import explain_end, report_end
from bench.execution.executors.in_process import InProcess
from bench.execution.executors.local import Local
from bench.execution.experiment import choose_executor
from bench.planning.options import Runtime
from bench.storage.records import Record
from bench.system.process_end import ProcessEnd
from bench.testing.executors import NamedCells, NamedSpec

LIMIT_S = 3.0


def loop() -> None:
    while True:
        pass


DEEDS: dict[str, Callable[[], object]] = {
    "sleep": lambda: time.sleep(600),
    "loop": loop,
    "exit": lambda: os._exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: ctypes.string_at(0),
}


@dataclass(frozen=True)
class Doing(NamedCells):
    """Does at a cell what its name says, in the stage that stands before it."""

    tell: Callable[[str, str], None]

    def run(self, cells: Iterable[str]) -> Iterator[Record]:
        for cell in cells:
            stage, _, deed = cell.partition(" ")
            self.tell("stage", stage)
            DEEDS.get(deed, str)()
            self.tell("stage", "")
            yield {"cell": cell, "process": os.getpid()}

    def record_failure(
        self, cell: str, reason: str, error_type: str = "WorkerDied", end: ProcessEnd | None = None
    ) -> Record:
        return {"cell": cell, "reason": reason, "type": error_type, "end": end}


@dataclass(frozen=True)
class DoingSpec(NamedSpec):
    """A run of cells that do what their names say."""

    timeout: float | None = LIMIT_S
    start: str = ""

    def open_worker(self, tell: Callable[[str, str], None], muted: Collection[str]) -> NamedCells:
        DEEDS.get(self.start, str)()
        return Doing(tell)


def run(*groups: Sequence[str], jobs: int = 1, **changes: Any) -> dict[str, Record]:
    return {record["cell"]: record for record in Local().run(DoingSpec(jobs=jobs, **changes), groups)}


def test_a_cell_that_is_not_done_in_time_fails_with_its_stage_and_the_next_is_made() -> None:
    done = run(["evaluate sleep", "a 1"])
    stuck, end = done["evaluate sleep"], done["evaluate sleep"]["end"]

    assert "process" in done["a 1"]
    assert stuck["reason"] == "it was not done after 3 s in the stage evaluate, and its process was ended."
    assert (stuck["type"], end.stage, end.limit_s) == ("TimedOut", "evaluate", LIMIT_S)
    assert end.trace.startswith("Timeout (0:00:03)!\nThread ")
    assert "test_timeouts.py" in end.trace.splitlines()[2]  # where it was
    assert len(end.trace.splitlines()) <= 13


@pytest.mark.long
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_training_that_is_not_done_in_time_fails_all_its_cells_and_no_others(jobs: int) -> None:
    done = run(["a 1"], ["pretrain loop", "b 1"], ["c 1"], jobs=jobs)

    assert all("process" in done[name] for name in ("a 1", "c 1"))
    assert "in the stage pretrain" in done["pretrain loop"]["reason"]
    assert done["b 1"]["reason"] == done["pretrain loop"]["reason"]  # which would train the same backbone


@pytest.mark.long
@pytest.mark.parametrize(
    ("start", "how"), [("sleep", "it was not done after 1 s"), ("exit", "(exit status 3)")]
)
def test_a_process_that_never_begins_fails_its_cells_and_is_not_started_for_ever(
    start: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "START_S", 1.0 if start == "sleep" else 600.0)
    done = run(["a 1", "a 2"], start=start)

    assert all(how in record["reason"] for record in done.values())
    assert set(done) == {"a 1", "a 2"}


@pytest.mark.long
def test_without_a_limit_a_cell_takes_what_it_takes_and_what_ends_its_process_is_known() -> None:
    done = run(["features exit"], ["evaluate kill"], ["data crash"], timeout=None)
    ends = {name: record["end"] for name, record in done.items()}

    assert [str(end) for end in ends.values()] == ["exit status 3", "SIGKILL", "SIGSEGV"]
    assert [end.exit_code for end in ends.values()] == [3, None, None]
    assert [end.stage for end in ends.values()] == ["features", "evaluate", "data"]
    assert "test_timeouts.py" in ends["data crash"].trace
    assert done["features exit"]["reason"] == "its process ended in the stage features (exit status 3)."


def test_a_record_says_how_its_process_ended_and_what_to_do(lab: Lab) -> None:
    (cell,) = lab.plan(method="simclr")
    killed = ProcessEnd.of(-signal.SIGKILL).at("pretrain")
    record = lab.pipeline().record_failure(cell, explain_end(killed), killed.error_type, killed)
    stuck = ProcessEnd(limit_s=60.0, stage="evaluate", trace="File x, line 3")
    report = report_end(cell, explain_end(stuck), stuck.error_type, stuck)

    assert (record["error"]["signal"], record["error"]["stage"]) == ("SIGKILL", "pretrain")
    assert "exit_code" not in record["error"]
    assert record["reason"].endswith(
        "Use --set train.chunk_size=8 (16 images at a time were too many), a smaller --batch-size, or fewer "
        "--jobs."
    )
    assert (report.type, report.traceback) == ("TimedOut", "File x, line 3")
    assert report.reason == (
        "it was not done after 60 s in the stage evaluate, and its process was ended. "
        "Use a longer --timeout; or report it to the authors of the plugin, or leave it out."
    )


def test_a_limit_has_cells_made_in_a_process_that_can_be_ended(lab: Lab) -> None:
    assert choose_executor(Runtime(timeout=60.0), isolate=False) == "local"
    assert choose_executor(Runtime(), isolate=False) == "in-process"
    with pytest.raises(BadValue, match="--timeout: in-process cannot end a cell"):
        InProcess().check(lab.spec(timeout=60.0))


CRASH = """Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "/lib/ctypes/__init__.py", line 519 in string_at
  File "/mine/harmful.py", line 98 in <lambda>

Extension modules: numpy._core._multiarray_umath (total: 1)
"""
STUCK = """Timeout (0:00:08)!
Thread 0x00007f91 (most recent call first):
  File "/lib/selectors.py", line 415 in select

Thread 0x00007f92 (most recent call first):
  File "/mine/harmful.py", line 36 in loop
"""


@pytest.mark.parametrize(("trace", "lines"), [(CRASH, [0, 2, 3, 4]), (STUCK, [0, 4, 5]), ("", [])])
def test_of_a_trace_the_thread_that_does_the_work_is_kept(trace: str, lines: list[int]) -> None:
    kept = worker_process.choose_lines(trace)

    assert kept.splitlines() == [trace.splitlines()[number] for number in lines]


def test_of_a_long_trace_the_innermost_lines_are_kept() -> None:
    frames = [f"  File x, line {number}" for number in range(100)]
    kept = worker_process.choose_lines("\n".join(["Timeout!", "Thread 1 (most recent call first):", *frames]))

    assert kept.splitlines()[-1] == "  File x, line 10"
