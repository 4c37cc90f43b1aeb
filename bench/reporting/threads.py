"""Say with how many threads records were made: on a CPU, another number rounds sums otherwise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any


def threads_of(record: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the numbers of threads that any stage of a record was made with, ascending.

    There are none where a GPU computed, where there are no scores, and in records of before they were kept.
    """
    by_stage = (record.get("cost") or {}).get("threads") or {}
    return tuple(sorted({count for counts in by_stage.values() for count in counts or ()}))


def describe_thread_mixture(records: Iterable[Mapping[str, Any]]) -> str:
    """Return in words which methods were made with which numbers of threads; nothing where all are alike."""
    methods: dict[tuple[int, ...], dict[str, None]] = defaultdict(dict)
    for record in records:
        if counts := threads_of(record):
            methods[counts][record["cell"]["method"]] = None
    if len(methods) < 2:
        return ""
    groups = [f"{_count_threads(counts)} ({', '.join(methods[counts])})" for counts in sorted(methods)]
    return f"Numbers of threads differ, and with them the rounding: {'; '.join(groups)}"


def describe_other_threads(records: Iterable[Mapping[str, Any]], threads: int) -> str:
    """Return how many records were made with other threads than a run has now; nothing where none were."""
    counted = [counts for counts in map(threads_of, records) if counts]
    others = [counts for counts in counted if counts != (threads,)]
    if not others:
        return ""
    counts = sorted({count for other in others for count in other} - {threads})
    return (
        f"{len(others)} of {len(counted)} cells were made with {_count_threads(counts)}, "
        f"this run has {threads}. "
        f"Sums then round otherwise: use --threads {counts[0]} for numbers that are theirs to the bit."
    )


def _count_threads(counts: Iterable[int]) -> str:
    counts = list(counts)
    return f"{' and '.join(map(str, counts))} thread{'s' * (counts != [1])}"
