"""A grid from its options to its records, without a command line.

options = merge_options(None, {"method": "simclr,vicreg", "backbone": "resnet18"})
experiment = plan_experiment(options, Registry.load())
records = list(experiment.run())
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from bench.contracts.executor import Executor
from bench.errors import CellError, refuse_unreadable
from bench.execution.pipeline import LocalParts, PipelineSpec, find_record
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.planning.options import Options, Runtime
from bench.planning.planner import plan
from bench.registry.registry import Registry
from bench.storage.artifacts import ArtifactStore
from bench.storage.records import Record, RecordStore
from bench.storage.writable import refuse_unwritable
from bench.system.device import auto_precision, choose_device
from bench.system.profiler import Profiler
from bench.system.stage_timer import StageTimer
from bench.system.stage_watch import StageWatch


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A grid that was planned: all that can be refused was.

    Args:
        cells: of the grid, those of one backbone one after the other.
        spec: of the pipeline that makes them.
        parts: what was opened for the plan.
        executor: shares the cells out.
    """

    cells: Sequence[Cell]
    spec: PipelineSpec
    parts: LocalParts
    executor: Executor

    @cached_property
    def positions(self) -> dict[tuple[str, ...], int]:
        """The position of each cell in the grid, by what its record is identified by."""
        return {_identify(cell.names, cell.keys.score): i for i, cell in enumerate(self.cells)}

    def position(self, record: Record) -> int:
        """Return the position of a record's cell in the grid."""
        return self.positions[_identify(record["cell"], record["keys"]["score"])]

    def run(self) -> Iterator[Record]:
        """Yield one record per cell as they come, from the store if it is there, else made and stored.

        Raises:
            CellError: the executor left cells out.
        """
        groups = [list(group) for _, group in itertools.groupby(self.cells, lambda cell: cell.keys.backbone)]
        missing = set(self.positions.values())
        try:
            for record in self.executor.run(self.spec, groups):
                missing.discard(self.position(record))
                yield record
        finally:
            self.parts.observers.drain()
        if missing:
            raise CellError(
                f"{type(self.executor).__name__}: there is no record of {len(missing)} of "
                f"{len(self.cells)} cells. Run again with --executor in-process."
            )


def plan_experiment(
    options: Options,
    registry: Registry,
    *,
    blocked: Sequence[str] = (),
    download: bool | None = None,
) -> Experiment:
    """Return a grid that can be run; what can be refused is refused here, and nothing is written.

    Args:
        options: merged from a grid file and a command line, say.
        registry: of plugins.
        blocked: plugins that are disabled, for other processes.
        download: what is missing may be downloaded; none is what the options say.

    Raises:
        UsageError: something that was asked for cannot be done.
    """
    runtime = Runtime(**options.runtime)
    executor: Executor = registry.load_class("executors", choose_executor(runtime))()
    device = choose_device(runtime.device)
    spec = PipelineSpec(
        results=runtime.results,
        data_dir=runtime.data_dir,
        device=str(device),
        jobs=runtime.jobs,
        threads=max(1, torch.get_num_threads() // runtime.jobs),
        blocked=tuple(blocked),
        packed=runtime.packed,
        profile=runtime.profile,
    )
    executor.check(spec)
    request = options.request(auto_precision(device))
    store, artifacts = RecordStore(runtime.results), ArtifactStore(runtime.results)
    refuse_unwritable([store.root, artifacts.folder], runtime.results)
    may_download = runtime.download if download is None else download
    datasets = Datasets(registry, runtime.data_dir, download=may_download, packed=runtime.packed)
    watch = open_watch(spec, device)
    with watch.timer.time("plan"), refuse_unreadable():
        cells = plan(request, registry, datasets)
    refuse_unwritable_records(store, cells)
    parts = LocalParts(registry, datasets, watch)
    return Experiment(cells=cells, spec=replace(spec, local=parts), parts=parts, executor=executor)


def choose_executor(runtime: Runtime) -> str:
    """Return the name of the executor to use where none may have been named."""
    return runtime.executor or ("processes" if runtime.jobs > 1 else "in-process")


def open_watch(spec: PipelineSpec, device: torch.device) -> StageWatch:
    """Return the watch over a run, with a profiler if it is to be profiled."""
    timer = StageTimer()
    profiler = Profiler(spec.results / "profiles", device, timer) if spec.profile else None
    return StageWatch(timer, profiler)


def refuse_unwritable_records(store: RecordStore, cells: Sequence[Cell]) -> None:
    """Refuse now what would end the run when a cell's turn comes.

    Raises:
        UsageError: the folder of a record cannot be written to, or a newer bench wrote a record.
    """
    folders: dict[Path, None] = {}
    for cell in cells:
        if find_record(store, cell) is None:
            folders[store.path(cell.names, cell.keys.score).parent] = None
    refuse_unwritable(folders, store.folder)


def _identify(names: Mapping[str, Any], score_key: str) -> tuple[str, ...]:
    """Return what tells a cell's record from every other, as the store does."""
    return score_key, *(str(names[role]) for role in ("method", "backbone", "dataset", "evaluator"))
