"""The state of a results folder: what is done, what is not and why, what it takes on disk."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench.errors import UsageError
from bench.reporting.axes import TRAINED
from bench.reporting.pivot import reason_of

STEP = 1000
UNITS = ("B", "kB", "MB", "GB", "TB")


def status(records: Iterable[Mapping[str, Any]], folder: str | Path = "results") -> str:
    """Return how many cells are done, why others are not, and what the artifacts take on disk.

    Args:
        records: as `Store.records` yields them.
        folder: the results folder.

    Raises:
        UsageError: there are no records.
    """
    records = list(records)
    if not records:
        raise UsageError(f"no records in {folder}. Run `bench run` first.")
    parts = [_counts(records)]
    for kind, advice in (
        ("failed", "The same `bench run` again tries these anew and repeats nothing that is ok:"),
        ("skipped", "These combinations cannot work as they are set:"),
    ):
        bad = [record for record in records if record["status"] == kind]
        parts += ["\n".join([f"{kind}: {len(bad)}. {advice}", *_reasons(bad)])] if bad else []
    return "\n\n".join([*parts, _artifacts(Path(folder) / "artifacts")])


def _counts(records: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for record in records:
        counts[tuple(record["cell"][name] for name in TRAINED)][record["status"]] += 1
    statuses = ("ok", "failed", "skipped")
    rows = [[*place, *(str(count[name]) for name in statuses)] for place, count in counts.items()]
    total = [str(sum(count[name] for count in counts.values())) for name in statuses]
    rows.append(["all", "", "", *total])
    align = ["left"] * len(TRAINED) + ["right"] * len(statuses)
    return tabulate(rows, (*TRAINED, *statuses), "simple", colalign=align, disable_numparse=True)


def _reasons(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield each reason once, with the cells it holds for."""
    places: dict[str, list[str]] = defaultdict(list)
    for record in records:
        cell = record["cell"]
        where = f"{cell['method']} on {cell['backbone']}/{cell['dataset']}"
        places[reason_of(record)].append(f"{where}, {cell['evaluator']}, seed {cell.get('seed')}")
    for reason, (first, *more) in places.items():
        yield f"  {reason} ({first}{f' and {len(more)} more' if more else ''})"


def _artifacts(folder: Path) -> str:
    sizes = list(_sizes(folder))
    size, unit = float(sum(sizes)), 0
    while size >= STEP and unit < len(UNITS) - 1:
        size, unit = size / STEP, unit + 1
    files = f"{len(sizes)} file{'s' * (len(sizes) != 1)}"
    return f"artifacts: {size:.{min(unit, 1)}f} {UNITS[unit]} in {files} in {folder}"


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a worker may have just renamed it
            if path.is_file():
                yield path.stat().st_size
