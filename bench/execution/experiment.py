"""A grid from its options to its records, without a command line.

options = merge_options(None, {"method": "simclr,vicreg", "backbone": "resnet18"})
experiment = plan_experiment(options, Registry.load())
records = list(experiment.run())
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from bench.boundary import plugin_call
from bench.config import build
from bench.contracts.executor import Executor
from bench.errors import BadPlugin, BadValue, CellError, refuse_unreadable
from bench.execution.called_logger import open_loggers
from bench.execution.device_checks import count_devices, refuse_unshareable, share_threads
from bench.execution.pipeline import LocalParts, PipelineSpec, is_result
from bench.execution.submitted import to_plain
from bench.execution.team import Joined
from bench.planning.cells import Cell
from bench.planning.open_datasets import Datasets
from bench.planning.options import Options, Runtime
from bench.planning.planner import plan_grid
from bench.planning.request import Request
from bench.registry.registry import Registry
from bench.storage.artifacts import ArtifactStore
from bench.storage.attempts import attempts_of
from bench.storage.records import Record, RecordStore
from bench.storage.writable import refuse_unwritable
from bench.system.arithmetic import refuse_precision
from bench.system.device import auto_precision, choose_device
from bench.system.heartbeat import Heartbeat, forget_silent, forget_workers
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
        notes: what of the request changes nothing, or was asked for twice; a line each.
        given_up: cells that have failed and are not tried again, by the keys of their scores.
        fail_fast: nothing more is made once a cell has failed.
    """

    cells: Sequence[Cell]
    spec: PipelineSpec
    parts: LocalParts
    executor: Executor
    notes: Sequence[str] = ()
    given_up: Collection[str] = ()
    fail_fast: bool = False

    @cached_property
    def positions(self) -> dict[tuple[str, ...], int]:
        """The position of each cell in the grid, by what its record is identified by."""
        return {_identify(cell.names, cell.keys.score): i for i, cell in enumerate(self.cells)}

    def position(self, record: Record) -> int:
        """Return the position of a record's cell in the grid."""
        return self.positions[_identify(record["cell"], record["keys"]["score"])]

    def run(self) -> Iterator[Record]:
        """Yield one record per cell as they come, from the store if it is there, else made and stored.

        With `fail_fast` there are no more of them once a cell has failed in this run.

        Raises:
            CellError: the executor left cells out.
        """
        groups = [list(group) for _, group in itertools.groupby(self.cells, lambda cell: cell.keys.backbone)]
        missing = set(self.positions.values())
        fault, failed, is_over = None, 0, False
        ArtifactStore(self.spec.results).claims.choose(self.spec.claims)
        heartbeat = Heartbeat()
        forget_silent(self.spec.results)
        try:
            with heartbeat.shown(self.spec.results, self.spec.run):
                self._tell(heartbeat, missing, failed)
                with contextlib.closing(self._list_records(groups)) as records:
                    for record in records:
                        missing.discard(self.position(record))
                        failed += record["status"] == "failed"
                        self._tell(heartbeat, missing, failed)
                        yield record
                        is_over = self.fail_fast and self._has_failed_now(record)
                        if is_over:
                            break
        except BadPlugin as error:
            fault = error
        finally:
            forget_workers(self.spec.results, self.spec.run)
            self.parts.observers.drain()
        if fault or (missing and not is_over and not self.executor.leaves(self.spec)):
            said = f"{fault} There" if fault else f"{type(self.executor).__name__}: there"
            raise CellError(
                f"{said} is no record of {len(missing)} of {len(self.cells)} cells. "
                "Run again with --executor in-process."
            ) from fault

    def _has_failed_now(self, record: Record) -> bool:
        """Tell whether a cell was tried in this run, and failed."""
        return record["status"] == "failed" and record["keys"]["score"] not in self.given_up

    def _tell(self, heartbeat: Heartbeat, missing: Collection[int], failed: int) -> None:
        """Tell those who watch how many cells have a record."""
        done = len(self.cells) - len(missing)
        heartbeat.begin(kind="run", run=self.spec.run, cells=len(self.cells), done=done, failed=failed)

    def _list_records(self, groups: Sequence[Sequence[Cell]]) -> Generator[Record, None, None]:
        """Yield what the executor does, which may be a plugin's.

        Where it computes on other machines, cells that cannot work are told here, and not submitted.
        """
        if self.executor.device:
            known = [cell for group in groups for cell in group if cell.why_not]
            yield from replace(self.spec, device="cpu").build().run(known)
            groups = [own for group in groups if (own := [cell for cell in group if not cell.why_not])]
        call = f"{type(self.executor).__name__}: run()"
        with plugin_call(call, of_run=True):
            records = iter(self.executor.run(self.spec, groups))
        try:
            while True:  # no block round a `yield`: what ends this generator is nothing that a plugin raised
                with plugin_call(call, of_run=True):
                    record = next(records, None)
                if record is None:
                    return
                yield record
        finally:
            if isinstance(records, Generator):
                with plugin_call(call, of_run=True):
                    records.close()  # where not all are wanted


