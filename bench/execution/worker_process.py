"""A process that makes cells and says what it is at, so that it is known what ended it.

This module imports nothing that starts threads, so that the process can limit them first.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from bench.boundary import tell_interrupts_apart
from bench.contracts.executor import CellRunner, WorkerSpec
from bench.errors import BenchError, CellError, DeviceLost, one_line
from bench.system.leaving import AskedToLeave, end_by, leave_when_asked
from bench.system.processes import begin_worker
from bench.system.streams import show_crashes, take_stdout

Task = tuple[Any, str]  # a cell, and why it failed where an earlier process ended at it
Message = tuple[str, Any]

INTERRUPTED = 130  # exit status
PATIENCE_S = 3.0  # for a process that was interrupted together with this one
GRACE_S = 10.0  # for a process that is asked to end
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
        self._process = spawn.Process(target=serve, args=(other, spec.threads, spec.gpus))
        self._process.start()
        self._patience = PATIENCE_S
        other.close()  # the process has the only other end: when it is gone, reading ends
        self._send((spec, tuple(muted)))

    def make(self, tasks: Sequence[Task]) -> Iterator[Message]:
        """Yield what the process tells while it makes cells, whose records come in the order of the tasks.

        Raises:
            EOFError: it ended meanwhile.
            BenchError: it cannot go on, and neither can others.
        """
        self._send(tuple(tasks))
        while True:
            try:
                what, value = self._connection.recv()
            except OSError:  # it ended in the middle of a message
                raise EOFError from None
            if what == "end":
                return
            if what == "raised":
                raise value
            yield what, value

    def close(self) -> str:
        """End the process once it has nothing to do, and return how it ended."""
        self._connection.close()
        self._end(GRACE_S, self._process.terminate, self._process.kill)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit status {code}"
        with contextlib.suppress(ValueError):  # a signal that Python has no name for
            return signal.Signals(-code).name
        return f"signal {-code}"

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

    def _send(self, value: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # reading tells that it has ended
            self._connection.send(value)


def serve(connection: Connection, threads: int, gpus: Sequence[str]) -> None:
    """Make the cells that come through a connection, until it is closed: what a worker process does."""
    begin_worker(threads, gpus)
    take_stdout()
    show_crashes()
    alone = threading.Lock()  # observers tell from threads of their own

    def send(what: str, value: Any) -> None:
        with alone, contextlib.suppress(OSError):  # nobody listens any more: this process is being ended
            connection.send((what, value))

    with tell_interrupts_apart(), leave_when_asked():
        try:
            spec, muted = connection.recv()
            runner = spec.open_worker(send, muted)
            while True:
                make_records(runner, connection.recv(), send)
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


def make_records(runner: CellRunner, tasks: Sequence[Task], send: Callable[[str, Any], None]) -> None:
    """Send the record of each cell; those that failed already come first."""

    def announce() -> Iterator[Any]:
        for cell, failure in tasks:
            if not failure:
                send("begin", None)
                yield cell

    for cell, failure in tasks:
        if failure:
            send("begin", None)
            send("record", runner.record_failure(cell, failure))
    runner.expect([cell for cell, failure in tasks if not failure])
    for record in runner.run(announce()):
        send("record", record)
    send("end", None)
