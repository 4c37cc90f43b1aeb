"""One cell after the other, in this process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from bench.contracts.executor import Executor, WorkerSpec
from bench.errors import BadValue
from bench.storage.records import Record


class InProcess(Executor):
    """Runs all cells in this process, in their order."""

    def check(self, spec: WorkerSpec) -> None:
        """Refuse several jobs; a profile is fine.

        Raises:
            BadValue: there are several jobs.
        """
        if spec.jobs > 1:
            raise BadValue(
                f"--jobs: {spec.jobs} processes were asked for, but in-process is one. "
                "Leave --jobs out, or use --executor processes."
            )

    def run(self, spec: WorkerSpec, groups: Sequence[Sequence[Any]]) -> Iterator[Record]:
        """Yield the records in the order of the cells."""
        yield from spec.build().run(itertools.chain.from_iterable(groups))
