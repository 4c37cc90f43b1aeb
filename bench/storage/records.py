"""Keep result records: one JSON file a cell, written whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.errors import BadData, CellError, UsageError
from bench.keys import digest
from bench.storage.record_fields import natural_sort_key
from bench.storage.record_json import Record, encode, is_record, restore_numbers

__all__ = ["IDENTITY", "SCHEMA", "Record", "RecordStore"]

SCHEMA = 1
NAME_LENGTH = 100  # of a folder; with key and suffix well below the 255 bytes of file systems
STALE_S = 3600.0  # a record is written in milliseconds: a temporary file this old has no writer
IDENTITY = ("method", "backbone", "dataset", "eval_dataset", "evaluator", "label_frac", "seed")  # of a cell

log = logging.getLogger(__name__)


class RecordStore:
    """The records under a results folder; any number of workers may write to it at once.

    Args:
        folder: the results folder; made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.root = self.folder / "records"
        self._cleaned: set[Path] = set()

    def path(self, cell: Mapping[str, Any], score_key: str) -> Path:
        """Return where the record of a cell belongs, whether or not it is there."""
        method, backbone, dataset, evaluator = (
            _to_file_name(str(cell[name])) for name in ("method", "backbone", "dataset", "evaluator")
        )
        return self.root / method / backbone / dataset / f"{evaluator}-{score_key}.json"

    def write(self, record: Mapping[str, Any]) -> Path:
        """Write `record` whole or not at all, in place of an older one of its cell; return its path.

        Raises:
            CellError: the file cannot be written, e.g. the disk is full.
        """
        path = self.path(record["cell"], record["keys"]["score"])
        content = encode(record)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._remove_stale(path.parent)
            _write_whole(path, content)
        except OSError as error:
            raise CellError(
                f"{path}: the record could not be written ({error.strerror}). "
                "Free some space, or choose another folder with --results."
            ) from None
        return path

    def remove(self, cell: Mapping[str, Any], score_key: str) -> None:
        """Remove the record of a cell, if there is one."""
        with contextlib.suppress(OSError):  # what cannot be removed now is in the way of nothing
            self.path(cell, score_key).unlink()

    def read(self, path: Path) -> Record:
        """Return the record in the file at `path`.

        Raises:
            BadData: the file cannot be read or holds no record.
            UsageError: a newer bench wrote it.
        """
        try:
            content = path.read_bytes()
            record = json.loads(content)
        except OSError as error:
            raise BadData(f"{path}: the record cannot be read ({error.strerror}).") from None
        except (ValueError, RecursionError) as error:
            raise BadData(f"{path}: damaged, no JSON ({error}). Restore or delete it.") from None
        schema = record.get("schema") if isinstance(record, dict) else None
        if isinstance(schema, int) and schema > SCHEMA:
            raise UsageError(f"{path}: has schema {schema}, this bench reads {SCHEMA}. Upgrade ssl-bench.")
        if schema != SCHEMA or not is_record(record):
            raise BadData(f"{path}: not a record of bench. Move it out of {self.root}.")
        restore_numbers(record, content)
        result: Record = record
        return result

    def find(self, cell: Mapping[str, Any], score_key: str) -> Record | None:
        """Return the record of a cell, none if there is none or it is damaged.

        Args:
            cell: its names, as in a record's `cell`.
            score_key: the key of its score.

        Raises:
            UsageError: a newer bench wrote it.
        """
        path = self.path(cell, score_key)
        return self._read_or_warn(path) if path.exists() else None

    def records(self) -> Iterator[Record]:
        """Yield all records in the natural order of their names, with a warning for each damaged one.

        Raises:
            UsageError: a newer bench wrote one of them.
        """
        paths: dict[tuple[Hashable, ...], Path] = {}
        for path in self._list_paths():
            record = self._read_or_warn(path)
            if record is None:
                continue
            identity = (record["keys"]["score"], *(record["cell"].get(name) for name in IDENTITY))
            if identity in paths:
                log.warning("%s: a copy of %s, ignored. Delete one of them.", path, paths[identity])
            else:
                paths[identity] = path
                yield record

    def _remove_stale(self, folder: Path) -> None:
        """Remove what writers that were killed left behind; once, as it looks at every file there."""
        if folder in self._cleaned:
            return
        self._cleaned.add(folder)
        for path in folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):  # another worker may be first
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()

    def _list_paths(self) -> list[Path]:
        paths = (
            Path(folder, name)
            for folder, _, names in os.walk(self.root)
            for name in names
            if name.endswith(".json") and not name.startswith(".")
        )
        return sorted(paths, key=lambda path: [natural_sort_key(part) for part in path.parts])

    def _read_or_warn(self, path: Path) -> Record | None:
        try:
            return self.read(path)
        except BadData as error:
            log.warning("%s", error)
            return None


@functools.cache
def _to_file_name(name: str) -> str:
    """Return `name` as one path component that no file system takes for anything else."""
    quoted = re.sub(r"^\.|\.$", "%2E", quote(name, safe=""))
    if len(quoted) > NAME_LENGTH:
        return f"{quoted[: NAME_LENGTH - 25]}~{digest(name)}"
    return quoted or "%"


def _write_whole(path: Path, content: bytes) -> None:
    # the folder is not synced as well: a cell whose renaming a power cut undoes is made again
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
