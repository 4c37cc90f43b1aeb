"""Bring the results of several folders together: of machines that share no file system, of an earlier run.

Nothing is averaged and nothing is lost: a record that is there already with the same numbers counts once, a
cell that failed here and not elsewhere is taken from there, and of two records with other numbers the one
that was here stays and the other is kept in a results folder of its own, below `conflicts`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BadValue, CellError, UsageError
from bench.storage.artifacts import ArtifactStore
from bench.storage.presence import is_folder
from bench.storage.record_json import Record, digest_of
from bench.storage.records import RecordStore

CONFLICTS = "conflicts"  # below the folder that is merged into: a results folder for each that had any
RESULT = ("status", "metrics", "per_class")  # of a record: the rest says how it came to be


@dataclass(frozen=True)
class Conflict:
    """Two records of one cell whose numbers differ.

    Args:
        here: the record that stays.
        other: the one that is kept apart.
        source: the folder that the other is from.
        kept_in: the results folder that it is in now.
    """

    here: Record
    other: Record
    source: Path
    kept_in: Path


@dataclass
class Merged:
    """What became of the records and artifacts of some folders.

    Args:
        counts: of records: `copied`, `same` as what was there, `replaced` one that had failed, `left` because
            they failed and another did not, `conflicting`; and of `artifacts` that were copied.
        conflicts: in the order they were found.
        damaged: artifacts that were left where they are, and why.
    """

    counts: Counter[str] = field(default_factory=Counter)
    conflicts: list[Conflict] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def merge(sources: Sequence[Path], into: Path, *, artifacts: bool = True) -> Merged:
    """Copy records and artifacts into a results folder; a second time there is nothing left to do.

    Args:
        sources: results folders.
        into: another one, which may have results already; made where it is not there.
        artifacts: copy what trainings and evaluations left behind, too. On one file system a copy takes no
            room: it is another name of the same file.

    Raises:
        BadValue: a source is the folder that is merged into.
        UsageError: a source has no records, or a newer bench wrote one.
        CellError: something cannot be written, e.g. the disk is full.
    """
    for source in sources:
        if source.resolve() == into.resolve():
            raise BadValue(f"--into: {into} is one of the folders to merge. Leave it out of them.")
        if not is_folder(source / "records"):
            raise UsageError(f"no records in {source}. Is it a results folder?")
    merged, store = Merged(), RecordStore(into)
    for source, apart in zip(sources, _list_apart(sources, into), strict=True):
        theirs, records = ArtifactStore(source), list(RecordStore(source).records())
        if artifacts:  # first: no record is without its predictions
            foreign = {record["keys"]["score"] for record in records if _is_foreign(record, store)}
            for key in theirs.keys():  # noqa: SIM118 - no mapping
                if key not in foreign:  # nor has those of another
                    _copy_artifact(theirs, ArtifactStore(into), key, merged)
        for record in records:
            outcome = _place(record, store, source, apart, merged)
            merged.counts[outcome] += 1
            if outcome == "conflicting" and artifacts:
                kept_in = ArtifactStore(merged.conflicts[-1].kept_in)
                _copy_artifact(theirs, kept_in, record["keys"]["score"], merged)
    return merged


def _list_apart(sources: Sequence[Path], into: Path) -> Iterator[Path]:
    """Yield the folder of each source's conflicts, named like it."""
    seen: Counter[str] = Counter()
    for source in sources:
        name = source.resolve().name or "root"
        seen[name] += 1
        yield into / CONFLICTS / (name if seen[name] == 1 else f"{name}-{seen[name]}")


def _place(record: Record, store: RecordStore, source: Path, apart: Path, merged: Merged) -> str:
    """Put a record where it belongs, and return what became of it."""
    here = store.find(record["cell"], record["keys"]["score"])
    if here is None:
        store.write(record)
        return "copied"
    if _result_of(here) == _result_of(record):
        return "same"
    if record["status"] != "ok":
        return "left"
    if here["status"] != "ok":
        store.write(record)
        return "replaced"
    kept_in = _find_room(record, apart)
    RecordStore(kept_in).write(record)
    merged.conflicts.append(Conflict(here, record, source, kept_in))
    return "conflicting"


def _is_foreign(record: Record, store: RecordStore) -> bool:
    """Tell whether another record of a record's cell is there, and stays."""
    here = store.find(record["cell"], record["keys"]["score"], tell=False)
    return here is not None and here["status"] == "ok" and _result_of(here) != _result_of(record)


def _find_room(record: Record, apart: Path) -> Path:
    """Return the first folder named like `apart` that has no other numbers of the record's cell."""
    for number in itertools.count(1):
        folder = apart if number == 1 else apart.with_name(f"{apart.name}~{number}")
        there = RecordStore(folder).find(record["cell"], record["keys"]["score"], tell=False)
        if there is None or _result_of(there) == _result_of(record):
            return folder
    raise AssertionError  # the numbers do not end


def _result_of(record: Mapping[str, Any]) -> str:
    """Return what two records of a cell have in common where they agree."""
    return digest_of({name: record.get(name) for name in RESULT})


def _copy_artifact(theirs: ArtifactStore, ours: ArtifactStore, key: str, merged: Merged) -> None:
    """Copy an artifact that is there, is not here yet, and is what its manifest says."""
    if ours.has(key) or not theirs.has(key):
        return
    damage = theirs.find_damage(key)
    if damage:
        merged.damaged.append(f"{theirs.folder / key}: {damage}")
        return
    try:
        with ours.locked(key):
            if ours.has(key):  # another process was first
                return
            with ours.write(key) as work:
                for path in theirs.list_files(key):
                    _link_or_copy(path, work / path.name)
    except OSError as error:
        raise CellError(
            f"{ours.folder / key}: the artifact could not be written ({error.strerror or error}). See if "
            "there is room and who may write there, or use --records-only."
        ) from None
    merged.counts["artifacts"] += 1


def _link_or_copy(path: Path, target: Path) -> None:
    """Give a file another name, or copy it to another file system. No artifact is changed in its place."""
    target.unlink(missing_ok=True)
    shared = path.stat().st_mode & 0o666 == target.parent.stat().st_mode & 0o666
    if shared:  # else the artifact's files are made so, and with another name this one would be, too
        with contextlib.suppress(OSError):
            os.link(path, target)
            return
    shutil.copyfile(path, target)
