"""Several processes on one grid: each takes whole backbones, so that none is made twice."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.cache import Cache
from bench.grid import Cell, Datasets
from bench.registry import Registry
from bench.run import Workshop
from bench.store import Record, Store


@dataclass(frozen=True)
class Bench:
    """What a process needs to set up a workshop of its own."""

    results: Path
    data_dir: Path
    device: str
    threads: int
    blocked: tuple[str, ...]


def run_in_processes(
    workshop: Workshop, cells: Sequence[Cell], jobs: int, blocked: Sequence[str]
) -> Iterator[Record]:
    """Yield the records of all cells in the order of the cells, made by `jobs` processes.

    Each process gets its share of the processor's threads. A process that dies (out of memory, say)
    ends the run with its error; what the others finished is stored.

    Args:
        workshop: of this process, for its folders and device.
        cells: of the whole grid.
        jobs: number of processes.
        blocked: plugins that are disabled.
    """
    groups = [list(group) for _, group in itertools.groupby(cells, key=lambda cell: cell.keys.backbone)]
    bench = Bench(
        results=workshop.store.folder,
        data_dir=workshop.datasets.data_dir,
        device=str(workshop.device),
        threads=max(1, torch.get_num_threads() // jobs),
        blocked=tuple(blocked),
    )
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(groups)), mp_context=spawn) as pool:
        waiting = {pool.submit(run_group, bench, group): group for group in groups}
        done: dict[str, Record] = {}
        for future in as_completed(waiting):
            done |= {record["keys"]["score"]: record for record in future.result()}
    yield from (done[cell.keys.score] for cell in cells)


def run_group(bench: Bench, cells: list[Cell]) -> list[Record]:
    """Make the cells of one backbone, in a process of its own."""
    logging.basicConfig(format="%(message)s")
    torch.set_num_threads(bench.threads)
    registry = Registry.load(bench.blocked)
    workshop = Workshop(
        registry=registry,
        datasets=Datasets(registry, bench.data_dir),
        store=Store(bench.results),
        cache=Cache(bench.results),
        device=torch.device(bench.device),
    )
    return list(workshop.run(cells))
