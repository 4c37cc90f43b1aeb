"""What `bench worker` does: plan the grid again, and make the cells of one job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.cli.app import Session
from bench.cli.run_grid import print_progress
from bench.errors import UsageError
from bench.execution.experiment import plan_experiment
from bench.execution.submitted import to_options
from bench.planning.cells import Cell
from bench.storage.submissions import Submission, SubmittedCell


def run_worker(
    submission: Submission, cells: Sequence[SubmittedCell], results: Path, session: Session
) -> int:
    """Make cells of a submission, with a line on standard error for each.

    Args:
        submission: that they are of.
        cells: to be made.
        results: the folder of results.
        session: whose plugins are run.

    Returns:
        The exit status: 1 if a cell failed.

    Raises:
        UsageError: the grid gives other cells here than where it was submitted.
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

    options, precision = to_options(submission.grid, results), submission.grid["precision"]
    experiment = plan_experiment(
        options, session.registry, blocked=session.blocked, precision=precision, select=select
    )
    records = list(print_progress(experiment))
    return 1 if any(record["status"] == "failed" for record in records) else 0
