"""Result records: one JSON file a cell, written whole or not at all, read back as a tidy frame."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
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

Record = dict[str, Any]

SCHEMA = 1
NAME_LENGTH = 100  # of a folder; with key and suffix well below the 255 bytes of file systems
STALE_S = 3600.0  # a record is written in milliseconds: a temporary file this old has no writer
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no word for them
NOT_FINITE_BYTES = tuple(f'"{word}"'.encode() for word in NOT_FINITE)
FIRST = ("method", "backbone", "dataset", "eval_dataset", "evaluator", "label_frac", "seed")

log = logging.getLogger(__name__)


class RecordStore:
    """The records under a results folder; any number of workers may write to it at once.

    Args:
        folder: the results folder; made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.root = self.folder / "records"
        self._swept: set[Path] = set()

    def path(self, cell: Mapping[str, Any], score_key: str) -> Path:
        """Return where the record of a cell belongs, whether or not it is there."""
        method, backbone, dataset, evaluator = (
            _safe(str(cell[name])) for name in ("method", "backbone", "dataset", "evaluator")
        )
        return self.root / method / backbone / dataset / f"{evaluator}-{score_key}.json"

    def write(self, record: Mapping[str, Any]) -> Path:
        """Put `record` in its place, whole or not at all; one that is there is replaced.

        Raises:
            CellError: the file cannot be written, e.g. the disk is full.
        """
        path = self.path(record["cell"], record["keys"]["score"])
        text = _compact(json.dumps(_plain(record), indent=1, sort_keys=True, ensure_ascii=False))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sweep(path.parent)
            # half of a surrogate pair, from an undecodable file name, becomes a JSON escape
            _write_whole(path, (text + "\n").encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise CellError(
                f"{path}: the record could not be written ({error.strerror}). "
                "Free some space, or choose another folder with --results."
            ) from None
        return path

    def read(self, path: Path) -> Record:
        """Return the record in the file at `path`.

        Raises:
            BadData: the file cannot be read or holds no record.
            UsageError: a newer bench wrote it.
        """
        try:
            text = path.read_bytes()
            record = json.loads(text)
        except OSError as error:
            raise BadData(f"{path}: the record cannot be read ({error.strerror}).") from None
        except (ValueError, RecursionError) as error:
            raise BadData(f"{path}: damaged, no JSON ({error}). Restore or delete it.") from None
        schema = record.get("schema") if isinstance(record, dict) else None
        if isinstance(schema, int) and schema > SCHEMA:
            raise UsageError(f"{path}: has schema {schema}, this bench reads {SCHEMA}. Upgrade ssl-bench.")
        if schema != SCHEMA or not _is_record(record):
            raise BadData(f"{path}: not a record of bench. Move it out of {self.root}.")
        return _revive(record) if any(word in text for word in NOT_FINITE_BYTES) else record

    def find(self, cell: Mapping[str, Any], score_key: str) -> Record | None:
        """Return the record of a cell, none if there is none or it is damaged.

        Args:
            cell: its names, as in a record's `cell`.
            score_key: the key of its score.

        Raises:
            UsageError: a newer bench wrote it.
        """
        path = self.path(cell, score_key)
        return self._readable(path) if path.exists() else None

    def records(self) -> Iterator[Record]:
        """Yield all records in the natural order of their names; what is damaged is warned of.

        Raises:
            UsageError: a newer bench wrote one of them.
        """
        seen: dict[tuple[Hashable, ...], Path] = {}
        for path in self._paths():
            record = self._readable(path)
            if record is None:
                continue
            key = (record["keys"]["score"], *(record["cell"].get(name) for name in FIRST))
            if key in seen:
                log.warning("%s: a copy of %s, ignored. Delete one of them.", path, seen[key])
            else:
                seen[key] = path
                yield record

    def _sweep(self, folder: Path) -> None:
        """Remove what writers that were killed left behind; once, as it looks at every file there."""
        stale = () if folder in self._swept else folder.glob(".*.tmp")
        self._swept.add(folder)
        for left in stale:
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE_S:
                    left.unlink()

    def _paths(self) -> list[Path]:
        found = (
            Path(folder, name)
            for folder, _, names in os.walk(self.root)
            for name in names
            if name.endswith(".json") and not name.startswith(".")
        )
        return sorted(found, key=lambda path: [natural_sort_key(part) for part in path.parts])

    def _readable(self, path: Path) -> Record | None:
        try:
            return self.read(path)
        except BadData as error:
            log.warning("%s", error)
            return None


_FLAT_LIST = re.compile(r"\[\n *([^\[\]{}]*?)\n *\]")
_NEW_LINE = re.compile(r"\n *")


@functools.cache
def _safe(name: str) -> str:
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


def _plain(value: Any) -> Any:
    """Return `value` as JSON can carry it: a result is never lost to the type of a number."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=str)
    return _plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def _revive(record: Record) -> Record:
    """Turn back into numbers, in place, the words that stand for what JSON cannot hold."""
    for metric in (record.get("metrics") or {}).values():
        metric["value"] = _number(metric["value"])
    for part in {"per_class", "cost"} & record.keys():
        record[part] = _number(record[part])
    return record


def _number(value: Any) -> Any:
    if isinstance(value, str):
        return NOT_FINITE.get(value, value)
    if isinstance(value, list):
        return [_number(item) for item in value]
    return {name: _number(item) for name, item in value.items()} if isinstance(value, dict) else value


def _is_record(record: Record) -> bool:
    cell, keys, metrics = (record.get(part) for part in ("cell", "keys", "metrics"))
    return (
        isinstance(cell, dict)
        and {"method", "backbone", "dataset", "evaluator"} <= cell.keys()
        and isinstance(keys, dict)
        and "score" in keys
        and record.get("status") in ("ok", "failed", "skipped")
        and isinstance(metrics or {}, dict)
        and all(isinstance(m, dict) and "value" in m for m in (metrics or {}).values())
    )


def _compact(text: str) -> str:
    """Put each list of plain values on one line: a record of 1,000 classes stays readable."""
    return _FLAT_LIST.sub(lambda found: f"[{re.sub(_NEW_LINE, ' ', found[1])}]", text)