def plan_experiment(
    options: Options,
    registry: Registry,
    *,
    blocked: Sequence[str] = (),
    download: bool | None = None,
    isolate: bool = False,
    precision: str | None = None,
    select: Callable[[list[Cell]], list[Cell]] = list,
    joined: Joined | None = None,
    assume: bool = False,
) -> Experiment:
    """Return a grid that can be run; what can be refused is refused here, and nothing is written.

    Args:
        options: merged from a grid file and a command line, say.
        registry: of plugins.
        blocked: plugins that are disabled, for other processes.
        download: what is missing may be downloaded; none is what the options say.
        isolate: run plugins that did not come with bench, and whatever runs on an NVIDIA GPU, in a process of
            their own: what ends it, or leaves the GPU of no use in it, ends no more. A script that asks for
            it guards its start with `if __name__ == "__main__"`.
        precision: what `precision=auto` is; none is what suits the device.
        select: returns those of the planned cells that are wanted.
        joined: the processes of `torchrun`, which make each cell together; this one leads.
        assume: plan without published files that are missing, which `run` of the grid could not do.

    Raises:
        UsageError: something that was asked for cannot be done.
    """
    runtime = Runtime(**options.runtime)
    executor, device = open_executor(options, runtime, registry, isolate=isolate, together=joined is not None)
    runtime = count_devices(runtime, executor, device, joined)
    request = options.request(precision or choose_precision(executor, device))
    if not executor.device:
        for named in request.settings.get("train.precision", ()):
            refuse_precision(named, device)
    spec = make_spec(options, runtime, executor, device, request.auto_precision, tuple(blocked), joined)
    with plugin_call(f"{type(executor).__name__}: check()"):
        executor.check(spec)
    loggers = open_loggers(registry, spec.loggers, runtime.results)
    if runtime.fail_fast and executor.device:
        raise BadValue(
            f"--fail-fast: {runtime.executor} goes on elsewhere. Leave it out; `bench cancel` ends its jobs."
        )
    store, artifacts = RecordStore(runtime.results), ArtifactStore(runtime.results)
    refuse_unwritable([store.root, artifacts.folder], runtime.results)
    artifacts.claims.resolve(runtime.claims)
    may_download = runtime.download if download is None else download
    datasets = Datasets(
        registry, runtime.data_dir, download=may_download, packed=runtime.packed, assume=assume
    )
    watch = open_watch(spec, device)
    with watch.timer.time("plan"), refuse_unreadable():
        planned = plan_grid(request, registry, datasets)
    cells = select(planned.cells)
    refuse_unshareable(cells, runtime.devices, registry)
    failed = look_at_records(store, cells)
    again = choose_again(failed, runtime)
    parts = LocalParts(registry, datasets, watch, loggers=loggers)
    return Experiment(
        cells=cells,
        spec=replace(spec, local=parts, again=again),
        parts=parts,
        executor=executor,
        notes=(*options.notes, *planned.notes),
        given_up=failed.keys() - again.keys(),
        fail_fast=runtime.fail_fast,
    )


def open_executor(
    options: Options, runtime: Runtime, registry: Registry, *, isolate: bool, together: bool
) -> tuple[Executor, torch.device]:
    """Return the executor with its settings, and the device of its workers.

    Raises:
        UsageError: it is not there, cannot be set so, or is asked for what it has not.
    """
    device = None if runtime.executor else choose_device(runtime.device)
    may_end = device is not None and (
        device.type == "cuda" or has_foreign_plugins(options.request("float32"), registry)
    )
    name = choose_executor(runtime, isolate=isolate and may_end and not together, together=together)
    if name == "in-process" and runtime.threads:
        raise BadValue(
            "--threads: in-process has those that this process began with. Leave --executor out, or set "
            "OMP_NUM_THREADS instead."
        )
    cls: type[Executor] = registry.load_class("executors", name)
    config = build(cls.Config, options.executor_settings, name)
    with plugin_call(f"{name}: the executor"):
        executor = cls(config) if options.executor_settings else cls()
        elsewhere = executor.device if runtime.device == "auto" else executor.device and runtime.device
    return executor, torch.device(elsewhere) if elsewhere else choose_device(runtime.device)


