"""Runs of the command, each in a process that is forked, and may kill itself at a moment that is named."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner

from bench.cli.main import main
from bench.pretraining.training_run import TrainingRun
from bench.storage import artifacts, durable, records
from bench.system.stage_watch import StageWatch

GRID = [
    "run", "--method", "simclr,supervised", "--backbone", "test_resnet", "--dataset", "digits",
    "--eval", "knn,linear", "--epochs", "2", "--batch-size", "32", "--image-size", "16", "--device", "cpu",
    "--precision", "float32", "--set", "dataset.max_train=96",
]  # fmt: skip
WRITES = ("record", "manifest")  # of what is written, that which a kill can be aimed at
NOTES, STAGES = "notes", "stages"  # files beside a results folder
PATIENCE_S = 300
SIZE = 64  # bytes


@dataclass(frozen=True)
class Aim:
    """When a run kills itself.

    Args:
        stage: in which.
        nth: time that it is in it.
        share: of the stage that is done, by the time that it took an undisturbed run; of a file, how much.
    """

    stage: str
    nth: int
    share: float


@dataclass(frozen=True)
class End:
    """How a run ended.

    Args:
        status: minus the signal, or the exit status.
        stage: that it was at.
        said: on standard error and output.
    """

    status: int
    stage: str
    said: str


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Place:
    """What a run is at, in memory that its parent can read; where it is aimed at, it dies there.

    Args:
        memory: of the name of the stage.
        aim: when to die.
        seconds: of each stage, in an undisturbed run.
        trace: where the stages and their seconds are written.
    """

    memory: mmap.mmap
    aim: Aim | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    trace: Path | None = None
    entered: dict[str, int] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def show(self, stage: str) -> None:
        self.memory[:SIZE] = stage.encode().ljust(SIZE, b"\0")

    def is_aimed_at(self, stage: str) -> bool:
        """Count that a stage is entered, and tell whether it is that in which to die."""
        self.entered[stage] = self.entered.get(stage, 0) + 1
        return self.aim is not None and (self.aim.stage, self.aim.nth) == (stage, self.entered[stage])

    def enter(self, stage: str) -> None:
        self.show(stage)
        if self.is_aimed_at(stage) and self.aim:
            timer = threading.Timer(self.aim.share * self.seconds.get(stage, 0.0), die)
            timer.daemon = True
            timer.start()

    @contextlib.contextmanager
    def stage(self, stage: str, before: str) -> Iterator[None]:
        """Be in a stage for a block."""
        if len(self.entered) == 1:
            self.note_seconds("plan", self.begun)
        self.enter(stage)
        start = time.monotonic()
        try:
            yield
        finally:
            self.show(before)
            self.note_seconds(stage, start)

    def note_seconds(self, stage: str, start: float) -> None:
        if self.trace:
            with self.trace.open("a") as file:
                file.write(f"{stage} {time.monotonic() - start}\n")

    def watch_stages(self) -> None:
        """Have every stage of a cell tell where the run is."""
        entered, stack = StageWatch.entered, ["cell"]

        @contextlib.contextmanager
        def enter(watch: StageWatch, stage: str) -> Iterator[None]:
            stack.append(stage)
            with self.stage(stage, stack[-2]), entered(watch, stage):
                yield
            stack.pop()

        StageWatch.entered = enter  # type: ignore[method-assign]

    def writing(self, kind: str) -> Callable[..., Any]:
        """Return how a file is written, in which the run dies: within, before or after the renaming."""
        whole = durable.written_beside

        @contextlib.contextmanager
        def written_beside(path: Path, content: bytes) -> Iterator[Path]:
            dies = self.is_aimed_at(kind) and self.aim is not None
            if dies and self.aim:
                self.show(kind)
                if self.aim.share < 1 / 3:
                    part = int(3 * self.aim.share * len(content))
                    path.with_name(f".{path.stem}.torn.tmp").write_bytes(content[:part])
                    die()
            with whole(path, content) as temporary:
                if dies and self.aim and self.aim.share < 2 / 3:
                    die()
                yield temporary
                if dies:
                    die()

        return written_beside


def note_makings(notes: Path) -> None:
    """Have every record and artifact that is written be noted, with which file it is."""
    write, locate = records.RecordStore.write, artifacts.ArtifactStore.write

    def write_record(store: Any, record: Any) -> Path:
        path = write(store, record)
        if record["status"] == "ok":  # one that failed is to be made again
            note(notes, path)
        return path

    @contextlib.contextmanager
    def write_artifact(store: Any, key: str) -> Iterator[Path]:
        with locate(store, key) as work:
            yield work
        note(notes, store.folder / key / artifacts.MANIFEST)

    records.RecordStore.write = write_record  # type: ignore[method-assign]
    artifacts.ArtifactStore.write = write_artifact  # type: ignore[method-assign]


def note(notes: Path, path: Path) -> None:
    with contextlib.suppress(OSError), notes.open("a") as file:
        stat = path.stat()
        file.write(f"{path.parent.name}/{path.name} {stat.st_ino} {stat.st_mtime_ns}\n")


def warm_up(folder: Path, evaluators: str) -> None:
    """Load all that a run of the grid loads, so that each that is forked need not, and start no thread."""
    GRID[GRID.index("--eval") + 1] = evaluators
    torch.set_num_threads(1)
    done = CliRunner().invoke(main, [*GRID, "--dry-run", "--results", str(folder)])
    if done.exit_code:
        raise RuntimeError(done.output)


class Run:
    """A run of the grid in a process of its own.

    Args:
        folder: of results.
        aim: when it kills itself.
        seconds: of each stage, in an undisturbed run.
        name: of what it says, among runs in the folder.
        trace: write down how long each stage takes.
        limit: bytes that a file may have; none is any number.
    """

    def __init__(
        self,
        folder: Path,
        *,
        aim: Aim | None = None,
        seconds: Mapping[str, float] | None = None,
        name: str = "",
        trace: bool = False,
        limit: int | None = None,
    ) -> None:
        self.beside = folder.parent / f"{folder.name}-beside"
        self.beside.mkdir(parents=True, exist_ok=True)
        self.log = self.beside / f"said{name}"
        place = Place(mmap.mmap(-1, SIZE), aim, seconds or {}, self.beside / STAGES if trace else None)
        self.memory, self.process = place.memory, os.fork()
        if not self.process:
            os._exit(self._work(folder, place, limit))

    def _work(self, folder: Path, place: Place, limit: int | None) -> int:
        file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        TrainingRun.__init__.__kwdefaults__["checkpoint_every_s"] = 0.0  # as if each step were a minute
        note_makings(self.beside / NOTES)
        durable_write = place.writing("manifest")
        records.written_beside = place.writing("record")
        durable.written_beside = durable_write
        place.watch_stages()
        if limit is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            place.enter("plan")
            main([*GRID, "--results", str(folder)], prog_name="bench")
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            return int(end.code or 0)
        except BaseException as error:  # noqa: BLE001 - the run is judged by what it says
            sys.stderr.write(f"Traceback of {error!r}\n")
            sys.stderr.flush()
            return 99
        return 0

    def kill(self) -> None:
        os.kill(self.process, signal.SIGKILL)

    def wait(self) -> End:
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        stage = bytes(self.memory[:SIZE]).rstrip(b"\0").decode()
        return End(status, stage, self.log.read_text(errors="replace"))
