"""Read files that may be a stranger's: a pipe is not waited for, and what has no end is not read."""

from __future__ import annotations

import errno
import math
import os
import stat
from pathlib import Path

USUAL_MOST = 1 << 24  # bytes: 16 MB, of what bench writes to be read at once


def is_file(path: Path, most: float = math.inf) -> bool:
    """Tell whether a path is a file of at most so many bytes, and no pipe, device or folder.

    Raises:
        OSError: nothing is there, or it may not be known what.
    """
    status = path.stat()
    return stat.S_ISREG(status.st_mode) and status.st_size <= most


def read_bounded(path: Path, most: int = USUAL_MOST) -> str:
    """Return the text of a file.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read, is larger, or is no file.
        ValueError: it is not UTF-8.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        code = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(code, os.strerror(code) if code == errno.EISDIR else "Not a file", str(path))
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content.decode("utf-8")
