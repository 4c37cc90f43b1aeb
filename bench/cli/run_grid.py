"""What `bench run` does with its options: plan, say what is to be made, make it, print the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from bench.errors import BadData, BadValue, UsageError, refuse_unreadable
from bench.execution.executors.processes import run_in_processes
from bench.execution.pipeline import Pipeline
from bench.inspection.dry_run import describe_run
from bench.planning.options import Options, Runtime
from bench.planning.planner import Cell, Datasets, plan
from bench.registry.registry import Registry
from bench.reporting.table import table
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import Record, RecordStore
from bench.storage.writable import refuse_unwritable
from bench.system import device as devices
from bench.system.profiler import Profiler
from bench.system.stage_timer import StageTimer

Planned = tuple[list[Cell], Datasets]


def run(options: Options, registry: Registry, *, blocked: Sequence[str], dry_run: bool, ask: bool) -> int:
    """Run a grid; the table goes to standard output, everything else to standard error.

    What can be refused is refused before anything is written.

    Args:
        options: merged from the grid file and the command line.
        registry: of plugins.
        blocked: plugins that are disabled, for the processes of `jobs`.
        dry_run: say what would be made, and make nothing.
        ask: a person is there to be asked whether to download.

    Returns:
        The exit status: 1 if a cell failed.

    Raises:
        UsageError: something that was asked for cannot be done.
    """
    runtime, spent = Runtime(**options.runtime), StageTimer()
    if runtime.profile and runtime.jobs > 1:
        raise BadValue("--profile: it looks at one process, but there are --jobs. Leave one of them out.")
    device = devices.choose_device(runtime.device)
    request = options.request(devices.auto_precision(device))
    store, cache = RecordStore(runtime.results), ArtifactStore(runtime.results)
    refuse_unwritable([store.root, cache.folder], runtime.results)

    def planned(*, download: bool) -> Planned:
        datasets = Datasets(registry, runtime.data_dir, download=download, packed=runtime.packed)
        with refuse_unreadable():
            return plan(request, registry, datasets), datasets

    with spent.time("plan"):
        cells, datasets = _with_downloads(planned, download=runtime.download, ask=ask)
    pipeline = Pipeline(
        registry=registry, datasets=datasets, store=store, cache=cache, device=device, spent=spent
    )
    _refuse_late(pipeline, cells)
    if dry_run:
        click.echo(describe_run(cells, datasets, registry, store, cache, device))
        return 0
    if runtime.profile:
        pipeline.profiler = Profiler(runtime.results / "profiles", device, spent)
    many = runtime.jobs > 1
    made = run_in_processes(pipeline, cells, runtime.jobs, blocked) if many else pipeline.run(cells)
    records = list(_told(cells, made))
    if pipeline.profiler:
        click.echo(f"{_where_time_went(pipeline.profiler)}\n", err=True)
    click.echo(table(records, mix_protocols=True, folder=runtime.results))
    return 1 if any(record["status"] == "failed" for record in records) else 0


def _with_downloads(planned: Callable[..., Planned], *, download: bool, ask: bool) -> Planned:
    """Plan; where data is missing that could be downloaded, ask the person at the terminal."""
    try:
        return planned(download=download)
    except BadData as error:
        if download or not ask or "--download" not in str(error):
            raise
        if not click.confirm(f"{error}\nDownload it now?", err=True):
            raise UsageError("nothing was downloaded or run. Use --download, or another --dataset.") from None
        return planned(download=True)


def _refuse_late(pipeline: Pipeline, cells: Sequence[Cell]) -> None:
    """Refuse now what would end the run when a cell's turn comes: its folder, a newer bench's record."""
    folders: dict[Path, None] = {}
    for cell in cells:
        if pipeline.done(cell) is None:
            folders[pipeline.store.path(cell.names, cell.keys.score).parent] = None
    refuse_unwritable(folders, pipeline.store.folder)


def _where_time_went(profiler: Profiler) -> str:
    nothing = "" if profiler.written else "\n\nNothing was profiled: all that was asked for is there."
    return f"{profiler.spent.table()}{nothing}"


def _told(cells: Sequence[Cell], records: Iterator[Record]) -> Iterator[Record]:
    """Pass records on, each with a line on standard error."""
    for number, (cell, record) in enumerate(zip(cells, records, strict=True), 1):
        metrics = record["metrics"]
        first = record.get("headline") or next(iter(metrics), None)
        found = f"{first} {metrics[first]['value']:.2f}" if first else record["status"]
        click.echo(f"[{number}/{len(cells)}] {cell.title}: {found}", err=True)
        yield record
