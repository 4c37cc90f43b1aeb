"""What the system says of a disk, whoever passes it on."""

from __future__ import annotations

import errno
import os
import re

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # it is full, or a quota is used up
NUMBER = re.compile(r"\(os error (\d+)\)")  # as what is written in Rust ends its errors: safetensors


def find_os_error(error: BaseException) -> OSError | None:
    """Return the error of the system that an error is, or is about; none if it is another one."""
    if isinstance(error, OSError):
        return error
    number = NUMBER.search(str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else None


def why_no_room(error: BaseException) -> str:
    """Return what the system says of a disk that is full, or of a quota; empty if it is another error."""
    fault = find_os_error(error)
    return str(fault.strerror) if fault and fault.errno in NO_ROOM else ""
