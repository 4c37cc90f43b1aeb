"""One cell after the other, in this process."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from bench.contracts.executor import Executor, WorkerSpec
from bench.errors import BadValue
from bench.execution.executors.turns import Turns
from bench.execution.worker_process import record_end
from bench.planning.cells import Cell
from bench.storage.records import Record
from bench.system.journal import CELL, how_ended, survived


class InProcess(Executor):
    """Runs all cells in this process, in their order.

    Those that an earlier process of the command ended at fail, without being tried again.
    """

    def check(self, spec: WorkerSpec) -> None:
        """Refuse several jobs, GPUs by name, and a limit of time; a profile is fine.

        Raises:
            BadValue: there are.
        """
        if spec.timeout:
            raise BadValue(
                "--timeout: in-process cannot end a cell that is not done, as it would end with it. "
                "Leave --executor and --profile out."
            )
        if spec.gpus:
            raise BadValue(
                "--gpus: in-process has those of this process. Leave it out, or use --device cuda:N."
            )
        if spec.jobs > 1:
            raise BadValue(
                f"--jobs: {spec.jobs} processes were asked for, but in-process is one. "
                "Leave --jobs out, or use --executor local."
            )

    def run(self, spec: WorkerSpec, groups: Sequence[Sequence[Cell]]) -> Iterator[Record]:
        """Yield the records in the order of the cells, after those of the cells that ended a process."""
        runner, cells = spec.build(), list(itertools.chain.from_iterable(groups))
        endings = {cell.keys.score: how_ended(cell.title, cell.keys.score) for cell in cells}
        for cell in cells:
            if end := endings[cell.keys.score]:
                yield record_end(runner, cell, end)
        left = [[cell for cell in group if not endings[cell.keys.score]] for group in groups]
        turns = Turns([group for group in left if group], runner)
        yield from runner.run(note_each(list_cells(turns)))


def list_cells(turns: Turns) -> Iterator[Cell]:
    """Yield the cells of each group in turn, which stays claimed until one of the next is asked for.

    The runner is told of them before, so that several devices can share them out.
    """
    while True:
        with turns.take() as group:
            if group is None:
                return
            turns.runner.expect(group)
            yield from group


def note_each(cells: Iterable[Cell]) -> Iterator[Cell]:
    """Yield cells, each noted as what this process is at until the next one is asked for."""
    for cell in cells:
        with survived(cell.title, CELL, cell.keys.score):
            yield cell
