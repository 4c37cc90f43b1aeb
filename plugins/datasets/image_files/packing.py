"""Decode image files into one file, in worker processes: none of them holds more than an image."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from bench.api import BadData, end_with_parent

from .decoding import MOST_PIXELS, Failures, decode_each, quiet

CHUNK = 128  # images a task
LINE_EVERY_S = 15.0  # where there is no terminal to draw a bar on


@dataclass(frozen=True)
class Task:
    """Some of the images, and where they belong.

    Args:
        out: the file.
        start: index of the first one in it.
        paths: the images.
        channels: 1 or 3.
        size: side in pixels.
        most: pixels of an image that is decoded.
    """

    out: Path
    start: int
    paths: Sequence[Path]
    channels: int
    size: int
    most: int = MOST_PIXELS

    def __len__(self) -> int:
        return len(self.paths)


def decode_into(
    out: Path,
    paths: Sequence[Path],
    channels: int,
    size: int,
    workers: int,
    what: str,
    most: int = MOST_PIXELS,
) -> Failures:
    """Decode all images into a file, and return what failed.

    Args:
        out: of n * channels * size * size bytes.
        paths: n files; a slice of them is cheap to send to a process.
        channels: 1 or 3.
        size: side in pixels.
        workers: processes; with one, it is this process that decodes.
        what: is decoded: how progress and errors name it.
        most: pixels of an image that is decoded.

    Raises:
        OSError: the file cannot be written to.
        BadData: a process was killed.
    """
    tasks = [
        Task(out, start, paths[start : start + CHUNK], channels, size, most)
        for start in range(0, len(paths), CHUNK)
    ]
    failures: Failures = {}
    try:
        with _run_tasks(tasks, min(workers, len(tasks))) as results:
            for some in _show_progress(results, tasks, len(paths), what):
                failures |= some
    except BrokenProcessPool as error:
        raise BadData(f"{what}: a process that decodes was killed. Is there memory enough?") from error
    return failures


@contextlib.contextmanager
def _run_tasks(tasks: Sequence[Task], workers: int) -> Iterator[Iterator[Failures]]:
    """Give what failed of each task, in order, as tasks end."""
    if workers < 2:
        yield map(work, tasks)
        return
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads or a GPU may hang
    pool = ProcessPoolExecutor(workers, spawn, initializer=end_with_parent)
    try:
        yield pool.map(work, tasks)
    finally:
        pool.shutdown(cancel_futures=True)


def work(task: Task) -> Failures:
    """Decode some images into their places, and return what failed."""
    failures: Failures = {}
    with quiet(), task.out.open("rb+") as file:
        file.seek(task.start * task.channels * task.size**2)
        decoded = decode_each(task.paths, task.channels, task.size, most=task.most)
        for i, pixels in enumerate(decoded, task.start):
            if isinstance(pixels, str):
                failures[i] = pixels
                file.seek(task.channels * task.size**2, 1)
            else:
                file.write(pixels.tobytes())
    return failures


def _show_progress(
    results: Iterable[Failures], tasks: Sequence[Task], total: int, what: str
) -> Iterator[Failures]:
    """Pass on what failed, and show the progress: a bar on a terminal, lines elsewhere."""
    live, done, since = sys.stderr.isatty(), 0, time.monotonic()
    with tqdm(total=total, desc=what, unit=" images", leave=False, disable=not live) as bar:
        for failures, task in zip(results, tasks, strict=True):
            yield failures
            bar.update(len(task))
            done += len(task)
            if not live and time.monotonic() - since > LINE_EVERY_S:
                since = time.monotonic()
                sys.stderr.write(f"{what}: {done:,} of {total:,} images decoded\n")
