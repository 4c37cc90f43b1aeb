"""Compare all that a results folder holds with what it says of itself; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BadData, UsageError
from bench.plain_text import spell_out_line
from bench.storage.artifacts import ArtifactStore
from bench.storage.presence import is_folder, is_there, list_below, list_folders, why_unlisted
from bench.storage.records import RecordStore
from bench.storage.set_aside import is_set_aside


@dataclass
class Verified:
    """What was found in a results folder.

    Args:
        records: how many there are, wrong ones among them.
        artifacts: likewise.
        wrong: what is not as it was written, a line each.
        noted: what is no fault and may surprise, a line each.
    """

    records: int = 0
    artifacts: int = 0
    wrong: list[str] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)


def verify(folder: Path) -> Verified:
    """Compare every record and every artifact of a results folder with its digest, its key and its place.

    Args:
        folder: of results.

    Raises:
        UsageError: there is no such folder.
    """
    if not is_folder(folder):
        raise UsageError(f"{folder}: there is no such folder. Name a results folder with --results.")
    found, artifacts = Verified(), ArtifactStore(folder)
    predicted = []  # keys of scores whose predictions were stored
    for record in RecordStore(folder).inspect():
        found.records += 1
        if isinstance(record, UsageError):
            found.wrong.append(str(record))
        elif record.get("predictions"):
            predicted.append(record["keys"]["score"])
    if why := why_unlisted(artifacts.folder):
        found.wrong.append(f"{describe_unlisted(artifacts, why)}.")
    for path in list_artifact_folders(artifacts):
        found.artifacts += 1
        damage = artifacts.find_damage(path.name)
        if damage:
            found.wrong.append(_describe_damage(artifacts, path, damage))
    found.noted += () if why else _note_missing(predicted, artifacts)
    found.noted += _note_set_aside(folder)
    return found


def list_artifact_folders(artifacts: ArtifactStore) -> list[Path]:
    """Return the folders that are artifacts or should be, by their names."""
    folders = list_folders(artifacts.folder)
    return [path for path in folders if not path.name.startswith(".") and not is_set_aside(path)]


def describe_unlisted(artifacts: ArtifactStore, why: str) -> str:
    """Return that nobody here can tell what artifacts there are.

    Args:
        artifacts: of a results folder.
        why: as `why_unlisted` says of it.
    """
    return f"{artifacts.folder}: the artifacts in it cannot be listed ({why})"


def list_needed(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of the artifacts that a record was made of."""
    keys = record["keys"]
    features = keys.get("features") or {}
    yield from filter(None, (keys["score"], keys.get("backbone")))
    yield from features.values() if isinstance(features, Mapping) else (features,)


def _describe_damage(artifacts: ArtifactStore, path: Path, damage: str) -> str:
    """Return what is wrong with an artifact: what must not be read may well be whole."""
    try:
        artifacts.refuse_closed(path.name)
    except BadData as closed:
        return str(closed)
    return f"{path}: {spell_out_line(damage)}. The next run that needs it makes it again."


def _note_missing(predicted: list[str], artifacts: ArtifactStore) -> Iterator[str]:
    missing = [key for key in predicted if not is_there(artifacts.folder / key)]
    if missing:
        yield (
            f"{artifacts.folder}: predictions of {len(missing)} of {len(predicted)} records are not there "
            f"({missing[0]} first): tables know no more of them than counts."
        )


def _note_set_aside(folder: Path) -> Iterator[str]:
    places = (folder / "artifacts", folder / "records")
    aside = [path for place in places for path in list_below(place) if is_set_aside(path)]
    if aside:
        yield f"{folder}: {len(aside)} files and folders were set aside, {aside[0].name} first."
