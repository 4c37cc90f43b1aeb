"""Niced: one process after the other, of a low priority, beside which one goes on working."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from bench.api import Executor, Record, WorkerSpec, setting


class Niced(Executor):
    """Give each backbone a process of low priority, one after the other."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """How the processes are started; in no key."""

        niceness: int = setting(10, "added to that of this process", source="nice(1)", least=0, most=19)

    def run(self, spec: WorkerSpec, groups: Sequence[Sequence[Any]]) -> Iterator[Record]:
        """Yield a record a cell; those of a process that died say so."""
        for cells in groups:
            try:
                with ProcessPoolExecutor(1, get_context("spawn"), be_nice, (self.config.niceness,)) as worker:
                    yield from worker.submit(spec.work, cells).result()
            except BrokenProcessPool:
                here = spec.build()
                yield from (here.record_failure(cell, "its process died. Run again.") for cell in cells)


def be_nice(niceness: int) -> None:
    """Lower the priority of this process, where that is done so."""
    if hasattr(os, "nice"):
        os.nice(niceness)
