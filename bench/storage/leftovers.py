"""What a results folder can do without: artifacts that no record needs, and what processes have left."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError
from bench.storage.artifacts import ArtifactStore
from bench.storage.presence import is_folder, list_below, list_folders, why_unlisted
from bench.storage.records import STALE_S, RecordStore
from bench.storage.set_aside import is_set_aside
from bench.storage.verifying import describe_unlisted, list_artifact_folders, list_needed


@dataclass(frozen=True)
class Leftover:
    """Something that can go.

    Args:
        path: of a file or a folder.
        size: in bytes, of all that is in it.
        why: in words.
        key: of the artifact that it is or was to be; empty where it is none.
    """

    path: Path
    size: int
    why: str
    key: str = ""


@dataclass(frozen=True)
class Leftovers:
    """All that can go.

    Args:
        found: in the order of the folders.
        kept: why something else stays, a line each.
    """

    found: tuple[Leftover, ...]
    kept: tuple[str, ...]


def find_leftovers(folder: Path, *, is_quiet: bool) -> Leftovers:
    """Return what a results folder can do without.

    Args:
        folder: of results.
        is_quiet: no process works in it: what a record will need is not there before the record, and a
            checkpoint may be what a process goes on from.

    Raises:
        UsageError: there is no such folder.
    """
    if not is_folder(folder):
        raise UsageError(f"{folder}: there is no such folder. Name a results folder with --results.")
    artifacts, needed, refused = ArtifactStore(folder), set[str](), 0
    for record in RecordStore(folder).inspect():
        if isinstance(record, UsageError):
            refused += 1
        else:
            needed.update(list_needed(record))
    found, kept = list(_list_temporary(folder)), []
    found += _list_aside(artifacts)
    if why := why_unlisted(artifacts.folder):
        kept.append(describe_unlisted(artifacts, why))
    if not is_quiet:
        kept.append(
            "a process works here: work folders and artifacts without a record stay until it has ended"
        )
    else:
        found += _list_work(artifacts)
        if refused:
            kept.append(
                f"{refused} records cannot be read, and what they need is not known: artifacts stay. "
                "`bench verify` names them"
            )
        else:
            found += _list_unneeded(artifacts, needed)
    return Leftovers(tuple(sorted(found, key=lambda one: str(one.path))), tuple(kept))


def remove_leftover(artifacts: ArtifactStore, leftover: Leftover) -> bool:
    """Remove what can go, but not while another process is at its key; tell whether it is gone.

    Args:
        artifacts: of the results folder.
        leftover: as `find_leftovers` returned it.
    """
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):  # of a lock that is another user's
        if leftover.key and not stack.enter_context(artifacts.claims.attempt(leftover.key)):
            return False
        if is_folder(leftover.path) and not leftover.path.is_symlink():
            shutil.rmtree(leftover.path, ignore_errors=True)
        else:
            leftover.path.unlink()
    return not os.path.lexists(leftover.path)


def measure_size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    size = 0
    for one in (path,) if os.path.islink(path) else (path, *list_below(path)):  # noqa: PTH114
        with contextlib.suppress(OSError):  # it is gone
            status = one.lstat()
            size += 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return size


def _list_unneeded(artifacts: ArtifactStore, needed: set[str]) -> Iterator[Leftover]:
    for path in list_artifact_folders(artifacts):
        if path.name not in needed and not artifacts.claims.is_held(path.name):
            yield Leftover(path, measure_size(path), "no record needs it", path.name)


def _list_aside(artifacts: ArtifactStore) -> Iterator[Leftover]:
    with contextlib.suppress(OSError):
        for path in artifacts.folder.iterdir():
            if is_set_aside(path):
                yield Leftover(path, measure_size(path), "it was set aside")


def _list_work(artifacts: ArtifactStore) -> Iterator[Leftover]:
    """Yield the work folders whose process has ended: nobody has a claim on their key."""
    for path in list_folders(artifacts.claims.folder):
        key = path.name.partition(".")[0]
        if not key or artifacts.claims.is_held(key):
            continue
        made = artifacts.has(key)
        why = "what it was for is made" if made else "a process that ended left it: a run would go on from it"
        yield Leftover(path, measure_size(path), why, key)


def _list_temporary(folder: Path) -> Iterator[Leftover]:
    """Yield the temporary files of writers that were killed; a record is written in milliseconds."""
    for path in list_below(folder / "records"):
        if not (path.name.startswith(".") and path.name.endswith(".tmp")):
            continue
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE_S:
                yield Leftover(path, measure_size(path), "its writer was killed")
