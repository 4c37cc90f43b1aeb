"""Keep result records: one JSON file a cell, written whole or not at all, and believed only at its own place.

A file counts if it lies where its cell and key say, and is what its digest was made of. What does not is
named in a warning; its cell is not done, and what the next run writes there does not replace it: it is
renamed to `NAME.rejected`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.bounded_files import READ_ONLY, read_all
from bench.errors import BadData, CellError, UsageError
from bench.keys import digest
from bench.storage.collector import paused_collector
from bench.storage.durable import MORE_ROOM, written_beside
from bench.storage.presence import is_absence, is_there, list_folders
from bench.storage.record_fields import natural_sort_key
from bench.storage.record_json import (
    BROKEN,
    DIGEST,
    Record,
    decode_all,
    encode,
    matches_digest,
)
from bench.storage.record_shape import SCHEMA, WITHOUT_DIGEST, Malformed, NewerSchema, find_fault
from bench.storage.set_aside import set_aside
from bench.storage.withdrawn_directions import withdraw_directions

__all__ = ["IDENTITY", "SCHEMA", "Record", "RecordStore"]

NAME_LENGTH = 100  # of a folder; with key and suffix well below the 255 bytes of file systems
AT_ONCE = 256  # records that are read and decoded together
LARGEST_FILE = 32 << 20  # bytes; a record of a million numbers has 20 million
MOST_TOLD = 20  # records that are refused, of one reading: the others are counted
STALE_S = 3600.0  # a record is written in milliseconds: a temporary file this old has no writer
IDENTITY = (  # of a cell
    "method", "backbone", "dataset", "eval_dataset", "evaluator", "label_frac", "shots", "keep_one", "seed",
)  # fmt: skip

log = logging.getLogger(__name__)


class RecordStore:
    """The records under a results folder; any number of workers may write to it at once.

    Args:
        folder: the results folder; made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.root = self.folder / "records"
        self._root = str(self.root)
        self._cleaned: set[Path] = set()

    def path(self, cell: Mapping[str, Any], score_key: str) -> Path:
        """Return where the record of a cell belongs, whether or not it is there."""
        return Path(self._locate(cell, score_key))

    def _locate(self, cell: Mapping[str, Any], score_key: str) -> str:
        """Return the path as text: to make a `Path` of it takes longer than all else."""
        data = cell.get("dataset_name") or cell["dataset"]
        folder = _folder_of(self._root, str(cell["method"]), str(cell["backbone"]), str(data))
        return f"{folder}{os.sep}{_to_file_name(str(cell['evaluator']))}-{score_key}.json"

    def write(self, record: Mapping[str, Any]) -> Path:
        """Write `record` whole or not at all, in place of an older one of its cell; return its path.

        What is there and is no record of the cell is renamed, not replaced.

        Raises:
            CellError: the file cannot be written, e.g. the disk is full, or could not be read again.
        """
        path = self.path(record["cell"], record["keys"]["score"])
        content = encode(record)
        fault = find_fault(json.loads(content))
        if fault and record["schema"] == SCHEMA:
            raise CellError(f"{path}: the record could not be written, as it could not be read: {fault}.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._remove_stale(path.parent)
            with written_beside(path, content) as temporary:
                self._set_aside(path, record["cell"])
                temporary.replace(path)
            for other in (
                self._list_elsewhere(record["cell"], path) if "dataset_name" in record["cell"] else ()
            ):
                other.unlink(missing_ok=True)  # of the same cell, from when its data had another name
        except OSError as error:
            raise CellError(
                f"{path}: the record could not be written ({error.strerror}). {MORE_ROOM}"
            ) from None
        return path

    def remove(self, cell: Mapping[str, Any], score_key: str) -> bool:
        """Remove the record of a cell, if there is one; tell whether there is none any more."""
        try:
            (self._find_place(cell, score_key) or self.path(cell, score_key)).unlink(missing_ok=True)
        except OSError:  # what cannot be removed now is in the way of nothing
            return False
        return True

    def read(self, path: Path) -> Record:
        """Return the record in the file at `path`.

        Raises:
            BadData: the file cannot be read, holds no record or another cell's, or was changed.
            UsageError: a newer bench wrote it.
        """
        content = _read_bytes(str(path))
        return self._accept(str(path), content, decode_all([content])[0])

    def _accept(self, path: str, content: bytes | OSError, record: Any) -> Record:
        """Return the record of a file, as `read` does.

        Args:
            path: of the file. As text: to make a `Path` of each takes longer than to decode it.
            content: of the file, or why it cannot be read.
            record: what is decoded of it, or why it cannot be.

        Raises:
            BadData: as `read`.
            UsageError: as `read`.
        """
        if isinstance(content, OSError):
            raise BadData(f"{path}: the record cannot be read ({content.strerror}).")
        if isinstance(record, NewerSchema):
            raise UsageError(f"{path}: has schema {record}, this bench reads {SCHEMA}. Upgrade ssl-bench.")
        if isinstance(record, Malformed):
            raise BadData(f"{path}: not a record of bench: {record}. Move it out of {self.root}.")
        if isinstance(record, BROKEN):
            raise BadData(f"{path}: damaged, no JSON ({record}). Restore or delete it.")
        self._refuse_displaced(path, record)
        _refuse_changed(path, record, content)
        if record["schema"] == WITHOUT_DIGEST:
            withdraw_directions(record)
        record.pop(DIGEST, None)
        result: Record = record
        return result

    def find(self, cell: Mapping[str, Any], score_key: str, *, tell: bool = True) -> Record | None:
        """Return the record of a cell, none if there is none or it is refused, which is told in a warning.

        Args:
            cell: its names, as in a record's `cell`.
            score_key: the key of its score.
            tell: leave it out where the record is asked for again, so that the warning comes once.

        Raises:
            UsageError: a newer bench wrote it.
        """
        path = self._find_place(cell, score_key)
        if path is None:
            return None
        try:
            return self._read_of(cell, path)
        except BadData as error:
            if tell:
                log.warning("%s", error)
            return None

    def stamp(self, cell: Mapping[str, Any], score_key: str) -> object:
        """Return which file a record is, none if there is none: one that is written anew is another."""
        place = self._find_place(cell, score_key)
        try:
            found = place.stat() if place else None
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns) if found else None

    def _find_place(self, cell: Mapping[str, Any], score_key: str) -> Path | None:
        """Return where the record of a cell is: a folder of images may have had another name, or none."""
        path = self.path(cell, score_key)
        if is_there(path):
            return path
        others = self._list_elsewhere(cell, path) if "dataset_name" in cell else []
        return others[0] if others else None

    def _list_elsewhere(self, cell: Mapping[str, Any], path: Path) -> list[Path]:
        """Return the records of a cell's key that are of other names of its data."""
        found = (folder / path.name for folder in list_folders(path.parent.parent))
        return [one for one in found if one != path and is_there(one) and self._is_of(cell, one)]

    def _is_of(self, cell: Mapping[str, Any], path: Path) -> bool:
        try:
            return _identity(self.read(path)["cell"]) == _identity(cell)
        except BadData:
            return False

    def records(self) -> Iterator[Record]:
        """Yield all records in the natural order of their names, with a warning for each that is refused.

        Each warning has the attribute `left_out`, so that a command can tell that its result lacks something.
        """
        refused = 0
        for found in self.inspect():
            if not isinstance(found, UsageError):
                yield found
                continue
            refused += 1
            if refused <= MOST_TOLD:
                log.warning("%s", found, extra={"left_out": 1})
        if refused > MOST_TOLD:
            more = f"{refused - MOST_TOLD:,} more records are left out"
            log.warning("%s: %s. `bench verify` names them all.", self.root, more, extra={"left_out": 1})

    def inspect(self) -> Iterator[Record | UsageError]:
        """Yield each record in the natural order of their names, or why it is refused."""
        closed: list[OSError] = []
        paths = self._list_paths(closed.append)
        yield from (
            BadData(f"{error.filename}: the records in it cannot be listed ({error.strerror}).")
            for error in closed
            if not is_absence(error)
        )
        for start in range(0, len(paths), AT_ONCE):
            with paused_collector():
                some = self._read_several(paths[start : start + AT_ONCE])
            yield from some

    def _read_several(self, paths: Sequence[str]) -> list[Record | UsageError]:
        """Return the records of some files, or why they are refused."""
        contents = [_read_bytes(path) for path in paths]
        records: list[Record | UsageError] = []
        for path, content, decoded in zip(paths, contents, decode_all(contents), strict=True):
            try:
                records.append(self._accept(path, content, decoded))
            except UsageError as error:
                records.append(error)
        return records

    def _read_of(self, cell: Mapping[str, Any], path: Path) -> Record:
        """Return the record in the file of a cell.

        Raises:
            BadData: as `read`, or it says in its cell that it is of another one.
            UsageError: as `read`.
        """
        record = self.read(path)
        said, asked = _identity(record["cell"]), _identity(cell)
        for name in IDENTITY:
            if said[name] != asked[name]:
                raise BadData(
                    f"{path}: says {name} {said[name]}, but its key is of {name} {asked[name]}. "
                    "Restore it, or run its cell again."
                )
        return record

    def _refuse_displaced(self, path: str, record: Record) -> None:
        """Refuse a record that lies in another cell's place: it would be counted as that cell's.

        Raises:
            BadData: it does.
        """
        cell, key = record["cell"], record["keys"]["score"]
        if path == self._locate(cell, key):
            return
        own = self.path(cell, key)
        if Path(path).resolve() != own.resolve():
            title = f"{cell['method']}, {cell['evaluator']}, seed {cell.get('seed')}"
            raise BadData(
                f"{path}: holds the record of another cell ({title}), whose place is "
                f"{own.relative_to(self.root)}. Move it there or delete it, and run this cell again."
            )

    def _set_aside(self, path: Path, cell: Mapping[str, Any]) -> None:
        """Rename what is at `path` and is no record of `cell`: someone may want to look at it."""
        if not is_there(path):
            return
        try:
            self._read_of(cell, path)
        except UsageError:
            with contextlib.suppress(FileNotFoundError):  # another worker was first
                log.warning("%s: made again; what was there is now %s.", path, set_aside(path).name)

    def _remove_stale(self, folder: Path) -> None:
        """Remove what writers that were killed left behind; once, as it looks at every file there."""
        if folder in self._cleaned:
            return
        self._cleaned.add(folder)
        for path in folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):  # another worker may be first
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()

    def _list_paths(self, refuse: Callable[[OSError], None]) -> list[str]:
        """Return the paths of all records as text, in the natural order of their parts.

        Args:
            refuse: is told of each folder that cannot be listed.
        """
        keys: dict[str, Any] = {}
        for folder, _, names in os.walk(self._root, onerror=refuse):
            above = [natural_sort_key(part) for part in Path(folder).parts]
            keys |= {
                f"{folder}{os.sep}{name}": [*above, natural_sort_key(name)]
                for name in names
                if name.endswith(".json") and not name.startswith(".")
            }
        return sorted(keys, key=keys.__getitem__)


