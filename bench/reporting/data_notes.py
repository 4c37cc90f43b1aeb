"""Say what records note of their data: how a test split was drawn, which images were left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from bench.plain_text import join_lines
from bench.storage.data_names import ROLES, name_data

MOST = 3  # data sets that are named for one note


def describe_data_notes(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return each note once, after the data sets that it is of, without a full stop.

    An older record of two data sets, trained on one and evaluated on the other, has the notes of both. A note
    is of those that have it in every record of theirs or, where there are none, of all that have it in some.
    """
    seen: dict[str, list[frozenset[str]]] = defaultdict(list)  # by data set, the notes of each record
    noted: dict[str, dict[str, None]] = defaultdict(dict)  # by note, the data sets of its records
    records = list(records)
    for record, names in zip(records, name_data(records), strict=True):
        if record["status"] != "ok":
            continue  # it has no notes, whatever its data
        known = record.get("notes_of") or {}
        for name, role in dict(zip(names, ROLES, strict=True)).items():
            notes = known.get(role, record.get("notes") or ())
            seen[name].append(frozenset(notes))
            for note in notes:
                noted[note][name] = None
    lines = []
    for note, named in noted.items():
        always = [name for name in named if all(note in notes for notes in seen[name])]
        lines.append(f"{_name(always or list(named))}: {join_lines(str(note)).rstrip('.')}")
    return lines


def _name(names: list[str]) -> str:
    others = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {others} more" if others > 0 else "")
