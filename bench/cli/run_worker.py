"""What `bench worker` does: plan the grid again, and make the cells of one job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.cli.app import Session
from bench.cli.run_grid import print_progress
from bench.errors import NoDevice, UsageError
from bench.execution.experiment import plan_experiment
from bench.execution.pipeline import LocalParts, PipelineSpec
from bench.execution.submitted import to_options
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.planning.options import Options
from bench.planning.planner import plan_grid
from bench.registry.registry import Registry
from bench.storage.records import Record
from bench.storage.submissions import Submission, SubmittedCell

Select = Callable[[list[Cell]], list[Cell]]


def run_worker(
    submission: Submission,
    cells: Sequence[SubmittedCell],
    results: Path,
    session: Session,
    devices: int | None,
) -> int:
    """Make cells of a submission, with a line on standard error for each.

    Args:
        submission: that they are of.
        cells: to be made.
        results: the folder of results.
        session: whose plugins are run.
        devices: that make each cell together; none is as many as the grid was submitted with, and where
            they are not there, the cells fail.

    Returns:
        The exit status: 1 if a cell failed.

    Raises:
        UsageError: the grid gives other cells here than where it was submitted, or there are fewer devices
            than were asked for here.
    """
    keys = {cell.key for cell in cells}

    def select(planned: list[Cell]) -> list[Cell]:
        found = [cell for cell in planned if cell.keys.score in keys]
        if len(found) < len(keys):
            raise UsageError(
                f"{submission.name}: {len(keys) - len(found)} of its {len(keys)} cells are not planned here, "
                "where bench, a plugin or the data is another. Submit the grid again."
            )
        return found

    options, precision = to_options(submission.grid, results, devices), submission.grid["precision"]
    try:
        experiment = plan_experiment(
            options, session.registry, blocked=session.blocked, precision=precision, select=select
        )
    except NoDevice as error:
        if devices:
            raise
        records = fail_cells(options, session.registry, precision, select, str(error))
    else:
        records = list(print_progress(experiment))
    return 1 if any(record["status"] == "failed" for record in records) else 0


def fail_cells(
    options: Options, registry: Registry, precision: str, select: Select, reason: str
) -> list[Record]:
    """Store of cells why this machine cannot make them: whoever submitted them learns it from the store.

    Args:
        options: of the grid.
        registry: of plugins.
        precision: what `precision=auto` is.
        select: returns the cells of those that are planned.
        reason: one line.
    """
    runtime = options.runtime
    datasets = Datasets(registry, runtime["data_dir"], packed=runtime["packed"])
    cells = select(plan_grid(options.request(precision), registry, datasets).cells)
    runner = PipelineSpec(results=runtime["results"], local=LocalParts(registry, datasets)).build()
    return [runner.record_failure(cell, reason, NoDevice.__name__) for cell in cells]
