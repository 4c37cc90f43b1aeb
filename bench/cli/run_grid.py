"""What `bench run` does with its options: plan, run, print the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
import torch

from bench.cli.app import Session
from bench.errors import BadData, UsageError
from bench.execution.experiment import Experiment, plan_experiment
from bench.execution.team import Joined
from bench.inspection.dry_run import describe_run
from bench.planning.options import Options
from bench.registry.registry import Registry
from bench.reporting.table import table
from bench.reporting.threads import describe_other_threads
from bench.storage.artifacts import ArtifactStore
from bench.storage.attempts import attempts_of, describe_attempts
from bench.storage.records import Record, RecordStore
from bench.system.arithmetic import repeat_to_the_bit
from bench.system.profiler import Profiler


def run_grid(
    options: Options, session: Session, *, dry_run: bool, ask: bool, joined: Joined | None = None
) -> int:
    """Run a grid; the table goes to standard output, everything else to standard error.

    What can be refused is refused before anything is written.

    Args:
        options: merged from the grid file and the command line.
        session: whose plugins are run and whose output is written to.
        dry_run: print what would be made, and make nothing.
        ask: a person is there to be asked whether to download.
        joined: the processes of `torchrun`, which this one leads.

    Returns:
        The exit status: 1 if a cell failed.

    Raises:
        UsageError: something that was asked for cannot be done.
    """
    experiment = plan_or_ask(
        options, session.registry, session.blocked, ask=ask, joined=joined, assume=dry_run
    )
    for line in describe_data(experiment):
        click.echo(line, err=True)
    results = experiment.spec.results
    for note in experiment.notes:
        click.echo(f"Note: {note}", err=True)
    if dry_run:
        session.echo(describe_experiment(experiment))
        return 0
    records = sorted(print_progress(experiment), key=experiment.position)
    if experiment.parts.watch.profiler:
        click.echo(f"{describe_times(experiment.parts.watch.profiler)}\n", err=True)
    if note := describe_other_threads(records, experiment.spec.threads):
        click.echo(f"{note}\n", err=True)
    if records:  # all may wait in a queue
        session.echo(table(records, mix_protocols=True, folder=results))
    for line in describe_left(experiment, records):
        click.echo(line, err=True)
    return 1 if any(record["status"] == "failed" for record in records) else 0


def plan_or_ask(
    options: Options,
    registry: Registry,
    blocked: Sequence[str],
    *,
    ask: bool,
    joined: Joined | None,
    assume: bool = False,
) -> Experiment:
    """Plan; where data is missing that could be downloaded, ask the person at the terminal.

    Raises:
        UsageError: something cannot be done, or the person declined.
    """
    try:
        return plan_experiment(options, registry, blocked=blocked, isolate=True, joined=joined, assume=assume)
    except BadData as error:
        if options.runtime.get("download") or not ask or "--download" not in str(error):
            raise
        if not click.confirm(f"{error}\nDownload it now?", err=True):
            raise UsageError("nothing was downloaded or run. Use --download, or another --dataset.") from None
        return plan_experiment(options, registry, blocked=blocked, download=True, isolate=True)


def describe_data(experiment: Experiment) -> list[str]:
    """Return a line of each data set whose files could mean several things: what they were taken for."""
    choices = [choice for cell in experiment.cells for choice in (cell.dataset, cell.eval_dataset)]
    lines = {}
    for choice in choices:
        known = (choice.name, repr(choice.config), choice.root, choice.title)
        if known not in lines:
            found = experiment.parts.datasets.open(choice).found if choice.content else ""
            lines[known] = f"{choice.shown}: {found}." if found else ""
    return list(dict.fromkeys(filter(None, lines.values())))


def describe_experiment(experiment: Experiment) -> str:
    """Return what a run would make."""
    parts, spec = experiment.parts, experiment.spec
    store, artifacts = RecordStore(spec.results), ArtifactStore(spec.results)
    device = torch.device(spec.device)
    if spec.deterministic:
        repeat_to_the_bit()
    return describe_run(
        experiment.cells, parts.datasets, parts.registry, store, artifacts, device, experiment.given_up
    )


def describe_times(profiler: Profiler) -> str:
    """Return where the time of a run went."""
    nothing = "" if profiler.written else "\n\nNothing was profiled: all that was asked for is there."
    return f"{profiler.timer.table()}{nothing}"


def describe_left(experiment: Experiment, records: Sequence[Record]) -> Iterator[str]:
    """Yield a line for cells that were given up, and one for those that were not begun."""
    given_up = sum(record["keys"]["score"] in experiment.given_up for record in records)
    if given_up:
        yield (
            f"Given up: {count_cells(given_up)} that failed before and {'was' if given_up == 1 else 'were'} "
            "not tried again. --retry-failed tries them, --retries N more often by itself."
        )
    left = len(experiment.cells) - len(records)
    if experiment.fail_fast and left and any(record["status"] == "failed" for record in records):
        yield f"--fail-fast: a cell failed, and {count_cells(left)} of {len(experiment.cells)} were not made."


def count_cells(count: int) -> str:
    """Return a number of cells in words."""
    return "1 cell" if count == 1 else f"{count} cells"


def print_progress(experiment: Experiment) -> Iterator[Record]:
    """Yield the records of an experiment as they come, each with a line on standard error."""
    for number, record in enumerate(experiment.run(), 1):
        cell = experiment.cells[experiment.position(record)]
        outcome = describe_outcome(record, is_given_up=record["keys"]["score"] in experiment.given_up)
        click.echo(f"[{number}/{len(experiment.cells)}] {cell.title}: {outcome}", err=True)
        yield record


def describe_outcome(record: Record, *, is_given_up: bool = False) -> str:
    """Return a record's first metric, or its status where it has none.

    Args:
        record: of a cell.
        is_given_up: it failed in earlier runs, and was not tried in this one.
    """
    if is_given_up:
        return f"given up, for it failed {describe_attempts(attempts_of(record))}. {record['reason']}"
    metrics = record["metrics"]
    first = record.get("headline") or next(iter(metrics), None)
    return f"{first} {metrics[first]['value']:.2f}" if first else str(record["status"])