def make_spec(
    options: Options,
    runtime: Runtime,
    executor: Executor,
    device: torch.device,
    precision: str,
    blocked: tuple[str, ...],
    joined: Joined | None,
) -> PipelineSpec:
    """Return what a worker needs to know.

    Raises:
        BadValue: there are not as many GPUs as were asked for.
    """
    jobs = share_gpus(runtime, executor, device)
    workers = 1 if executor.threads else jobs  # that have the threads together
    processes = 1 if joined else workers * runtime.devices
    spec = PipelineSpec(
        results=runtime.results,
        data_dir=runtime.data_dir,
        device=str(device),
        jobs=jobs,
        threads=runtime.threads or share_threads(processes, executor.threads),
        devices=runtime.devices,
        blocked=blocked,
        packed=runtime.packed,
        profile=runtime.profile,
        deterministic=runtime.deterministic,
        gpus=runtime.gpus,
        gpus_per_cell=runtime.gpus_per_cell,
        wait=runtime.wait,
        claims=runtime.claims,
        loggers=options.logger_settings,
        joined=joined,
        timeout=runtime.timeout,
        retries=runtime.retries,
    )
    return replace(spec, grid=to_plain(options, spec, precision)) if executor.device else spec


def choose_precision(executor: Executor, device: torch.device) -> str:
    """Return what `precision=auto` is: of GPUs elsewhere, which are not looked at, that of Ampere."""
    return "bfloat16" if executor.device and device.type == "cuda" else auto_precision(device)


def share_gpus(runtime: Runtime, executor: Executor, device: torch.device) -> int:
    """Return how many processes there are: where GPUs are named, as many as have theirs to themselves.

    Raises:
        BadValue: there are not as many GPUs as were asked for.
    """
    if not runtime.gpus:
        return runtime.jobs
    if executor.device:
        raise BadValue("--gpus: workers are on other machines. Leave it out, and use --set executor.gpus=N.")
    if str(device) != "cuda":
        raise BadValue(
            f"--gpus: the device is {device}. Leave it out, or use --device cuda on a machine with GPUs."
        )
    there = torch.cuda.device_count()
    for gpu in runtime.gpus:
        if gpu.isdecimal() and int(gpu) >= there:
            raise BadValue(f"--gpus: there is no GPU {gpu}, there are 0 to {there - 1}.")
    slots = len(runtime.gpus) // runtime.gpus_per_cell
    if not slots or runtime.jobs > slots:
        asked = f"{runtime.jobs} x {runtime.gpus_per_cell}"
        raise BadValue(
            f"--gpus: {asked} GPUs were asked for, and {len(runtime.gpus)} are named. Use fewer --jobs."
        )
    return slots if runtime.jobs == 1 else runtime.jobs


def choose_executor(runtime: Runtime, *, isolate: bool, together: bool = False) -> str:
    """Return the name of the executor to use where none may have been named.

    Args:
        runtime: what was asked for; a profile is of this process.
        isolate: what is run may end its process.
        together: this process is one of several that were started to make cells together.
    """
    held = runtime.devices > 1 and not together and not runtime.profile  # to its share of the threads
    can_move = isolate or (runtime.timeout and not together)  # what takes too long is ended with its process
    needs_process = (
        runtime.jobs > 1 or runtime.threads or runtime.gpus or held or (can_move and not runtime.profile)
    )
    return runtime.executor or ("local" if needs_process else "in-process")


def has_foreign_plugins(request: Request, registry: Registry) -> bool:
    """Tell whether any plugin of a grid, or any that observes, did not come with bench.

    Raises:
        UnknownName: one is asked for that is not there.
    """
    plugins = [registry.find(kind, name).plugin for kind, names in request.names.items() for name in names]
    plugins += [plugin for plugin, _ in registry.observers()]
    return not all(plugin.built_in for plugin in plugins)


def open_watch(spec: PipelineSpec, device: torch.device) -> StageWatch:
    """Return the watch over a run, with a profiler if it is to be profiled."""
    timer = StageTimer()
    profiler = Profiler(spec.results / "profiles", device, timer) if spec.profile else None
    return StageWatch(timer, profiler)


def look_at_records(store: RecordStore, cells: Sequence[Cell]) -> dict[str, int]:
    """Return how often cells have failed, by the keys of their scores, of those that have.

    What would end the run when a cell's turn comes is refused now.

    Raises:
        UsageError: the folder of a record cannot be written to, or a newer bench wrote a record.
    """
    folders: dict[Path, None] = {}
    failed: dict[str, int] = {}
    for cell in cells:
        record = store.find(cell.names, cell.keys.score, tell=False)  # the run tells
        if record is None or not is_result(record, cell):
            folders[store.path(cell.names, cell.keys.score).parent] = None
        if record and not cell.failure and (attempts := attempts_of(record)):
            failed[cell.keys.score] = attempts
    refuse_unwritable(folders, store.folder)
    return failed


def choose_again(failed: Mapping[str, int], runtime: Runtime) -> dict[str, int]:
    """Return those of the cells that have failed which are tried again, with how often they have failed."""
    most = math.inf if runtime.retry_failed else runtime.retries
    return {key: attempts for key, attempts in failed.items() if attempts <= most}


def _identify(names: Mapping[str, Any], score_key: str) -> tuple[str, ...]:
    """Return what tells a cell's record from every other, as the store does."""
    return score_key, *(str(names[role]) for role in ("method", "backbone", "dataset", "evaluator"))
