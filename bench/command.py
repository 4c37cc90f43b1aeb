"""What `bench run` does with its options: plan, say what is to be made, make it, print the table."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bench import device as devices
from bench.cache import Cache
from bench.dry import outlook
from bench.errors import BadData, BadValue
from bench.grid import Cell, Datasets, plan
from bench.jobs import run_in_processes
from bench.registry import Registry
from bench.request import build_request
from bench.run import Workshop
from bench.store import Record, Store
from bench.tables import table

log = logging.getLogger("bench")


def run(
    options: Mapping[str, Any], registry: Registry, *, blocked: Sequence[str], dry_run: bool, ask: bool
) -> int:
    """Run a grid; the table goes to standard output, everything else to standard error.

    Args:
        options: merged from the grid file and the command line.
        registry: of plugins.
        blocked: plugins that are disabled, for the processes of `jobs`.
        dry_run: say what would be made, and make nothing.
        ask: a person is there to be asked whether to download.

    Returns:
        The exit status: 1 if a cell failed.
    """
    device = devices.choose(str(options.get("device") or "auto"))
    request = build_request(options, devices.auto_precision(device))
    jobs = options.get("jobs", 1)
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise BadValue(f"--jobs: {jobs!r} is not a number of processes. Use 1 or more.")
    results, data_dir = Path(options.get("results") or "results"), Path(options.get("data-dir") or "data")
    store, cache = Store(results), Cache(results)
    if not dry_run:
        store.check_writable()

    def planned(*, download: bool) -> tuple[list[Cell], Datasets]:
        datasets = Datasets(registry, data_dir, download=download)
        return plan(request, registry, datasets), datasets

    cells, datasets = _with_downloads(planned, download=bool(options.get("download")), ask=ask)
    if dry_run:
        click.echo(outlook(cells, datasets, registry, store, cache, device))
        return 0
    workshop = Workshop(registry=registry, datasets=datasets, store=store, cache=cache, device=device)
    made = workshop.run(cells) if jobs == 1 else run_in_processes(workshop, cells, jobs, blocked)
    records = list(_told(made, len(cells)))
    click.echo(table(records, metric=None, folder=results))
    return 1 if any(record["status"] == "failed" for record in records) else 0


def _with_downloads(
    planned: Callable[..., tuple[list[Cell], Datasets]], *, download: bool, ask: bool
) -> tuple[list[Cell], Datasets]:
    """Plan; where data is missing that could be downloaded, ask the person at the terminal."""
    try:
        return planned(download=download)
    except BadData as error:
        offered = "--download" in str(error)
        if download or not ask or not offered or not click.confirm(f"{error}\nDownload it now?", err=True):
            raise
        return planned(download=True)


def _told(records: Iterator[Record], total: int) -> Iterator[Record]:
    """Pass records on, each with a line on standard error."""
    for number, record in enumerate(records, 1):
        cell = record["cell"]
        names = [cell["method"], cell["backbone"], cell["dataset"]]
        if cell["eval_dataset"] != cell["dataset"]:
            names.append(f"-> {cell['eval_dataset']}")
        where = " ".join([*names, f"seed {cell['seed']}", cell["evaluator"], f"{100 * cell['label_frac']:g} %"])
        metrics = record["metrics"]
        first = next(iter(sorted(metrics, key=lambda name: name != "top1")), None)
        found = f"{first} {metrics[first]['value']:.2f}" if first else record["status"]
        print(f"[{number}/{total}] {where}: {found}", file=sys.stderr, flush=True)
        yield record
