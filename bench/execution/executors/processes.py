"""Several processes on one grid: each takes whole backbones, so that none is made twice."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import torch

from bench.execution.executors.base import PipelineSpec
from bench.execution.failures import FailureReport
from bench.execution.pipeline import Pipeline
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.registry.registry import Registry
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import Record, RecordStore
from bench.system.processes import begin_worker

DIED = FailureReport(
    stage="process",
    type="BrokenProcessPool",
    message="the process ended in the middle, killed or out of memory. Use fewer --jobs.",
    reason="the process ended in the middle, killed or out of memory. Use fewer --jobs.",
)


def run_in_processes(
    pipeline: Pipeline, cells: Sequence[Cell], jobs: int, blocked: Sequence[str]
) -> Iterator[Record]:
    """Yield the records of all cells in the order of the cells, made by `jobs` processes at a time.

    Each backbone has a process of its own, with its share of the processor's threads. One that dies
    (out of memory, say) fails its cells and no others.

    Args:
        pipeline: of this process, for its folders and device.
        cells: of the whole grid, those of one backbone one after the other.
        jobs: number of processes.
        blocked: plugins that are disabled.
    """
    groups = [list(group) for _, group in itertools.groupby(cells, key=lambda cell: cell.keys.backbone)]
    spec = PipelineSpec(
        results=pipeline.store.folder,
        data_dir=pipeline.datasets.data_dir,
        device=str(pipeline.device),
        threads=max(1, torch.get_num_threads() // jobs),
        blocked=tuple(blocked),
        packed=pipeline.datasets.packed,
    )
    waiters = ThreadPoolExecutor(jobs)
    try:
        made = [waiters.submit(_in_a_process, pipeline, spec, group) for group in groups]
        for future in made:
            yield from future.result()
    finally:
        waiters.shutdown(cancel_futures=True)


def _in_a_process(pipeline: Pipeline, spec: PipelineSpec, cells: list[Cell]) -> list[Record]:
    """Wait for a process that makes the cells of one backbone, unless all are there."""
    stored = [record for cell in cells if (record := pipeline.done(cell))]
    if len(stored) == len(cells):
        return stored
    try:
        with one_process(spec.threads) as pool:
            return pool.submit(run_group, spec, cells).result()
    except BrokenProcessPool:
        return [pipeline.give_up(cell, DIED) for cell in cells]


def one_process(threads: int) -> ProcessPoolExecutor:
    """Return a process that loads everything anew, and of which no library has more than `threads`."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=begin_worker, initargs=(threads,))


def run_group(spec: PipelineSpec, cells: list[Cell]) -> list[Record]:
    """Make the cells of one backbone, in a process of its own."""
    logging.basicConfig(format="%(message)s")
    torch.set_num_threads(spec.threads)
    registry = Registry.load(spec.blocked)
    pipeline = Pipeline(
        registry=registry,
        datasets=Datasets(registry, spec.data_dir, packed=spec.packed),
        store=RecordStore(spec.results),
        cache=ArtifactStore(spec.results),
        device=torch.device(spec.device),
        live=False,
    )
    return list(pipeline.run(cells))
