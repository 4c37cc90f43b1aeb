"""Several processes on one grid: each takes whole backbones, so that none is made twice."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from bench.contracts.executor import CellRunner, Executor, WorkerSpec
from bench.storage.records import Record
from bench.system.processes import begin_worker

DIED = "the process ended in the middle, killed or out of memory. Use fewer --jobs."


class Processes(Executor):
    """Gives each backbone a process of its own, with its share of the processor's threads.

    A process that dies (out of memory, say) fails its cells and no others.
    """

    def run(self, spec: WorkerSpec, groups: Sequence[Sequence[Any]]) -> Iterator[Record]:
        """Yield the records in the order of the cells, made by `spec.jobs` processes at a time."""
        runner = spec.build()
        waiters = ThreadPoolExecutor(spec.jobs)
        try:
            pending = [waiters.submit(run_group, runner, spec, group) for group in groups]
            for future in pending:
                yield from future.result()
        finally:
            waiters.shutdown(cancel_futures=True)


def run_group(runner: CellRunner, spec: WorkerSpec, cells: Sequence[Any]) -> list[Record]:
    """Wait for a process that makes the cells of one backbone, unless all are there."""
    stored = [record for cell in cells if (record := runner.find_record(cell))]
    if len(stored) == len(cells):
        return stored
    try:
        with start_process(spec.threads) as process:
            return process.submit(spec.work, cells).result()
    except BrokenProcessPool as error:
        return [runner.record_failure(cell, DIED, type(error).__name__) for cell in cells]


def start_process(threads: int) -> ProcessPoolExecutor:
    """Return a process that loads everything anew, and of which no library has more than `threads`."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=begin_worker, initargs=(threads,))
