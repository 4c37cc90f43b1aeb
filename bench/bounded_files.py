"""Read files that may be a stranger's: a pipe is not waited for, and what has no end is not read."""

from __future__ import annotations

import errno
import math
import os
import stat
from pathlib import Path

USUAL_MOST = 1 << 24  # bytes: 16 MB, of what bench writes to be read at once
USUAL_SIZE = 1 << 16  # bytes; a record with the recall of 1,000 classes has 20,000
READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # what may be no file at all is not waited for


def is_file(path: Path, most: float = math.inf, least: float = 0) -> bool:
    """Tell whether a path is a file of a size between two, in bytes, and no pipe, device or folder.

    Raises:
        OSError: nothing is there, or it may not be known what.
    """
    status = path.stat()
    return stat.S_ISREG(status.st_mode) and least <= status.st_size <= most


def read_bounded(path: Path, most: int = USUAL_MOST) -> str:
    """Return the text of a file.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read, is larger, or is no file.
        ValueError: it is not UTF-8.
    """
    file = os.open(path, READ_ONLY)
    try:
        mode = os.fstat(file).st_mode
        if not stat.S_ISREG(mode):
            code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            raise OSError(code, os.strerror(code) if code == errno.EISDIR else "Not a file", str(path))
        return read_all(file, most, str(path)).decode("utf-8")
    finally:
        os.close(file)


def read_all(file: int, most: int, name: str) -> bytes:
    """Return what is in a file that is open, of any size and kind: a link may lead to what has no end.

    Args:
        file: its descriptor.
        most: bytes that it may have.
        name: of it, for an error.

    Raises:
        OSError: it is larger, or cannot be read.
    """
    parts, size = [], 0
    while part := os.read(file, USUAL_SIZE):  # a read may end before the file
        parts.append(part)
        size += len(part)
        if size > most:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), name)
    return b"".join(parts)