def _read_bytes(path: str) -> bytes | OSError:
    """Return the content of a file, or why it cannot be read."""
    try:
        file = os.open(path, READ_ONLY)  # `open` asks the system thrice as much about it
        try:
            return read_all(file, LARGEST_FILE, path)
        finally:
            os.close(file)
    except OSError as error:
        return error


@functools.lru_cache(maxsize=4096)
def _folder_of(root: str, *names: str) -> str:
    return os.path.join(root, *map(_to_file_name, names))  # noqa: PTH118 - as text


@functools.cache
def _to_file_name(name: str) -> str:
    """Return `name` as one path component that no file system takes for anything else."""
    quoted = re.sub(r"^\.|\.$", "%2E", quote(name, safe=""))
    if len(quoted) > NAME_LENGTH:
        return f"{quoted[: NAME_LENGTH - 25]}~{digest(name)}"
    return quoted or "%"


def _identity(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of a cell; what it is evaluated on is what it was trained on, unless it says so."""
    names = {name: cell.get(name) for name in IDENTITY}
    return {**names, "eval_dataset": names["eval_dataset"] or names["dataset"]}


def _refuse_changed(path: str, record: Record, content: bytes) -> None:
    """Refuse a record that is not what was written.

    Raises:
        BadData: it does not match its digest, or lost it.
    """
    if DIGEST not in record and record["schema"] == WITHOUT_DIGEST:
        return
    if DIGEST not in record or not matches_digest(record, content):
        raise BadData(
            f"{path}: was changed after it was written: it is not what its digest was made of. "
            "Restore it, or run its cell again."
        )
