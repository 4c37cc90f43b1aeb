"""Describe a results folder: what runs, what is done, what is not and why, what it takes on disk."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench.errors import UsageError
from bench.plain_text import format_bytes, join_lines
from bench.reporting.axes import TRAINED_FIELDS
from bench.reporting.data_notes import describe_data_notes
from bench.reporting.pivot import describe_reason
from bench.reporting.running import describe_running
from bench.storage.artifacts import ArtifactStore
from bench.storage.attempts import is_given_up
from bench.storage.data_names import name_data
from bench.storage.presence import is_there, list_below, why_unlisted
from bench.storage.record_shape import STATUSES

ADVICE = {
    "failed": "The same `bench run` again tries these anew and repeats nothing that is ok:",
    "given up": "`bench run --retry-failed` tries these again, which have failed too often:",
    "skipped": "These combinations cannot work as they are set:",
}


def describe_status(records: Iterable[Mapping[str, Any]], folder: str | Path = "results") -> str:
    """Return what runs, how many cells are done, why others are not, and what the artifacts take on disk.

    Args:
        records: as `RecordStore.records` yields them.
        folder: the results folder.

    Raises:
        UsageError: there are no records, and nothing runs.
    """
    records = list(records)
    running = ["\n".join(lines)] if (lines := describe_running(folder).lines) else []
    if not records:
        if running:
            return running[0]
        raise UsageError(f"no records in {folder}. Run `bench run` first.")
    paragraphs = [*running, count_cells(records)]
    for kind, advice in ADVICE.items():
        matches = [record for record in records if _kind_of(record) == kind]
        if matches:
            paragraphs.append("\n".join([f"{kind}: {len(matches)}. {advice}", *_list_reasons(matches)]))
    if notes := describe_data_notes(records):
        paragraphs.append("\n".join(["data:", *(f"  {note}" for note in notes)]))
    paragraphs += filter(None, _describe_artifacts(records, ArtifactStore(Path(folder))))
    return "\n\n".join(paragraphs)


def _describe_artifacts(records: Iterable[Mapping[str, Any]], artifacts: ArtifactStore) -> Iterator[str]:
    """Yield what is missing of the artifacts, and what they take on disk."""
    if why := why_unlisted(artifacts.folder):
        yield f"artifacts: {artifacts.folder} cannot be listed ({why})"
        return
    yield _count_predictions(records, artifacts)
    yield _measure_artifacts(artifacts.folder)


def _kind_of(record: Mapping[str, Any]) -> str:
    """Return the status of a cell, or that it was given up."""
    return "given up" if is_given_up(record) else str(record["status"])


def count_cells(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of how many cells of each training have which status."""
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for record, (trained, _) in zip(records, name_data(records), strict=True):
        names = (record["cell"]["method"], record["cell"]["backbone"], trained)
        counts[names][record["status"]] += 1
    rows = [
        [*map(join_lines, names), *(str(count[status]) for status in STATUSES)]
        for names, count in counts.items()
    ]
    totals = [str(sum(count[status] for count in counts.values())) for status in STATUSES]
    rows.append(["all", "", "", *totals])
    align = ["left"] * len(TRAINED_FIELDS) + ["right"] * len(STATUSES)
    return tabulate(rows, (*TRAINED_FIELDS, *STATUSES), "simple", colalign=align, disable_numparse=True)


def _list_reasons(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield each reason once, with the cells it holds for."""
    cells: dict[str, list[str]] = defaultdict(list)
    records = list(records)
    for record, (trained, _) in zip(records, name_data(records), strict=True):
        cell = record["cell"]
        training = f"{cell['method']} on {cell['backbone']}/{trained}"
        cells[describe_reason(record)].append(
            join_lines(f"{training}, {cell['evaluator']}, seed {cell.get('seed')}")
        )
    for reason, (first, *others) in cells.items():
        more = f" and {len(others)} more" if others else ""
        yield f"  {reason} ({first}{more})"


def _count_predictions(records: Iterable[Mapping[str, Any]], artifacts: ArtifactStore) -> str:
    """Return of how many records the predictions are gone or damaged, or nothing where of none."""
    keys = [record["keys"]["score"] for record in records if record.get("predictions")]
    there = [key for key in keys if is_there(artifacts.folder / key)]
    gone = len(keys) - len(there)
    damaged = sum(not artifacts.has(key) for key in there)
    if not gone and not damaged:
        return ""
    return (
        f"predictions: of {len(keys)} records, those of {gone} are gone and those of {damaged} are "
        "damaged. Tables know no more of these than counts; `bench verify` looks closer."
    )


def _measure_artifacts(folder: Path) -> str:
    sizes = list(_list_sizes(folder))
    files = "1 file" if len(sizes) == 1 else f"{len(sizes)} files"
    return f"artifacts: {format_bytes(sum(sizes))} in {files} in {folder}"


def _list_sizes(folder: Path) -> Iterator[int]:
    for path in list_below(folder):
        with contextlib.suppress(OSError):  # a worker may have just renamed it
            if path.is_file():
                yield path.stat().st_size
