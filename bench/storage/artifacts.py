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
import math
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.bounded_files import is_file, read_bounded
from bench.errors import BadData
from bench.plain_text import spell_out_line
from bench.storage.artifact_files import METRICS
from bench.storage.claims import Claim, Claims, adopt_work, forget_work
from bench.storage.durable import share, sync, write_durably
from bench.storage.presence import is_folder, is_there
from bench.storage.set_aside import is_set_aside, set_aside

MANIFEST = "manifest.json"
LOGS = (METRICS,)  # files that nothing rests on
SHOWN = 60  # letters of what a manifest says, in a message
CHUNK_BYTES = 1 << 20  # of one read

log = logging.getLogger("bench")


class ArtifactStore:
    """The artifacts below a folder.

    Args:
        folder: the results folder; artifacts are below it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "artifacts"
        self.claims = Claims(self.folder / ".work")
        self._held: dict[str, Claim] = {}

    def has(self, key: str) -> bool:
        """Tell whether the artifact is there, by its manifest and its files' sizes: quick, for planning."""
        return not _find_damage(self.folder / key, key, but=LOGS)

    def find(self, key: str) -> Path | None:
        """Return the artifact's folder if it is there, of this key, and every digest is right.

        Another key's, and a damaged one, is set aside with a warning, so that it is made again. Of one whose
        log is damaged, the log alone is: no number rests on it, and hours may have gone into the rest.

        Raises:
            BadData: it cannot be read, for it is another user's: nobody can tell whether it is whole.
        """
        folder = self.folder / key
        if not is_there(folder):
            return None
        damage = _find_damage(folder, key, digests=True, but=LOGS)
        if not damage:
            self._part_with_damaged_logs(folder, key)
            return folder
        _refuse_closed(folder)
        target = set_aside(folder)
        log.warning("%s: %s. It is set aside as %s, and made again.", folder, damage, target.name)
        return None

    def _part_with_damaged_logs(self, folder: Path, key: str) -> None:
        """Set aside logs of an artifact that are not what its manifest says; it then names them no more."""
        manifest = _read_manifest(folder)
        bad = [name for name in LOGS if manifest and not _is_whole(folder, name, manifest, digests=True)]
        for name in bad:
            aside = set_aside(folder / name).name if (folder / name).exists() else "gone"
            log.warning(
                "%s: it is not what was logged, and is now %s. The training is kept.", folder / name, aside
            )
        if bad and manifest:
            kept = {name: entry for name, entry in manifest.files.items() if name not in bad}
            _save_manifest(folder, Manifest(key, kept))

    def is_whole(self, key: str, name: str, most: float = math.inf) -> bool:
        """Tell whether a file of an artifact is there and is, by its digest, what was written.

        Args:
            key: of the artifact.
            name: of the file.
            most: bytes; a file of more is not read.
        """
        folder = self.folder / key
        manifest = _read_manifest(folder)
        return (
            manifest is not None
            and manifest.key == key
            and name in manifest.files
            and _is_whole(folder, name, manifest, digests=True, most=most)
        )

    def refuse_closed(self, key: str) -> None:
        """Refuse an artifact of which something must not be read: nobody can tell whether it is whole.

        Raises:
            BadData: there is one.
        """
        if is_there(self.folder / key):
            _refuse_closed(self.folder / key)

    def keys(self) -> list[str]:
        """Return the keys of the artifacts that are there, sorted."""
        with contextlib.suppress(OSError):
            return sorted(path.name for path in self.folder.iterdir() if self.has(path.name))
        return []

    def list_files(self, key: str) -> list[Path]:
        """Return the files of an artifact that is there, without its manifest."""
        manifest = _read_manifest(self.folder / key)
        return [self.folder / key / name for name in manifest.files] if manifest else []

    def find_damage(self, key: str) -> str:
        """Return why an artifact is not what its manifest says, by the digests of its files, or nothing."""
        return _find_damage(self.folder / key, key, digests=True)

    def is_nameless(self, key: str) -> bool:
        """Tell whether an artifact is whole and does not say of which key: so the first release wrote."""
        manifest = _read_manifest(self.folder / key)
        if manifest is None or manifest.key is not None:
            return False
        return not _find_changed(self.folder / key, manifest, digests=True)

    def name(self, key: str) -> None:
        """Have a nameless artifact say that it is of the key whose place it has."""
        with self.locked(key):
            if self.is_nameless(key):
                _write_manifest(self.folder / key, key)

    @contextlib.contextmanager
    def write(self, key: str) -> Iterator[Path]:
        """Give a folder to write the artifact into; when the block ends without an error, it is the artifact.

        It replaces one that was there before. Only one process at a time may write an artifact: hold
        `locked`, and look with `find` before writing.

        Raises:
            ClaimLost: another process took over the lease meanwhile.
        """
        claim = self._held.get(key, Claim())
        works, folder = self.folder / ".work", self.folder / key
        work, was_there = works / f"{key}{claim.suffix}", folder.exists()
        work.mkdir(parents=True, exist_ok=True)
        if claim.suffix:
            adopt_work(works, key, work)
        try:
            yield work
            _write_manifest(work, key)
        except Exception:
            claim.check()  # who took it over has removed the folder in the end
            raise
        claim.check()
        if was_there:
            shutil.rmtree(folder)
        try:
            os.replace(work, folder)
        except OSError:
            if not (claim.suffix and self.has(key)):  # of two owners of a lease, the other was first
                raise
        sync(self.folder)
        if claim.suffix and self.has(key):
            forget_work(works, key)

    @contextlib.contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Keep other processes from `key` for the length of the block."""
        with self.claims.hold(key) as claim:
            self._held[key] = claim
            try:
                yield
            finally:
                del self._held[key]


@dataclass(frozen=True)
class Manifest:
    """What an artifact says of itself.

    Args:
        key: whose it is; none if it does not say.
        files: size and digest of each, by name.
    """

    key: str | None
    files: dict[str, dict[str, int | str]]


def _write_manifest(folder: Path, key: str) -> None:
    for half in folder.glob(f".{Path(MANIFEST).stem}.*.tmp"):  # of a process that was killed
        half.unlink()
    # a manifest may be there already, likewise
    paths = sorted(path for path in folder.iterdir() if path.name != MANIFEST and not is_set_aside(path))
    files: dict[str, dict[str, int | str]] = {}
    for path in paths:
        share(path)
        sync(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": _hash(path)}
    _save_manifest(folder, Manifest(key, files))


def _save_manifest(folder: Path, manifest: Manifest) -> None:
    content = {"key": manifest.key, "files": manifest.files}
    write_durably(folder / MANIFEST, json.dumps(content, indent=1).encode())


def _refuse_closed(folder: Path) -> None:
    """Refuse an artifact of which something must not be read: that is no damage."""
    for path in (folder, *(sorted(folder.iterdir()) if os.access(folder, os.R_OK | os.X_OK) else ())):
        if is_there(path) and not os.access(path, os.R_OK | os.X_OK if is_folder(path) else os.R_OK):
            raise BadData(
                f"{path}: it is another user's, and must not be read. Have them share it "
                f"(chmod -R a+rX {folder.parent}), or use other --results."
            )


def _read_manifest(folder: Path) -> Manifest | None:
    """Return what the manifest says; none if there is none, or it is damaged."""
    try:
        content = json.loads(read_bounded(folder / MANIFEST))
        key, files = content.get("key"), content["files"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(files, dict) or not all(map(_is_file_name, files)):
        return None
    return Manifest(None if key is None else spell_out_line(str(key))[:SHOWN], files)


def _is_file_name(name: str) -> bool:
    """Tell whether a name of a manifest is one of a file in its folder: it may be a stranger's."""
    return Path(name).name == name and name not in ("", ".", "..") and "\0" not in name and "\\" not in name


