"""How a score came about: scores of two protocols do not belong in one column unmarked.

A fine-tuned network beats a frozen one, and a setting that was chosen on the test split beats one
that was not, whatever the method.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.errors import UsageError
from bench.reporting.axes import RecordPoint
from bench.reporting.headings import heading, label
from bench.reporting.pivot import Place, TableGrid, goes_across

USUAL = {"features": "frozen", "probe": "offline", "checkpoint": "last epoch", "selected_split": None}
NOTHING = "nothing"
CHOSEN = {
    "train": "chosen on held-out training labels",
    "val": "chosen on the data's own validation split",
    "test": "chosen on the test split",
}
LISTED = 3  # names that are listed before it says only how many more there are


class Protocol(NamedTuple):
    """What must be alike for two scores to be compared; no split where nothing was chosen."""

    features: str
    probe: str
    checkpoint: str
    selected_split: str | None

    def __str__(self) -> str:
        """Return the protocol in words."""
        split = self.selected_split
        return ", ".join((*self[:3], *((CHOSEN.get(split, f"chosen on {split}"),) if split else ())))


ByProtocol = dict[Protocol, list[RecordPoint]]


def protocol_tags(points: Iterable[RecordPoint]) -> dict[str, str | None]:
    """Return what the records that are ok say of their protocol, by tag; none where there are none."""
    told = [_tags(point.record) for point in points if point.record["status"] == "ok"]
    values = {name: dict.fromkeys(str(tag[name]) for tag in told if tag[name]) for name in USUAL}
    return {name: ", ".join(found) or None for name, found in values.items()}


def by_protocol(points: Iterable[RecordPoint]) -> ByProtocol:
    """Group the points that are ok; one that chose nothing is of the protocol of those that did."""
    found: ByProtocol = defaultdict(list)
    for point in points:
        if point.record["status"] == "ok":
            found[_protocol(point.record)].append(point)
    for loose in [protocol for protocol in found if protocol.selected_split is None]:
        bound = next((other for other in found if other != loose and other[:3] == loose[:3]), None)
        if bound is not None:
            found[bound].extend(found.pop(loose))
    return dict(found)


def refuse_mixed(grid: TableGrid) -> None:
    """Refuse a column of two protocols, for one would be read as the better method.

    Raises:
        UsageError: there is such a column.
    """
    for across, points in _mixtures(grid):
        found = by_protocol(points)
        axis = _apart_by(found, grid.layout.rows)
        mend = f"Put {axis} into --cols, or use --mix-protocols" if axis else "Use --mix-protocols"
        column = heading(grid.layout, across)
        raise UsageError(f'table: the column "{column}" mixes {_described(found, axis)}. {mend}.')


def describe_mixture(grid: TableGrid) -> str:
    """Return in words which protocols share a column; nothing where none do."""
    mixtures = [points for _, points in _mixtures(grid)]
    if not mixtures:
        return ""
    found = by_protocol(point for points in mixtures for point in points)
    described = _described(found, _apart_by(found, grid.layout.rows))
    return f"{'a column mixes' if len(mixtures) == 1 else 'columns mix'} {described}"


def _tags(record: Mapping[str, Any]) -> dict[str, str | None]:
    told = record.get("protocol") or {}
    return {name: told.get(name) or usual for name, usual in USUAL.items()}


def _protocol(record: Mapping[str, Any]) -> Protocol:
    features, probe, checkpoint, split = _tags(record).values()
    return Protocol(str(features), str(probe), str(checkpoint), None if split == NOTHING else split)


def _mixtures(grid: TableGrid) -> list[tuple[Place, list[RecordPoint]]]:
    """Return the columns of two protocols or more, each with its points under one metric."""
    columns: dict[tuple[Place, str], list[RecordPoint]] = defaultdict(list)
    for (_, across), cell in grid.cells.items():
        columns[across, cell.metric].extend(cell.points)
    return [(across, points) for (across, _), points in columns.items() if len(by_protocol(points)) > 1]


def _apart_by(found: ByProtocol, rows: Iterable[str]) -> str | None:
    """Return an axis of the rows that would keep the protocols apart, best the evaluator."""
    for axis in sorted(rows, key=lambda name: (name != "evaluator", not goes_across(name))):
        values = [{point.at.get(axis) for point in points} for points in found.values()]
        if sum(map(len, values)) == len(set().union(*values)):
            return axis
    return None


def _described(found: ByProtocol, axis: str | None) -> str:
    axis = axis or "evaluator"
    told = (
        f"{protocol} ({_listed(list(dict.fromkeys(label(axis, point.at.get(axis)) for point in points)))})"
        for protocol, points in found.items()
    )
    return f"{'two' if len(found) == 2 else len(found)} protocols: {'; '.join(told)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
