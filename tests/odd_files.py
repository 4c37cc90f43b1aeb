"""Make what is no file where one is looked for: a reader would wait for it, or never come to its end."""

from __future__ import annotations

import os
from pathlib import Path

KINDS = ("a pipe", "a device", "a folder", "an enormous file", "a link to itself")
ENORMOUS = 1 << 40  # bytes, of which none is on the disk


def make_odd(path: Path, kind: str) -> Path:
    """Make one of `KINDS` at a path, and return that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "an enormous file":
        with path.open("wb") as file:
            file.truncate(ENORMOUS)
    else:
        path.symlink_to({"a device": "/dev/zero", "a link to itself": path}[kind])
    return path
