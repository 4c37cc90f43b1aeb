"""Tell a file that was changed or replaced from the one it was, without reading it."""

from __future__ import annotations

import hashlib
import os
import struct

FIELDS = struct.Struct("<QqqQ")  # size, times of change of content and of status in ns, inode
CHANGED = "it changed on the disk after the run was planned"


def file_stamp(path: str | os.PathLike[str]) -> int:
    """Return a number that is another once a file was written to or replaced; 0 where there is none."""
    try:
        return stamp_of(os.stat(path))  # noqa: PTH116 - making a Path takes longer than the call
    except OSError:
        return 0


def stamp_of(status: os.stat_result) -> int:
    """Return the stamp of a file of this status.

    The time of a change of status cannot be set by hand: it tells even what keeps the time of its content.
    """
    fields = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    packed = FIELDS.pack(fields[0], fields[1], fields[2], fields[3] % 2**64)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little", signed=True)
