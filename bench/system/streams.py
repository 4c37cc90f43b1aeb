"""Standard output, for the result of a command alone, and standard error, for all else."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
from typing import TextIO

STDOUT, STDERR = 1, 2  # file descriptors


def take_stdout() -> TextIO:
    """Return a stream to standard output; from now on all else that is written there goes to standard error.

    Where it is the process's own, that holds for libraries in C and for child processes, too.
    """
    out = sys.stdout
    sys.stdout = sys.stderr
    if out is None or not _is_process_wide(out):
        return out
    out.flush()
    kept = os.fdopen(os.dup(STDOUT), "w", encoding=out.encoding, errors=out.errors, closefd=False)
    os.dup2(STDERR, STDOUT)
    return kept


def show_crashes() -> None:
    """Have a crash of this process show on standard error at which line of Python it was."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # standard error is no file, or closed
        faulthandler.enable(all_threads=False)


def _is_process_wide(stream: TextIO) -> bool:
    """Tell whether a stream is that of the process: one of a test or a notebook is not."""
    try:
        os.fstat(STDERR)
        return stream.fileno() == STDOUT
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return False