def _find_damage(folder: Path, key: str, *, digests: bool = False, but: Collection[str] = ()) -> str:
    """Return why the artifact in `folder` is not that of `key`, or nothing.

    Args:
        folder: of the artifact.
        key: that it should be of.
        digests: read the files, and do not only look at their sizes.
        but: files that are not looked at.
    """
    manifest = _read_manifest(folder)
    if manifest is None:
        return "the artifact is damaged: it has no manifest that can be read"
    if manifest.key is None:
        return (
            "the artifact does not say of which key it is, as those of the first release: see `bench upgrade`"
        )
    if manifest.key != key:
        return f"the artifact is of another key, {manifest.key}"
    return _find_changed(folder, manifest, digests=digests, but=but)


def _find_changed(folder: Path, manifest: Manifest, *, digests: bool, but: Collection[str] = ()) -> str:
    """Return which file of an artifact is not what its manifest says, or nothing."""
    for name in manifest.files:
        if name not in but and not _is_whole(folder, name, manifest, digests=digests):
            return f"the artifact is damaged: {name} is not what its manifest says"
    return ""


def _is_whole(folder: Path, name: str, manifest: Manifest, *, digests: bool, most: float = math.inf) -> bool:
    """Tell whether a file is what a manifest says; one that it does not name is no concern of it."""
    entry: Any = manifest.files.get(name)  # which may be a stranger's
    try:
        return entry is None or (
            is_file(folder / name, min(most, entry["bytes"]), least=entry["bytes"])
            and (not digests or _hash(folder / name) == entry["sha256"])
        )
    except (OSError, KeyError, TypeError):
        return False


def _hash(path: Path) -> str:
    result = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            result.update(chunk)
    return result.hexdigest()
