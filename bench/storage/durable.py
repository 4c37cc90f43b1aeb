"""Write files that are there whole after a power cut, or as they were before."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

MORE_ROOM = "Free some space, or choose another folder with --results."


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file's content in one step: until then, and where it fails, the old one is there whole."""
    with written_beside(path, content) as temporary:
        temporary.replace(path)


@contextlib.contextmanager
def written_beside(path: Path, content: bytes) -> Iterator[Path]:
    """Write a file beside `path`, safe on the disk, to be renamed to it within the block.

    The folder is not synced as well: what a power cut undoes of the renaming is made again.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk, so that a renaming after it cannot come before it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def share(path: Path) -> None:
    """Let those read and write a file who may read and write its folder: safetensors lets its owner alone."""
    mode = path.parent.stat().st_mode & 0o666
    if path.stat().st_mode & 0o666 != mode:
        with contextlib.suppress(PermissionError):  # of another user, who has shared it as they will
            path.chmod(mode)
