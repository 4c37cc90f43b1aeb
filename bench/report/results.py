"""Read all that the report shows: the records of some folders, and what their trainings logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.report.styles import LABELLED, UNTRAINED
from bench.reporting.folders import identify
from bench.storage.artifacts import ArtifactStore
from bench.storage.epochs import Epoch, read_epochs
from bench.storage.records import Record, RecordStore


@dataclass(frozen=True)
class Results:
    """The records of some folders.

    Args:
        folders: as they were asked for.
        records: each once, in the order of the folders.
        repeated_count: how many records were in an earlier folder, too, and are not counted again.
    """

    folders: tuple[Path, ...]
    records: tuple[Record, ...]
    repeated_count: int = 0

    def read_epochs(self, backbone_key: str) -> list[Epoch]:
        """Return what a training logged, an epoch each; nothing where no folder has its artifact."""
        logs = (read_epochs(ArtifactStore(folder), backbone_key) for folder in self.folders)
        return next(filter(None, logs), [])

    def roles(self) -> dict[str, str]:
        """Return what the others are measured by: methods that saw labels, and those that learn nothing."""
        roles: dict[str, str] = {}
        for record in self.records:
            method = record["cell"]["method"]
            if (record.get("protocol") or {}).get("training_labels"):
                roles[method] = LABELLED
            elif _is_untrained(record):
                roles.setdefault(method, UNTRAINED)
        return roles


def read_results(folders: Sequence[Path]) -> Results:
    """Return the records of some folders.

    Raises:
        UsageError: one of them has no records, or a newer bench wrote one.
    """
    folders = tuple(dict.fromkeys(folders))
    records: dict[tuple[Any, ...], Record] = {}
    count = 0
    for folder in folders:
        found = list(RecordStore(folder).records())
        if not found:
            raise UsageError(f"no records in {folder}. Run `bench run` first.")
        count += len(found)
        for record in found:
            records.setdefault(identify(record), record)
    return Results(folders, tuple(records.values()), count - len(records))


def count_statuses(records: Iterable[Mapping[str, Any]]) -> str:
    """Return how many cells are done, in words."""
    statuses = [record["status"] for record in records]
    parts = [f"{statuses.count(name)} {name}" for name in ("ok", "failed", "skipped") if name in statuses]
    return f"{len(statuses)} cell{'s' * (len(statuses) != 1)}: {', '.join(parts)}"


def _is_untrained(record: Mapping[str, Any]) -> bool:
    training = (record.get("config") or {}).get("training")
    return training is not None and "epochs" not in training and record["status"] == "ok"
