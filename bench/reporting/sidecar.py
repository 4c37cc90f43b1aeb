"""Say beside an exported table which records it is of, and make it again from them, bit for bit.

A sidecar has all that was asked of the table, the place, the key and the digest of every record in it, and
the hash of what was written. So a record that is missing or changed is noticed, and so is whatever else is
not as it was: predictions, published results, bench itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.bounded_files import read_bounded
from bench.errors import BadData, UsageError
from bench.reporting.axes import FOLDER
from bench.storage.presence import is_there
from bench.storage.record_json import digest_of
from bench.storage.records import IDENTITY, Record, RecordStore

ENDING = ".keys.json"
FORMAT = 1  # of a sidecar
LARGEST_FILE = 1 << 28  # bytes: a record takes some hundred


@dataclass(frozen=True)
class Sidecar:
    """What a table was made of.

    Args:
        asked: what was asked of the table, as plain values.
        folders: of results.
        places: of each record, in the table's order: its folder's number, its cell, its key and its digest.
        has_axis: the records have their folder as an axis.
        written: the hash of what was written.
        bench: the version that wrote it.
    """

    asked: Mapping[str, Any]
    folders: tuple[str, ...]
    places: tuple[Mapping[str, Any], ...]
    has_axis: bool
    written: str
    bench: str


def sidecar_path(output: Path) -> Path:
    """Return where the sidecar of a file lies: `table.tex` has `table.tex.keys.json`."""
    return output.with_name(output.name + ENDING)


def hash_content(content: bytes) -> str:
    """Return the hash of what was written."""
    return hashlib.sha256(content).hexdigest()


def describe_records(
    records: Sequence[Mapping[str, Any]], origins: Sequence[int]
) -> tuple[Mapping[str, Any], ...]:
    """Return the place, key and digest of each record.

    Args:
        records: of a table, in its order.
        origins: of each record, the number of its folder.
    """
    return tuple(
        {
            "folder": origin,
            "cell": _place_of(record["cell"]),
            "key": record["keys"]["score"],
            "digest": digest_of({name: part for name, part in record.items() if name != FOLDER}),
        }
        for record, origin in zip(records, origins, strict=True)
    )


def _place_of(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return what says where the record of a cell lies."""
    named = {name: cell[name] for name in ("dataset_name",) if name in cell}
    return {name: cell.get(name) for name in IDENTITY} | named


def encode_sidecar(sidecar: Sidecar) -> str:
    """Return a sidecar as JSON, a line a record."""
    head = {
        "sidecar": FORMAT,
        "bench": sidecar.bench,
        "table": dict(sidecar.asked),
        "folders": list(sidecar.folders),
        "folder_is_axis": sidecar.has_axis,
        "sha256": sidecar.written,
    }
    lines = [f' "{name}": {json.dumps(value, ensure_ascii=True)}' for name, value in head.items()]
    records = ",\n".join(f"  {json.dumps(place, ensure_ascii=True)}" for place in sidecar.places)
    lines.append(f' "records": [\n{records}\n ]')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_sidecar(path: Path) -> Sidecar:
    """Return the sidecar in a file.

    Raises:
        BadData: the file cannot be read or is no sidecar.
        UsageError: a newer bench wrote it.
    """
    try:
        content = json.loads(read_bounded(path, LARGEST_FILE))
    except OSError as error:
        raise BadData(f"--from: {path} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError):
        content = None
    form = content.get("sidecar") if isinstance(content, dict) else None
    if isinstance(form, int) and form > FORMAT:
        raise UsageError(f"--from: {path} has form {form}, this bench reads {FORMAT}. Upgrade ssl-bench.")
    try:
        return Sidecar(
            asked=dict(content["table"]),
            folders=tuple(map(str, content["folders"])),
            places=tuple(_check_place(place, len(content["folders"])) for place in content["records"]),
            has_axis=bool(content["folder_is_axis"]),
            written=str(content["sha256"]),
            bench=str(content["bench"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise BadData(
            f"--from: {path} is not what `bench table --output` writes beside a table. Name a file {ENDING}."
        ) from None


def find_records(path: Path, sidecar: Sidecar, folders: Sequence[Path]) -> list[Record]:
    """Return the records of a sidecar, in its order.

    Args:
        path: of the sidecar, for errors.
        sidecar: what it says.
        folders: where to look, instead of those of the sidecar.

    Raises:
        UsageError: a record is missing or is another one than it was, or the folders are not as many.
    """
    if len(folders) != len(sidecar.folders):
        raise UsageError(
            f"--from: {path} is of {len(sidecar.folders)} folders ({', '.join(sidecar.folders)}), and "
            f"--results has {len(folders)}. Name as many, in the same order."
        )
    stores = [RecordStore(folder) for folder in folders]
    found, troubles = [], []
    for place in sidecar.places:
        store = stores[place["folder"]]
        record = store.find(place["cell"], place["key"], tell=False)
        if record is None or digest_of(record) != place["digest"]:
            file = store.path(place["cell"], place["key"])
            troubles.append((file, "was changed" if is_there(file) else "is missing"))
        else:
            found.append({**record, FOLDER: sidecar.folders[place["folder"]]} if sidecar.has_axis else record)
    if troubles:
        (file, what), *others = troubles
        more = f", and so {'is' if len(others) == 1 else 'are'} {len(others)} more" if others else ""
        raise UsageError(f"--from: {file} {what}{more}. Restore it, or make the table anew.")
    return found


def refuse_difference(path: Path, sidecar: Sidecar, content: bytes, bench: str) -> None:
    """Refuse what is not what was written.

    Raises:
        UsageError: it is not.
    """
    if hash_content(content) != sidecar.written:
        versions = (
            f"bench was {sidecar.bench} and is {bench}" if sidecar.bench != bench else f"bench is {bench}"
        )
        raise UsageError(
            f"--from: {path}: the records are as they were, but the table is not: {versions}; stored "
            "predictions, published results or the format may be others. Make the table anew."
        )


def _check_place(place: Any, folders: int) -> Mapping[str, Any]:
    """Return the place of a record.

    Raises:
        ValueError: it is none.
        KeyError: likewise.
        TypeError: likewise.
    """
    cell = {name: place["cell"].get(name) for name in IDENTITY} | _place_of(place["cell"])
    if place["folder"] not in range(folders):
        raise ValueError(place)
    return {"folder": place["folder"], "cell": cell, "key": str(place["key"]), "digest": str(place["digest"])}
