"""What a worker process begins with: its share of the processor, and an end when its parent ends.

This module imports nothing that starts threads, so that a process can limit them first.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Sequence

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
VISIBLE = "CUDA_VISIBLE_DEVICES"  # ROCm reads it, too


def begin_worker(threads: int, gpus: Sequence[str] = ()) -> None:
    """Limit this process to its threads and its GPUs, and end it with the process that started it."""
    limit_threads(threads)
    if gpus:
        limit_gpus(gpus)
    end_with_parent()


def limit_threads(count: int) -> None:
    """Let numpy, scipy and torch have `count` threads each: they read this when they are loaded."""
    for name in VARIABLES:
        os.environ[name] = str(count)


def limit_gpus(gpus: Sequence[str]) -> None:
    """Let this process see these GPUs alone: CUDA reads it when it is first used.

    Args:
        gpus: numbers among those that the process was given, or names as `nvidia-smi -L` has them.
    """
    given = [name for name in os.environ.get(VISIBLE, "").split(",") if name]
    names = [given[int(gpu)] if gpu.isdecimal() and int(gpu) < len(given) else gpu for gpu in gpus]
    os.environ[VISIBLE] = ",".join(names)


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
