"""Processes of this machine that make cells: each takes whole backbones, so that none is made twice."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.contracts.executor import Executor, WorkerSpec
from bench.execution.executors.turns import Turns
from bench.execution.worker_process import PATIENCE_S, Task, WorkerProcess, record_end
from bench.storage.records import Record
from bench.system.leaving import SIGNALS, AskedToLeave
from bench.system.process_end import ProcessEnd

Arrival = Record | BaseException | None  # none is the end of a thread

log = logging.getLogger("bench")


class Local(Executor):
    """Gives backbones to `spec.jobs` processes, each with its share of the processor's threads and GPUs.

    Where a process ends (a crash, `os._exit`, out of memory), the cell that it was at fails; those that it
    had not begun are made by another one. So it is where a cell takes longer than `spec.timeout`: its process
    is ended. A backbone that ends a process is not trained again: its cells fail.
    """

    def run(self, spec: WorkerSpec, groups: Sequence[Sequence[Any]]) -> Iterator[Record]:
        """Yield the records as they come."""
        arrived: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        muted: set[str] = set()
        turns = Turns(groups, spec.build())  # in this process: it finds records that are there
        lines = [_Line(spec.place(n), turns, muted) for n in range(min(spec.jobs, len(groups)))]
        threads = [threading.Thread(target=line.work, args=(arrived,)) for line in lines]
        for thread in threads:
            thread.start()
        try:
            yield from _collect(arrived, len(lines))
        except (AskedToLeave, GeneratorExit):  # the latter where nobody wants the other cells
            for line in lines:
                line.ask_to_leave()
            raise
        finally:
            for line in lines:
                line.abort()
            for thread in threads:
                thread.join()


def _collect(arrived: queue.SimpleQueue[Arrival], working: int) -> Iterator[Record]:
    """Yield records as they arrive, until as many threads as are working have ended."""
    while working:
        item = arrived.get()
        if isinstance(item, BaseException):
            raise item
        if item is None:
            working -= 1
        else:
            yield item


@dataclass
class _Whereabouts:
    """What a process is at, from what it tells.

    Args:
        begun: it is at a cell.
        stages: of the cell, the inner ones last.
        observing: plugins that are observing, by their ids.
    """

    begun: bool = False
    stages: list[str] = field(default_factory=list)
    observing: set[str] = field(default_factory=set)

    def hear(self, what: str, of: Any) -> None:
        """Take in a message of the process."""
        if what in ("begin", "record"):
            self.begun, self.stages = what == "begin", []
        elif what == "stage":
            self.stages = [*self.stages, of] if of else self.stages[:-1]
        elif what == "observing":
            self.observing.add(of)
        elif what == "observed":
            self.observing.discard(of)


class _Line:
    """One process after the other, each started when there is something to make and the last one has ended.

    Args:
        spec: of the run.
        turns: shared by all lines.
        muted: plugins that ended a process while they observed; shared by all lines.
    """

    def __init__(self, spec: WorkerSpec, turns: Turns, muted: set[str]) -> None:
        self.spec, self.turns, self.runner, self.muted = spec, turns, turns.runner, muted
        self.worker: WorkerProcess | None = None
        self._over = threading.Event()
        self._starting = threading.Lock()

    @property
    def stopping(self) -> bool:
        """Nothing more is to be begun."""
        return self._over.is_set()

    def work(self, arrived: queue.SimpleQueue[Arrival]) -> None:
        """Make one group after the other, then say so; an error that no record can tell is handed on."""
        end: BaseException | None = None
        try:
            while self._work_once(arrived):
                pass
        except BaseException as error:  # noqa: BLE001 - raised again, in the thread that asked for records
            end = error
        if self.worker and not self.stopping:
            self.worker.close()
            self.worker = None
        arrived.put(end)

    def _work_once(self, arrived: queue.SimpleQueue[Arrival]) -> bool:
        """Make the group whose turn it is; tell whether there was one."""
        with self.turns.take(lambda: self.stopping) as group:
            if group is None:
                return False
            for record in self.make(group):
                arrived.put(record)
        return not self.stopping

    def ask_to_leave(self) -> None:
        """Start no other process, and have the one that there is leave when it can."""
        with self._starting:
            self._over.set()
        if self.worker:
            self.worker.ask_to_leave()

    def abort(self) -> None:
        """End the process in the middle of its work, if there is one, and start no other."""
        with self._starting:
            self._over.set()
        if self.worker:
            self.worker.abort()

    def make(self, cells: Sequence[Any]) -> Iterator[Record]:
        """Yield the records of the cells of one backbone; no process is started for those that are there."""
        tasks: list[Task] = []
        for cell in cells:
            record = self.runner.find_record(cell)
            if record:
                yield record
            else:
                tasks.append((cell, None))
        while tasks and not self.stopping:
            yield from self._attempt(tasks)

    def _attempt(self, tasks: list[Task]) -> Iterator[Record]:
        """Yield the records that one process makes, and take their tasks from the list.

        Where it ends before it has made them all, the list is what the next one is to do.
        """
        is_new, where = self.worker is None, _Whereabouts()
        with self._starting:
            if self.stopping:
                return
            self.worker = worker = self.worker or WorkerProcess(self.spec, self.muted)
        try:
            for what, value in worker.make(tasks):
                where.hear(what, value)
                if what == "record":
                    del tasks[0]
                    yield value
                elif what == "lost":  # its device: the next process does the rest
                    worker.close()
                    self.worker = None
                    return
        except EOFError:
            if not self.stopping:
                yield from self._recover(worker.close(), tasks, where, is_new=is_new)
        except TimeoutError:
            if not self.stopping:
                where.observing.clear()  # it is the cell that is not done
                yield from self._recover(worker.end_stuck(), tasks, where, is_new=True)

    def _recover(
        self, end: ProcessEnd, tasks: list[Task], where: _Whereabouts, *, is_new: bool
    ) -> Iterator[Record]:
        """Find who ended the process: an observer, the cell that it was at, or all of them from the start."""
        self.worker = None
        if end.signal in SIGNALS and self._over.wait(PATIENCE_S):
            return  # a scheduler asks every process of a job to leave, and this one hears it later
        if end.trace:
            log.warning("%s", end.trace.rstrip())
        if where.observing:
            self._mute(where.observing, end)
        elif tasks and (before := tasks[0][1]):  # it ended at the record of a failure, or did not come to it
            yield record_end(self.runner, tasks.pop(0)[0], before)
        elif tasks and (where.begun or is_new):
            whole = not where.begun or "pretrain" in where.stages
            _fail(tasks, end.at(where.stages[-1] if where.stages else ""), whole=whole)

    def _mute(self, observing: set[str], end: ProcessEnd) -> None:
        for plugin in sorted(observing):
            log.warning(
                "%s: a process ended while it observed (%s). The run goes on without its observers.",
                plugin, end,
            )  # fmt: skip
        self.muted |= observing


def _fail(tasks: list[Task], end: ProcessEnd, *, whole: bool) -> None:
    """Have the first task fail, or all of them, with how the process ended."""
    for number, (cell, before) in enumerate(tasks):
        if number == 0 or whole:
            tasks[number] = (cell, before or end)
