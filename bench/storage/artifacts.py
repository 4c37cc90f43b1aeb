"""Keep artifacts (checkpoints, features, predictions) by key: made once, whole or not at all.

An artifact is a folder `results/artifacts/<key>/` with a manifest of its key and its files' sizes and
digests, written last. It exists if its manifest says so, whatever other files are there. It is made in
`results/artifacts/.work/<key>/` and renamed, so a process that dies leaves no artifact; what it left
in its work folder (a checkpoint) serves the next process that makes the same key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

MANIFEST = "manifest.json"
CHUNK_BYTES = 1 << 20  # of one read

log = logging.getLogger("bench")


class ArtifactStore:
    """The artifacts below a folder.

    Args:
        folder: the results folder; artifacts are below it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "artifacts"

    def has(self, key: str) -> bool:
        """Tell whether the artifact is there, by its manifest and its files' sizes: quick, for planning."""
        return _sizes_match(self.folder / key, key)

    def find(self, key: str) -> Path | None:
        """Return the artifact's folder if it is there and every digest in its manifest is right.

        A damaged one, or one of another key, is removed with a warning, so that it is made again.
        """
        folder = self.folder / key
        if not folder.exists():
            return None
        if _sizes_match(folder, key) and _digests_match(folder, key):
            return folder
        log.warning("%s: the artifact is damaged. It is made again.", folder)
        shutil.rmtree(folder)
        return None

    @contextlib.contextmanager
    def write(self, key: str) -> Iterator[Path]:
        """Give a folder to write the artifact into; when the block ends without an error, it is the artifact.

        It replaces one that is there. Only one process at a time may write an artifact: hold `locked`,
        and look with `find` before writing.
        """
        work, folder = self.folder / ".work" / key, self.folder / key
        work.mkdir(parents=True, exist_ok=True)
        yield work
        _write_manifest(work, key)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(work, folder)

    @contextlib.contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Keep other processes from `key` for the length of the block."""
        locks = self.folder / ".work"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{key}.lock"):
            yield


def _write_manifest(folder: Path, key: str) -> None:
    # a manifest may be there already, from a process that died
    paths = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    files = {path.name: {"bytes": path.stat().st_size, "sha256": _hash(path)} for path in paths}
    with (folder / MANIFEST).open("w") as file:
        json.dump({"key": key, "files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _read_manifest(folder: Path, key: str) -> dict[str, dict[str, int | str]] | None:
    """Return what the manifest says of each file; none if there is none, it is damaged or of another key.

    One that was written before manifests had keys is believed.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files, own = manifest["files"], manifest.get("key", key)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if isinstance(files, dict) and own == key else None


def _sizes_match(folder: Path, key: str) -> bool:
    files = _read_manifest(folder, key)
    if files is None:
        return False
    try:
        return all((folder / name).stat().st_size == entry["bytes"] for name, entry in files.items())
    except (OSError, KeyError, TypeError):
        return False


def _digests_match(folder: Path, key: str) -> bool:
    files = _read_manifest(folder, key) or {}
    return all(_hash(folder / name) == entry.get("sha256") for name, entry in files.items())


def _hash(path: Path) -> str:
    result = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            result.update(chunk)
    return result.hexdigest()
