"""A process that makes cells and says what it is at, so that it is known what ended it.

This module imports nothing that starts threads, so that the process can limit them first.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from bench.boundary import tell_interrupts_apart
from bench.contracts.executor import CellRunner, WorkerSpec
from bench.errors import BenchError, CellError, DeviceLost, one_line
from bench.execution.endings import explain_end
from bench.storage.records import Record
from bench.system.leaving import AskedToLeave, end_by, leave_when_asked
from bench.system.process_end import ProcessEnd
from bench.system.processes import begin_worker
from bench.system.streams import take_stdout

Task = tuple[Any, ProcessEnd | None]  # a cell, and how an earlier process ended at it, if one did
Message = tuple[str, Any]

INTERRUPTED = 130  # exit status
START_S = 120.0  # for a process to begin its first cell, and to begin the next, where there is a limit
TRACE = 1 << 16  # bytes of what a process says of where it was
FRAMES = "(most recent call first)"  # what faulthandler begins the lines of a thread with
TRACE_LINES = 12  # of it, that are kept
PATIENCE_S = 3.0  # for a process that was interrupted together with this one
GRACE_S = 10.0  # for a process that is asked to end
LATER_S = 1.0  # after the limit of a cell, in which its process says where it is
LEAVE_S = 60.0  # for one that writes a checkpoint first, at the end of the step that it is at


class WorkerProcess:
    """A process that loads everything anew, held to its threads; what it does is read as messages.

    Messages are `("begin", None)` before each cell, `("stage", its name)` and `("stage", "")` around a stage,
    `("observing", plugin)` and `("observed", plugin)` around the call of an observer, `("record", record)`,
    and `("lost", None)` where the device does nothing more in the process.

    Args:
        spec: of the run.
        muted: plugins that must not observe, by their ids.
    """

    def __init__(self, spec: WorkerSpec, muted: Collection[str]) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connection, other = spawn.Pipe()
        self._traces, into = spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=serve, args=(other, into, spec.threads, spec.gpus))
        self._process.start()
        self._patience = PATIENCE_S
        self._timeout = spec.timeout
        self._limit, self._deadline = self._allow(START_S)
        other.close()  # the process has the only other end: when it is gone, reading ends
        into.close()
        self._send((spec, tuple(muted)))

    def make(self, tasks: Sequence[Task]) -> Iterator[Message]:
        """Yield what the process tells while it makes cells, whose records come in the order of the tasks.

        Raises:
            EOFError: it ended meanwhile.
            TimeoutError: a cell is not done in time.
            BenchError: it cannot go on, and neither can others.
        """
        self._send(tuple(tasks))
        if self._deadline is None:
            self._limit, self._deadline = self._allow(START_S)
        while True:
            what, value = self._receive()
            if what in ("begin", "record"):
                self._limit, self._deadline = self._allow(self._timeout if what == "begin" else START_S)
            elif what == "end":
                self._deadline = None
                return
            if what == "raised":
                raise value
            yield what, value

    def close(self) -> ProcessEnd:
        """End the process once it has nothing to do, and return how it ended."""
        self._connection.close()
        self._end(GRACE_S, self._process.terminate, self._process.kill)
        return replace(ProcessEnd.of(self._process.exitcode), trace=self._read_trace())

    def end_stuck(self) -> ProcessEnd:
        """End the process that is not done in time, and return where it was."""
        self._process.kill()
        self._process.join()
        self._connection.close()
        return ProcessEnd(limit_s=self._limit, trace=self._read_trace())

    def ask_to_leave(self) -> None:
        """Have the process end when what must not be lost is written; `abort` waits for it."""
        if self._process.is_alive():
            self._process.terminate()
            self._patience = LEAVE_S

    def abort(self) -> None:
        """End the process in the middle; it may be interrupted already, by the Ctrl-C of the terminal."""
        pid = self._process.pid or 0
        interrupt = [lambda: os.kill(pid, signal.SIGINT)] if self._process.is_alive() else []
        self._end(self._patience, *interrupt, self._process.terminate, self._process.kill)

    def _end(self, patience: float, *harder: Callable[[], object]) -> None:
        self._process.join(patience)
        for end in harder:
            if self._process.is_alive():
                end()
                self._process.join(GRACE_S)

    def _allow(self, seconds: float | None) -> tuple[float | None, float | None]:
        """Return how long what begins now may take, and until when; none where there is no limit."""
        if not self._timeout or not seconds:
            return None, None
        return seconds, time.monotonic() + seconds + LATER_S

    def _receive(self) -> Message:
        """Return the next message.

        Raises:
            EOFError: the process has ended.
            TimeoutError: it has said nothing in time.
        """
        try:
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            if not self._connection.poll(left):
                raise TimeoutError
            message: Message = self._connection.recv()
        except OSError as error:  # it ended in the middle of a message; a TimeoutError is one, too
            if isinstance(error, TimeoutError):
                raise
            raise EOFError from None
        return message

    def _read_trace(self) -> str:
        """Return what the process said of where it was when it crashed, or was not done in time."""
        said = b""
        with contextlib.suppress(OSError):
            if self._traces.poll():
                said = os.read(self._traces.fileno(), TRACE)
        self._traces.close()
        return choose_lines(said.decode(errors="replace"))

    def _send(self, value: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # reading tells that it has ended
            self._connection.send(value)


def serve(connection: Connection, traces: Connection, threads: int, gpus: Sequence[str]) -> None:
    """Make the cells that come through a connection, until it is closed: what a worker process does.

    Args:
        connection: to the process that started this one.
        traces: to it, for where this process is when it crashes, or is not done in time.
        threads: of this process.
        gpus: that it may see.
    """
    begin_worker(threads, gpus)
    take_stdout()
    faulthandler.enable(traces.fileno(), all_threads=False)
    alone = threading.Lock()  # observers tell from threads of their own

    def send(what: str, value: Any) -> None:
        with alone, contextlib.suppress(OSError):  # nobody listens any more: this process is being ended
            connection.send((what, value))

    with tell_interrupts_apart(), leave_when_asked():
        try:
            spec, muted = connection.recv()
            runner = spec.open_worker(send, muted)
            while True:
                make_records(runner, connection.recv(), send, Alarm(traces, spec.timeout))
        except EOFError:
            return
        except DeviceLost:
            send("lost", None)
        except AskedToLeave as left:
            end_by(left.name)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except Exception as error:  # noqa: BLE001 - what cannot be recorded of a cell ends the run
            send("raised", error if isinstance(error, BenchError) else CellError(one_line(error)))


@dataclass(frozen=True)
class Alarm:
    """Says where this process is when a cell is not done in time; the process that waits for it ends it.

    Args:
        traces: where it says so.
        seconds: that a cell may take; none is as many as it takes.
    """

    traces: Connection
    seconds: float | None

    def set(self) -> None:
        """Give the cell that begins its time."""
        if self.seconds:
            faulthandler.dump_traceback_later(self.seconds, file=self.traces.fileno())

    def stop(self) -> None:
        """Let the time be that of no cell."""
        if self.seconds:
            faulthandler.cancel_dump_traceback_later()


def make_records(
    runner: CellRunner, tasks: Sequence[Task], send: Callable[[str, Any], None], alarm: Alarm
) -> None:
    """Send the record of each cell; those that failed already come first."""

    def announce() -> Iterator[Any]:
        for cell, end in tasks:
            if not end:
                send("begin", None)
                alarm.set()
                yield cell

    for cell, end in tasks:
        if end:
            send("begin", None)
            send("record", record_end(runner, cell, end))
    runner.expect([cell for cell, end in tasks if not end])
    for record in runner.run(announce()):
        alarm.stop()
        send("record", record)
    send("end", None)


def choose_lines(trace: str) -> str:
    """Return the first line of what faulthandler says, and the innermost of the thread that does the work."""
    blocks = [block for block in re.split(r"\n(?=\n|Thread |Current thread )", trace) if FRAMES in block]
    crashed = [block for block in blocks if block.strip().startswith("Current thread")]
    own = (crashed or blocks or [""])[-1]  # of several threads, the first one started stands last
    return "\n".join([trace.partition("\n")[0], *own.strip().splitlines()[:TRACE_LINES]]).strip()


def record_end(runner: CellRunner, cell: Any, end: ProcessEnd) -> Record:
    """Store that a cell failed as its process ended, and return the record."""
    return runner.record_failure(cell, explain_end(end), end.error_type, end)
