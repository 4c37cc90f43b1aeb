"""Ask the same in another process, where hash() is another function and it is another day."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from bench.system.processes import begin_worker

SEED = "PYTHONHASHSEED"
DAY = 86_400.0  # seconds


def ask_elsewhere(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a function at the top of a module returns in another process, which stays for the next one.

    Raises:
        AssertionError: the process died, or the class cannot be found there.
    """
    try:
        pickle.dumps(args)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"{error}: define it at the top of a module, where workers find it") from None
    try:
        pool = _start()
        pool.submit(_enter, str(Path.cwd()), list(sys.path)).result()
        return pool.submit(_call, function, *args).result()
    except BrokenProcessPool:
        _start.cache_clear()
        raise AssertionError("the process that was asked died") from None


@functools.cache
def _start() -> ProcessPoolExecutor:
    """Start the process, with a seed of its own for hash() even where one is set for all."""
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, spawn, begin_worker, (torch.get_num_threads(),))
    given = os.environ.get(SEED)
    os.environ[SEED] = "1" if given != "1" else "2"
    try:
        pool.submit(int).result()
    finally:
        os.environ.pop(SEED)
        if given is not None:
            os.environ[SEED] = given
    return pool


def _enter(folder: str, path: list[str]) -> None:
    """Be where the asking process is now, and find modules where it does."""
    os.chdir(folder)
    sys.path[:] = path


def _call(function: Callable[..., Any], *args: Any) -> Any:
    now, now_ns = time.time, time.time_ns
    with (
        patch("time.time", lambda: now() + DAY),
        patch("time.time_ns", lambda: now_ns() + int(DAY * 1e9)),
    ):
        return function(*args)
