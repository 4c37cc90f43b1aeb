"""Convert what earlier releases wrote into what this one writes, so that it can be checked like new results.

The first release's records have no digest and say of each metric which way is better, and its artifacts do
not say whose they are. Records are read as they are; an artifact is believed only once it is upgraded.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import CellError, UsageError
from bench.storage.artifacts import ArtifactStore
from bench.storage.presence import is_folder, why_unlisted
from bench.storage.record_shape import SCHEMA
from bench.storage.records import RecordStore
from bench.storage.verifying import describe_unlisted, list_artifact_folders

log = logging.getLogger("bench")


@dataclass
class Upgraded:
    """What became of a results folder.

    Args:
        records: that were converted.
        artifacts: that were converted.
        current: records and artifacts that need nothing.
        left: what cannot be converted, and why, a line each.
    """

    records: int = 0
    artifacts: int = 0
    current: int = 0
    left: list[str] = field(default_factory=list)


def upgrade(folder: Path, *, dry_run: bool = False) -> Upgraded:
    """Convert the records and artifacts of a results folder in their places.

    A second time nothing is left to do.

    Args:
        folder: of results.
        dry_run: count, and change nothing.

    Raises:
        UsageError: there is no such folder.
        CellError: something cannot be written, e.g. the disk is full: what was converted until then is.
    """
    if not is_folder(folder):
        raise UsageError(f"{folder}: there is no such folder. Name a results folder with --results.")
    done, store, artifacts = Upgraded(), RecordStore(folder), ArtifactStore(folder)
    for record in store.inspect():
        if isinstance(record, UsageError):
            done.left.append(str(record))
        elif record["schema"] == SCHEMA:
            done.current += 1
        else:
            done.records += 1
            if not dry_run:
                store.write({**record, "schema": SCHEMA})
    _upgrade_artifacts(artifacts, done, dry_run=dry_run)
    return done


def _upgrade_artifacts(artifacts: ArtifactStore, done: Upgraded, *, dry_run: bool) -> None:
    if why := why_unlisted(artifacts.folder):
        done.left.append(f"{describe_unlisted(artifacts, why)}.")
    for path in list_artifact_folders(artifacts):
        damage = artifacts.find_damage(path.name)
        if not damage:
            done.current += 1
        elif artifacts.is_nameless(path.name):
            done.artifacts += 1
            if not dry_run:
                _name(artifacts, path.name)
        else:
            done.left.append(f"{path}: {damage}")


def _name(artifacts: ArtifactStore, key: str) -> None:
    try:
        artifacts.name(key)
    except OSError as error:
        raise CellError(
            f"{artifacts.folder / key}: the artifact could not be converted ({error.strerror})."
        ) from None
