"""Tell in a file what a process does now, so that any shell that sees the folder can look.

`RESULTS/running/NAME.json` is written anew every few seconds by a thread of the process, and removed at the
end of its work. What is killed leaves its file, which grows old: that, and no process number, is how a reader
knows, as the process may be one of another machine. The training writes nothing: it leaves a value in memory.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.bounded_files import read_bounded
from bench.bounds import is_number

FOLDER = "running"
BEAT_S = 3.0  # our choice: often enough to be watched, rare enough for a shared folder
MOST_PER_S = 100  # files written by all processes of a folder together: of many, each beats more rarely
COUNT_EACH = 10  # beats between counts of them
SOON_S = 0.05  # for work to begin
SILENT_S = 30.0  # ten beats missed: the process is gone, stopped or cut off
MISSED = SILENT_S / BEAT_S
ENDING = ".json"
LARGEST_FILE = 1 << 20  # bytes: what a process does takes some hundred


class Heartbeat:
    """What a process does now; while it is `shown`, a file says so."""

    def __init__(self) -> None:
        self._work: Mapping[str, Any] = {}
        self._detail: Mapping[str, Any] = {}
        self._stages: tuple[str, ...] = ()
        self._began = self._entered = self._told = time.monotonic()
        self._pause = BEAT_S

    def begin(self, **work: Any) -> None:
        """Say what is begun, in place of all that was said before."""
        self._work, self._stages, self._detail = work, (), {}
        self._entered = self._told = time.monotonic()

    def enter(self, stage: str) -> None:
        """Say that a stage of the work is entered."""
        self._stages, self._detail = (*self._stages, stage), {}
        self._entered = self._told = time.monotonic()

    def leave(self) -> None:
        """Say that the innermost stage is left."""
        self._stages, self._detail = self._stages[:-1], {}
        self._entered = self._told = time.monotonic()

    def tell(self, **detail: Any) -> None:
        """Say how far the stage is, in place of what was told before; cheap enough for every step."""
        self._detail, self._told = detail, time.monotonic()

    @contextlib.contextmanager
    def shown(self, results: Path, name: str) -> Iterator[None]:
        """Keep the file of the process for the length of a block. What cannot be written is left out.

        Args:
            results: the folder of results.
            name: of the file; no two processes share one.
        """
        path, over = results / FOLDER / f"{name}{ENDING}", threading.Event()
        self._began = time.monotonic()
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        thread = threading.Thread(target=self._beat, args=(path, over), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(BEAT_S)  # no longer: a folder on another machine may not answer
            _remove(path)

    def _beat(self, path: Path, over: threading.Event) -> None:
        temporary = path.with_name(f".{path.name}.tmp")
        while not self._work and not over.wait(SOON_S):
            pass  # nothing is begun yet
        for number in itertools.count():
            if over.is_set():
                return
            if number % COUNT_EACH == 0:
                self._pause = max(BEAT_S, len(_list(path.parent)) / MOST_PER_S)
            with contextlib.suppress(OSError):
                path.parent.mkdir(exist_ok=True)  # someone may have tidied up
                temporary.write_text(json.dumps(self._describe()) + "\n")
                temporary.replace(path)
            over.wait(self._pause)

    def _describe(self) -> dict[str, Any]:
        now = time.monotonic()
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "beat_s": self._pause,
            "seconds": round(now - self._began, 1),
            **self._work,
            "stage": self._stages[-1] if self._stages else "",
            "stage_seconds": round(now - self._entered, 1),
            "quiet_seconds": round(now - self._told, 1),
            **self._detail,
        }


@dataclass(frozen=True)
class Sighting:
    """What a file says of a process.

    Args:
        name: of the file.
        said: what it says.
        age_s: since it was written, by the clock of the file system.
    """

    name: str
    said: Mapping[str, Any]
    age_s: float

    @property
    def is_silent(self) -> bool:
        """Whether the process gave no sign of life for so long that it is taken for dead."""
        return self.age_s > _silence_of(self.said)


def name_run() -> str:
    """Return a name for a run that no other has, on any machine."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:60]
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


def name_worker(run: str) -> str:
    """Return a name for one of the workers of a run."""
    return f"{run}.{secrets.token_hex(4)}"


def look_around(results: Path) -> list[Sighting]:
    """Return what the files of a results folder say, by their names; nothing of what is no such file."""
    folder = results / FOLDER
    paths = sorted(path for path in _list(folder) if path.suffix == ENDING and not path.name.startswith("."))
    if not paths:
        return []
    now, sightings = _clock_of(folder), []
    for path in paths:
        with contextlib.suppress(
            OSError, ValueError, RecursionError
        ):  # it ended meanwhile, or is no such file
            age = max(0.0, now - path.stat().st_mtime)
            said = json.loads(read_bounded(path, LARGEST_FILE))
            if isinstance(said, dict) and isinstance(said.get("run"), str):
                sightings.append(Sighting(path.name.removesuffix(ENDING), said, age))
    return sightings


def forget_silent(results: Path) -> None:
    """Remove the files of processes that are taken for dead, and of those that were here and have ended."""
    folder = results / FOLDER
    paths = [path for path in _list(folder) if path.name.removesuffix(".tmp").endswith(ENDING)]
    now = _clock_of(folder) if paths else 0.0
    for path in paths:
        with contextlib.suppress(OSError):
            said = _read(path)
            if now - path.stat().st_mtime > _silence_of(said) or _has_ended(said):
                path.unlink()


def _silence_of(said: Mapping[str, Any]) -> float:
    """Return the seconds after which a process is taken for dead, by how often it says that it beats."""
    beat = said.get("beat_s")
    return MISSED * max(BEAT_S, float(beat)) if is_number(beat) else SILENT_S


def _read(path: Path) -> Mapping[str, Any]:
    """Return what a file says; nothing where it is no such file."""
    try:
        said = json.loads(read_bounded(path, LARGEST_FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _has_ended(said: Mapping[str, Any]) -> bool:
    """Tell whether a process that a file is of was one of this machine, and is no more.

    Another machine may have the same name, as containers do: a process that lives writes its file again.
    """
    host, pid = said.get("host"), said.get("pid")
    if host != socket.gethostname() or type(pid) is not int or pid <= 0 or not hasattr(os, "fork"):
        return False  # Windows takes a signal of 0 for another one
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, ProcessLookupError)
    return False


def forget_workers(results: Path, run: str) -> None:
    """Remove the files of workers of a run that is over, which some that were killed have left."""
    for path in _list(results / FOLDER):
        if path.name.lstrip(".").startswith(f"{run}."):
            _remove(path)


def _list(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _clock_of(folder: Path) -> float:
    """Return the time of the file system, which is that of another machine where the folder is shared."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # we may only read
        return time.time()


def _remove(path: Path) -> None:
    """Remove a file, and its folder where it was the last."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()
