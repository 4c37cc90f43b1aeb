"""A program at a terminal, whose keys a test presses."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PATIENCE_S = 60.0
OWN_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A program at a terminal, by its other end."""

    def __init__(self, end: int) -> None:
        self.end, self.said = end, ""

    def send(self, keys: str) -> None:
        """Press keys."""
        os.write(self.end, keys.encode())

    def ask(self, keys: str, answer: str) -> str:
        """Press keys, wait until what is said matches `answer`, and return its group."""
        self.said = ""
        self.send(keys)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if select.select([self.end], [], [], 0.1)[0]:
                self.said += os.read(self.end, 1 << 16).decode(errors="replace")
                if found := re.search(answer, self.said, re.DOTALL):
                    return found[1]
        raise AssertionError(f"no {answer!r} after {keys!r}, but {self.said!r}")


@contextlib.contextmanager
def at_terminal(words: Sequence[str], folder: Path, env: dict[str, str]) -> Iterator[Terminal]:
    """Run a program at a terminal of its own, and end it with the block.

    Args:
        words: of its command line.
        folder: where it runs.
        env: its environment.
    """
    ours, its = pty.openpty()
    started = [sys.executable, "-c", OWN_TERMINAL, *words]
    with subprocess.Popen(started, stdin=its, stdout=its, stderr=its, cwd=folder, env=env) as process:
        os.close(its)
        try:
            yield Terminal(ours)
        finally:
            process.kill()
            os.close(ours)
