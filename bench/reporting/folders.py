"""Read the records of several results folders as if they were one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import UsageError
from bench.reporting.axes import FOLDER
from bench.storage.artifacts import ArtifactStore
from bench.storage.predictions import read_predictions
from bench.storage.presence import is_there
from bench.storage.records import IDENTITY, Record, RecordStore

if TYPE_CHECKING:
    from bench.storage.predictions import Predictions


@dataclass(frozen=True)
class FolderRecords:
    """The records of some results folders.

    Args:
        records: those of the first folder first.
        folders: each once.
        is_axis: the records have their folder as an axis.
    """

    records: list[Record]
    folders: tuple[Path, ...]
    is_axis: bool
    _counts: tuple[int, ...]

    def origins_of(self, some: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the number of the folder of some of the records, which are these objects."""
        numbers = (number for number, count in enumerate(self._counts) for _ in range(count))
        by_object = {id(record): number for record, number in zip(self.records, numbers, strict=True)}
        return [by_object[id(record)] for record in some]


def read_folders(folders: Sequence[Path], *, as_axis: bool = False) -> FolderRecords:
    """Return the records of all folders.

    The axis `folder` tells them apart where it is asked for, and where the same cell is in two of them: two
    records of one cell are never averaged.

    Args:
        folders: of results; one that is there twice counts once.
        as_axis: have the axis in any case.

    Raises:
        UsageError: one of several folders has no records.
    """
    distinct = list({folder.resolve(): folder for folder in reversed(folders)}.values())[::-1]
    by_folder = {folder: list(RecordStore(folder).records()) for folder in distinct}
    for folder, records in by_folder.items():
        if not records and len(by_folder) > 1:
            raise UsageError(f"no records in {folder}. Run `bench run` first, or leave it out of --results.")
    as_axis = as_axis or _share_a_cell(by_folder)
    records = [
        {**record, FOLDER: str(folder)} if as_axis else record
        for folder, own in by_folder.items()
        for record in own
    ]
    return FolderRecords(records, tuple(distinct), as_axis, tuple(map(len, by_folder.values())))


def identify(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what two files of one cell have in common: a skipped cell may have the key of another."""
    return record["keys"]["score"], *(record["cell"].get(name) for name in IDENTITY)


class StoredPredictions:
    """The predictions that are stored in any of some results folders.

    Args:
        folders: of results.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._stores = [ArtifactStore(folder) for folder in folders]

    def read(self, score_key: str) -> Predictions | None:
        """Return the predictions of a score; none where no folder has them, or two have others."""
        read = (
            read_predictions(store, score_key) for store in self._stores if is_there(store.folder / score_key)
        )
        found = [one for one in read if one is not None]
        return found[0] if found and all(_are_equal(found[0], other) for other in found[1:]) else None


def _are_equal(one: Predictions, other: Predictions) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))  # type: ignore[arg-type]


def _share_a_cell(by_folder: Mapping[Path, Sequence[Record]]) -> bool:
    """Tell whether two folders have a record of the same cell."""
    seen: set[tuple[Any, ...]] = set()
    for records in by_folder.values():
        cells = set(map(identify, records))
        if seen & cells:
            return True
        seen |= cells
    return False
