"""The pipeline as a pull: a score needs features, features need a backbone, each made once.

There is no scheduler. `ScoreStage` asks for features, `FeaturesStage` asks for the backbone; each is
taken from its artifact, or made and saved there. A second run finds everything and makes nothing.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from bench.errors import ClaimLost, DeviceLost
from bench.execution.backbone_stage import BackboneStage
from bench.execution.called_logger import CalledLogger, open_loggers
from bench.execution.cell_record import blank_record
from bench.execution.endings import UNKNOWN, report_end
from bench.execution.failures import StageFailed, failure_fields
from bench.execution.features_stage import FeaturesStage
from bench.execution.image_cache import ImageCache
from bench.execution.observed_run import describe_pretraining
from bench.execution.observers import Observers
from bench.execution.provenance import describe_provenance
from bench.execution.score_stage import ScoreStage
from bench.execution.team import Join, Joined, Team
from bench.planning.cells import Cell
from bench.planning.failure_report import FailureReport
from bench.planning.open_datasets import Datasets
from bench.registry.registry import Registry
from bench.storage.artifacts import ArtifactStore
from bench.storage.attempts import attempts_of, count_attempt
from bench.storage.records import Record, RecordStore
from bench.storage.submissions import Submission, SubmittedCell, name_submission
from bench.system.arithmetic import float32_as, repeat_to_the_bit
from bench.system.device import is_lost, list_devices
from bench.system.heartbeat import look_around, name_run, name_worker
from bench.system.malloc import keep_freed_pages
from bench.system.memory import share_memory
from bench.system.process_end import ProcessEnd
from bench.system.stage_watch import StageWatch, Tell, tell_nobody

log = logging.getLogger("bench")


class LocalParts:
    """What the process that planned a grid has at hand already, for a pipeline in the same process.

    Args:
        registry: of plugins.
        datasets: as they were opened for the plan.
        watch: over the stages of the run; none is a new one.
        muted: plugins and loggers that must not observe, by their names.
        loggers: that were asked for.
    """

    def __init__(
        self,
        registry: Registry,
        datasets: Datasets,
        watch: StageWatch | None = None,
        muted: Collection[str] = (),
        loggers: Iterable[CalledLogger] = (),
    ) -> None:
        self.registry, self.datasets = registry, datasets
        self.watch = watch or StageWatch()
        self.observers = Observers(registry, muted, self.watch.tell, loggers)


@dataclass(frozen=True, kw_only=True)
class PipelineSpec:
    """All that a process needs to set up a pipeline of its own; it can be sent to another process.

    Args:
        results: the folder of records and artifacts.
        data_dir: where downloads and packed images are kept.
        device: a name that torch knows.
        jobs: cells at a time.
        threads: of the processor, for each process.
        devices: that make a cell together, a process each.
        blocked: plugins that are disabled.
        packed: decoded images are kept in a file, even where they would fit into memory.
        profile: the stages are profiled; the profiler is one of the `local` parts.
        deterministic: a GPU takes algorithms that repeat themselves, where torch has them.
        gpus: of the machine, that may be used, or those of one worker; none named are all.
        gpus_per_cell: that a worker has to itself, where GPUs are named.
        wait: for cells that other machines make.
        claims: how processes keep from making the same twice.
        loggers: that are told of the run, by name, with their settings.
        grid: the options of the run as plain values, for other machines.
        sharers: processes that share the memory of the device.
        live: the process has the terminal to itself, and may draw on it.
        run: the name of the run, that its workers share.
        local: what is at hand in this process; it is not sent to another, which opens its own.
        joined: this process is one of those that `torchrun` started.
        timeout: seconds after which a cell that is not done is ended; none lets it take what it takes.
        retries: times that a cell which failed is tried again.
        again: cells that have failed and are to be tried again, by the keys of their scores, with how often
            they had failed when the run began; none is all that have failed.
    """

    results: Path
    data_dir: Path = Path("data")
    device: str = "cpu"
    jobs: int = 1
    threads: int = 1
    devices: int = 1
    blocked: tuple[str, ...] = ()
    packed: bool = False
    profile: bool = False
    deterministic: bool = False
    gpus: tuple[str, ...] = ()
    gpus_per_cell: int = 1
    wait: bool = False
    claims: str = "auto"
    loggers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    grid: Mapping[str, Any] = field(default_factory=dict)
    sharers: int = 1
    live: bool = True
    run: str = field(default_factory=name_run)
    local: LocalParts | None = None
    joined: Joined | None = None
    timeout: float | None = None
    retries: int = 1
    again: Mapping[str, int] | None = None

    def __getstate__(self) -> dict[str, object]:
        """Return what is sent to another process."""
        return {**vars(self), "local": None, "joined": None}

    def build(self) -> Pipeline:
        """Return a pipeline with nothing in memory."""
        if self.deterministic and self.device != "cpu":
            repeat_to_the_bit()
        parts, device, team = self.local or self._open_parts(), self.rank_device(0), Team(self)
        artifacts = ArtifactStore(self.results.absolute())  # wherever a plugin goes meanwhile
        images = ImageCache(parts.datasets, parts.watch)
        backbones = BackboneStage(
            parts.registry, artifacts, images, device, parts.watch, parts.observers, team, live=self.live
        )
        features = FeaturesStage(backbones, images, artifacts, parts.watch)
        scores = ScoreStage(parts.registry, features, images, artifacts, parts.watch)
        return Pipeline(self, parts.registry, scores, parts.observers)

    def place(self, number: int) -> PipelineSpec:
        """Return the specification for one of the workers.

        Where GPUs are named, each worker has its own, and there are no more workers than that gives; where
        none are and there are several, workers take turns.

        Args:
            number: of the worker, counted from 0.
        """
        if self.gpus:
            first = number * self.gpus_per_cell
            return replace(self, gpus=self.gpus[first : first + self.gpus_per_cell])
        devices = list_devices(torch.device(self.device))
        others = max(1, -(-self.jobs * self.devices // len(devices)))
        return replace(self, device=str(devices[number * self.devices % len(devices)]), sharers=others)

    def open_stages(self, device: torch.device) -> dict[str, Join]:
        """Return what does the part of each stage that is another process's than the leader's.

        Args:
            device: of this process.
        """
        scores = replace(self, device=str(device), devices=1, live=False).open_worker().scores
        features = scores.features
        return {"pretrain": features.backbones.join, "features": features.join, "evaluate": scores.join}

    def rank_device(self, rank: int) -> torch.device:
        """Return the device of one of the processes that make a cell together: of GPUs the next ones."""
        device = torch.device(self.device)
        if device.type != "cuda" or self.devices == 1:
            return device
        return torch.device("cuda", (device.index or 0) + rank)

    def submit(self, executor: str, jobs: Sequence[Sequence[Cell]]) -> Submission:
        """Write down the cells of jobs for other machines, and return what has their command lines."""
        submission = Submission(
            name=name_submission(),
            executor=executor,
            folder=str(Path.cwd()),
            grid=self.grid,
            jobs=[
                [SubmittedCell(key=cell.keys.score, title=cell.title, names=cell.names) for cell in job]
                for job in jobs
            ],
        )
        submission.save(self.results)
        return submission

    def work(self, cells: Sequence[Cell]) -> list[Record]:
        """Return the records of cells; called in a process of its own, which it holds to its threads."""
        return list(replace(self, live=False).open_worker().run(cells))

    def open_worker(self, tell: Tell = tell_nobody, muted: Collection[str] = ()) -> Pipeline:
        """Return a pipeline in a process of its own, which is held to its threads.

        Args:
            tell: is told of each stage and of each call of an observer.
            muted: plugins that must not observe, by their ids.
        """
        logging.basicConfig(format="%(message)s")
        torch.set_num_threads(self.threads)
        share_memory(torch.device(self.device), self.sharers)
        parts = self._open_parts(StageWatch(tell=tell), muted)
        return replace(self, live=self.live and self.jobs == 1, local=parts).build()

    def _open_parts(self, watch: StageWatch | None = None, muted: Collection[str] = ()) -> LocalParts:
        registry = Registry.load(self.blocked)
        datasets = Datasets(registry, self.data_dir, packed=self.packed)
        loggers = open_loggers(registry, self.loggers, self.results)
        return LocalParts(registry, datasets, watch, muted, loggers)


class Pipeline:
    """Turns cells into stored records; what consecutive cells share is kept in memory.

    Args:
        spec: of the run.
        registry: of plugins.
        scores: the uppermost stage.
        observers: of the run.
    """

    def __init__(
        self, spec: PipelineSpec, registry: Registry, scores: ScoreStage, observers: Observers
    ) -> None:
        self.spec, self.registry, self.store = spec, registry, RecordStore(spec.results.absolute())
        self.scores, self.observers, self.name = scores, observers, spec.run
        self._expected: Sequence[Cell] = ()

    def expect(self, cells: Sequence[Cell]) -> None:
        """Be told of cells before they come: several devices evaluate those of one backbone at a time."""
        self._expected = cells

    def run(self, cells: Iterable[Cell]) -> Iterator[Record]:
        """Yield the record of each cell, from the store if it is there, else made and stored.

        A cell that fails does not stop the others, and is tried again by the next run.

        Args:
            cells: those of one backbone one after the other, so that its features are in memory.

        Raises:
            DeviceLost: a cell failed, and every other would in this process.
        """
        keep_freed_pages()
        if isinstance(cells, Sequence):
            self.expect(cells)
        heartbeat = self.scores.watch.heartbeat
        try:
            with heartbeat.shown(self.store.folder, name_worker(self.name)):
                for cell in cells:
                    heartbeat.begin(
                        kind="worker", run=self.name, cell=cell.title, backbone=cell.keys.backbone
                    )
                    record = self.find_record(cell) or self._store(cell, self._make(cell))
                    yield record
                    if record["status"] == "failed" and self.team.is_lost:
                        raise DeviceLost(
                            f"torchrun: a process ended in {cell.title}, and the others with it. Run again "
                            "for the other cells."
                        )
                    if record["status"] == "failed" and is_lost(self.scores.device):
                        raise DeviceLost(
                            f"{self.scores.device}: it does nothing more in this process after an error of "
                            f"{cell.title}. Run again for the other cells."
                        )
            self.team.settle()
        finally:
            self.team.close()
            self.observers.drain()

    @property
    def team(self) -> Team:
        """The processes that make cells together."""
        return self.scores.features.backbones.team

    def find_record(self, cell: Cell) -> Record | None:
        """Return the stored record of a cell that is not to be tried again, if there is one."""
        return find_record(self.store, cell, self.spec.again)

    def find_any(self, cell: Cell) -> Record | None:
        """Return the stored record of a cell, of whatever status, if there is one."""
        return self.store.find(cell.names, cell.keys.score, tell=False)

    def stamp(self, cell: Cell) -> object:
        """Return what is another value once the record of a cell was written anew."""
        return self.store.stamp(cell.names, cell.keys.score)

    def claim(self, cell: Cell) -> AbstractContextManager[object]:
        """Claim the backbone of a cell for a block; what it gives is none where another process has it."""
        return self.scores.artifacts.claims.attempt(f"{cell.keys.backbone}.cells")

    def describe_claim(self, cell: Cell) -> str:
        """Return which backbone another process has claimed, and which process that is."""
        title = cell.training_title
        for sighting in look_around(self.store.folder):
            said = sighting.said
            if said.get("backbone") == cell.keys.backbone and not sighting.is_silent:
                return f"{title}, which process {said.get('pid')} of {said.get('host')} is at"
        return f"{title}, which another process has"

    def record_failure(
        self, cell: Cell, reason: str, error_type: str = "WorkerDied", end: ProcessEnd | None = None
    ) -> Record:
        """Store that a cell failed outside of this process, and return its record.

        Args:
            cell: one whose record is there already keeps it.
            reason: one line.
            error_type: what kind of error it was.
            end: of the process that was at it, if that has ended; what to do about it is then said, too.
        """
        stored = self.find_record(cell)
        if stored:
            return stored
        if end:
            report = report_end(cell, reason, error_type, end)
        else:
            report = FailureReport(stage=UNKNOWN, type=error_type, message=reason, reason=reason)
        return self._store(cell, {**self._blank_record(cell), **failure_fields(cell, report)})

    def _make(self, cell: Cell) -> Record:
        record = self._blank_record(cell)
        if cell.failure:
            return {**record, **failure_fields(cell, cell.failure)}
        if cell.skip:
            return {**record, "status": "skipped", "reason": cell.skip}
        while True:
            try:
                with float32_as("float32"):
                    return {**record, **self.scores.get(cell, self._list_coming(cell)), "status": "ok"}
            except ClaimLost as lost:
                log.warning("%s", lost)  # the other's is waited for
            except StageFailed as failed:
                return {**record, **failure_fields(cell, failed.report)}

    def _list_coming(self, cell: Cell) -> Iterator[Cell]:
        """Yield a cell, and those that are to be made of the same backbone after it, as far as is known."""
        for one in itertools.dropwhile(lambda one: one is not cell, self._expected):
            if one.keys.backbone == cell.keys.backbone and not one.why_not and not self.find_record(one):
                yield one

    def _store(self, cell: Cell, record: Record) -> Record:
        """Write a record, tell observers, and return it; one that another process made meanwhile stays."""
        before = self.find_any(cell)
        if before and is_result(before, cell):
            return before
        if record["status"] == "failed":
            record = count_attempt(record, before, self.spec.retries)
        self.store.write(record)
        if not cell.failure:
            self.store.remove(cell.names, cell.unplanned_key)
        if self.observers.active:
            folder = self.scores.artifacts.folder / cell.keys.backbone
            run = describe_pretraining(cell, self.store.folder, folder)
            self.observers.notify("bench_cell_end", record=record, run=run)
        return record

    def _blank_record(self, cell: Cell) -> Record:
        return blank_record(cell, describe_provenance(self.scores.device, self.registry))


def find_record(
    store: RecordStore, cell: Cell, again: Mapping[str, int] | None = None, *, tell: bool = True
) -> Record | None:
    """Return the stored record of a cell that is not to be tried again, if there is one.

    Args:
        store: of records.
        cell: whose record it is.
        again: as of `PipelineSpec`. One that has failed once more since was tried by this run, or by another.
        tell: warn of a record that is refused.
    """
    record = store.find(cell.names, cell.keys.score, tell=tell)
    if record is None or record["status"] != "failed":
        return record if record and is_result(record, cell) else None
    if again is None or cell.failure:
        return None
    return None if again.get(cell.keys.score) == attempts_of(record) else record


def is_result(record: Record, cell: Cell) -> bool:
    """Tell whether a record has what is to be known of a cell: its scores, or why it cannot have any."""
    return bool(record["status"] == "ok" or (record["status"] == "skipped" and record["reason"] == cell.skip))
