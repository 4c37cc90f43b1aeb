"""Tell what is there, in folders that may be another user's.

The methods of `Path` raise for a folder that is closed to this user, and for a name too long for the file
system; these take what nobody here can see for what is not there.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


def is_there(path: Path) -> bool:
    """Tell whether there is anything at a path, as far as this user may know."""
    return os.path.exists(path)  # noqa: PTH110


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder at a path, as far as this user may know."""
    return os.path.isdir(path)  # noqa: PTH112


def list_folders(path: Path) -> list[Path]:
    """Return the folders in a folder, sorted; none where it cannot be listed."""
    with contextlib.suppress(OSError, ValueError), os.scandir(path) as entries:  # or a zero in its name
        return sorted(path / entry.name for entry in entries if _is_folder(entry))
    return []


def list_below(path: Path) -> Iterator[Path]:
    """Yield all that is below a folder, but for what is in folders that cannot be listed."""
    for folder, folders, files in os.walk(path):
        yield from (Path(folder, name) for name in (*folders, *files))


def why_unlisted(path: Path) -> str:
    """Return why a folder that is there cannot be listed, or nothing."""
    try:
        with os.scandir(path):
            return ""
    except OSError as error:
        return "" if is_absence(error) else str(error.strerror)


def is_absence(error: OSError) -> bool:
    """Tell whether an error says that something is not there, and not that it may not be seen."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
