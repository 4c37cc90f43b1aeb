"""What a worker process begins with: its share of the processor, and an end when its parent ends.

This module imports nothing that starts threads, so that a process can limit them first.
"""

from __future__ import annotations

import multiprocessing
import os
import threading

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def begin_worker(threads: int) -> None:
    """Limit this process to its threads, and end it with the process that started it."""
    limit_threads(threads)
    end_with_parent()


def limit_threads(count: int) -> None:
    """Let numpy, scipy and torch have `count` threads each: they read this when they are loaded."""
    for name in VARIABLES:
        os.environ[name] = str(count)


def end_with_parent(_number: int = 0) -> None:
    """End this process as soon as the one that started it ends.

    Otherwise, when that one is killed, workers of concurrent.futures and of torch's DataLoader wait for
    ever, with their memory and their GPU.

    Args:
        _number: of the worker, which a DataLoader passes; it changes nothing.
    """
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
