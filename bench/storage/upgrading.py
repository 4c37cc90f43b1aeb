"""Convert what earlier releases wrote into what this one writes, so that it can be checked like new results.

The first release's records have no digest and say of each metric which way is better, and its artifacts do
not say whose they are. Records are read as they are; an artifact is believed only once it is upgraded.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UsageError
from bench.storage.artifacts import ArtifactStore
from bench.storage.record_shape import SCHEMA
from bench.storage.records import RecordStore
from bench.storage.verifying import list_artifact_folders

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
    if not folder.is_dir():
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
    for path in list_artifact_folders(artifacts):
        damage = artifacts.find_damage(path.name)
        if not damage:
            done.current += 1
        elif artifacts.is_nameless(path.name):
            done.artifacts += 1
            if not dry_run:
                artifacts.name(path.name)
        else:
            done.left.append(f"{path}: {damage}")
    return done
