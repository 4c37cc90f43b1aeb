"""Artifacts (checkpoints, features, predictions) by key: made once, whole or not at all.

An artifact is a folder `results/artifacts/<key>/` with a manifest of its files' sizes and digests,
written last. The manifest decides whether it is there, never the presence of a file. It is made in
`results/artifacts/.work/<key>/` and renamed, so a process that dies leaves no artifact; what it left
in its work folder (a checkpoint) serves the next one that makes the same key.
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
CHUNK = 1 << 20  # bytes a read

log = logging.getLogger("bench")


class ArtifactStore:
    """The artifacts below a folder.

    Args:
        folder: of the results; artifacts are below it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "artifacts"

    def has(self, key: str) -> bool:
        """Tell whether the artifact is there, by its manifest and its files' sizes: for planning."""
        return _sizes_match(self.folder / key)

    def find(self, key: str) -> Path | None:
        """Return the artifact's folder, if it is there and every digest in its manifest is right.

        A damaged one is removed with a warning: it will be made again.
        """
        folder = self.folder / key
        if not folder.exists():
            return None
        if _sizes_match(folder) and _digests_match(folder):
            return folder
        log.warning("%s: the artifact is damaged. It is made again.", folder)
        shutil.rmtree(folder)
        return None

    @contextlib.contextmanager
    def write(self, key: str) -> Iterator[Path]:
        """Give a folder to write the artifact into, and keep what is in it when the block ends well.

        It takes the place of one that is there. One process at a time makes an artifact: the others
        are held off by `alone`, and should `find` it then.
        """
        work, folder = self.folder / ".work" / key, self.folder / key
        work.mkdir(parents=True, exist_ok=True)
        yield work
        _write_manifest(work)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(work, folder)

    @contextlib.contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Hold other processes off `key` for the length of the block."""
        locks = self.folder / ".work"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{key}.lock"):
            yield


def _write_manifest(folder: Path) -> None:
    written = sorted(p for p in folder.iterdir() if p.name != MANIFEST)  # one may be left by a dead process
    files = {p.name: {"bytes": p.stat().st_size, "sha256": _sha256(p)} for p in written}
    with (folder / MANIFEST).open("w") as file:
        json.dump({"files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _manifest(folder: Path) -> dict[str, dict[str, int | str]] | None:
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if isinstance(files, dict) else None


def _sizes_match(folder: Path) -> bool:
    files = _manifest(folder)
    if files is None:
        return False
    try:
        return all((folder / name).stat().st_size == said["bytes"] for name, said in files.items())
    except (OSError, KeyError, TypeError):
        return False


def _digests_match(folder: Path) -> bool:
    files = _manifest(folder) or {}
    return all(_sha256(folder / name) == said.get("sha256") for name, said in files.items())


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()
