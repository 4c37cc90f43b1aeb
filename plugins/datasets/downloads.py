"""Where published archives are unpacked, and what to say when they could not be fetched."""

from __future__ import annotations

import contextlib
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from bench.api import BadData, DataLocation

# no network, another MD5, cut short, or an archive that would write elsewhere
UNFETCHED = (RuntimeError, OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


@contextlib.contextmanager
def unpacking() -> Iterator[None]:
    """Have torchvision unpack archives into their folder alone, whatever they name, and print elsewhere.

    It compares their MD5 first, which says that they are the published ones. That MD5 is no proof any more.
    """
    archive, name = tarfile.TarFile, "extraction_filter"
    before = vars(archive).get(name)
    setattr(archive, name, staticmethod(tarfile.data_filter))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        setattr(archive, name, before)


def archive_parent(location: DataLocation, *inner: str) -> Path:
    """Return the folder that an archive is unpacked in, which may be given by a folder of the archive.

    Args:
        location: where the files are.
        inner: the archive's folder, and the one below it; each may be the root that is given.
    """
    root = (location.root or location.data_dir).expanduser()
    for depth in range(len(inner), 0, -1):
        if root.parts[-depth:] == inner[:depth]:
            return root.parents[depth - 1]
    return root


def failed_download(name: str, root: Path, error: Exception, files: str) -> BadData:
    """Return the error about a download that failed, in one line.

    Args:
        name: the dataset's.
        root: where it was to go.
        error: what was raised.
        files: what can be put there by hand.
    """
    reason = " ".join(str(error).split())
    return BadData(
        f"{name}: the download to {root} failed ({reason}). Try again, or put {files} there by hand."
    )
