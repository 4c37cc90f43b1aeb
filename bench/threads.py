"""Hold a process to its share of the processor, before what has threads is loaded."""

from __future__ import annotations

import os

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def limit_threads(count: int) -> None:
    """Let numpy, scipy and torch have `count` threads each: they read this when they are loaded.

    This module imports none of them, so that a process can start with it.
    """
    for name in VARIABLES:
        os.environ[name] = str(count)
