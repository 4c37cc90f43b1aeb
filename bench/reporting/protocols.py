"""Refuse a column with scores of two protocols, or say in the caption that it has them.

A fine-tuned network beats a frozen one, and a setting that was chosen on the test split beats one
that was not, whatever the method.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.errors import UsageError
from bench.reporting.axes import RecordPoint
from bench.reporting.headings import head_column, label_value
from bench.reporting.pivot import AxisValues, Layout, Pivot, is_of_task

USUAL_TAGS: Mapping[str, str | None] = {
    "features": "frozen",
    "probe": "offline",
    "checkpoint": "last epoch",
    "selected_split": None,
}
NOTHING = "nothing"
SELECTED_ON = {
    "train": "chosen on held-out training labels",
    "val": "chosen on the data's own validation split",
    "test": "chosen on the test split",
}
MOST_NAMES = 3  # that are listed before it says only how many more there are


class Protocol(NamedTuple):
    """What must be alike for two scores to be compared; no split where nothing was chosen."""

    features: str
    probe: str
    checkpoint: str
    selected_split: str | None

    def __str__(self) -> str:
        """Return the protocol in words."""
        words = [self.features, self.probe, self.checkpoint]
        if self.selected_split:
            words.append(SELECTED_ON.get(self.selected_split, f"chosen on {self.selected_split}"))
        return ", ".join(words)


PointsByProtocol = dict[Protocol, list[RecordPoint]]


def protocol_tags(points: Iterable[RecordPoint]) -> dict[str, str | None]:
    """Return the tags of the records that are ok, different ones listed; none where there are none."""
    records = [_tags_of(point.record) for point in points if point.record["status"] == "ok"]
    merged = {}
    for name in USUAL_TAGS:
        values = dict.fromkeys(str(tags[name]) for tags in records if tags[name])
        merged[name] = ", ".join(values) or None
    return merged


def group_by_protocol(points: Iterable[RecordPoint]) -> PointsByProtocol:
    """Group the points that are ok; one that chose nothing joins those that chose on some split."""
    groups: PointsByProtocol = defaultdict(list)
    for point in points:
        if point.record["status"] == "ok":
            groups[_protocol_of(point.record)].append(point)
    for protocol in [protocol for protocol in groups if protocol.selected_split is None]:
        same = (other for other in groups if other != protocol and other[:3] == protocol[:3])
        match = next(same, None)
        if match is not None:
            groups[match].extend(groups.pop(protocol))
    return dict(groups)


def refuse_mixed(pivot: Pivot) -> None:
    """Refuse a column of two protocols, for one would be read as the better method.

    Raises:
        UsageError: there is such a column.
    """
    for column, points in _list_mixtures(pivot):
        groups = group_by_protocol(points)
        axis = _find_separating_axis(groups, pivot.layout.rows)
        advice = f"Put {axis} into --cols, or use --mix-protocols" if axis else "Use --mix-protocols"
        raise UsageError(
            f'table: the column "{head_column(pivot.layout, column)}" mixes '
            f"{_describe_groups(pivot.layout, groups, axis)}. {advice}."
        )


def describe_mixture(pivot: Pivot) -> str:
    """Return in words which protocols share a column; nothing where none do."""
    mixtures = [points for _, points in _list_mixtures(pivot)]
    if not mixtures:
        return ""
    groups = group_by_protocol(point for points in mixtures for point in points)
    description = _describe_groups(pivot.layout, groups, _find_separating_axis(groups, pivot.layout.rows))
    return f"{'a column mixes' if len(mixtures) == 1 else 'columns mix'} {description}"


def _tags_of(record: Mapping[str, Any]) -> Mapping[str, str | None]:
    recorded = record.get("protocol")
    if not recorded:
        return USUAL_TAGS
    return {name: recorded.get(name) or usual for name, usual in USUAL_TAGS.items()}


def _protocol_of(record: Mapping[str, Any]) -> Protocol:
    features, probe, checkpoint, split = _tags_of(record).values()
    return Protocol(str(features), str(probe), str(checkpoint), None if split == NOTHING else split)


def _list_mixtures(pivot: Pivot) -> list[tuple[AxisValues, list[RecordPoint]]]:
    """Return the columns of two protocols or more, each with its points under one metric."""
    points_by_column: dict[tuple[AxisValues, str], list[RecordPoint]] = defaultdict(list)
    for (_, column), group in pivot.groups.items():
        points_by_column[column, group.metric].extend(group.points)
    return [
        (column, points)
        for (column, _), points in points_by_column.items()
        if len(group_by_protocol(points)) > 1
    ]


def _find_separating_axis(groups: PointsByProtocol, rows: Iterable[str]) -> str | None:
    """Return an axis of the rows that would keep the protocols apart, best the evaluator."""
    for axis in sorted(rows, key=lambda name: (name != "evaluator", not is_of_task(name))):
        values = [{point.axes.get(axis) for point in points} for points in groups.values()]
        if sum(map(len, values)) == len(set().union(*values)):
            return axis
    return None


def _describe_groups(layout: Layout, groups: PointsByProtocol, axis: str | None) -> str:
    """Return the protocols in words, each with its values on `axis`, or its evaluators."""
    axis = axis or "evaluator"
    descriptions = []
    for protocol, points in groups.items():
        labels = list(dict.fromkeys(label_value(layout, axis, point.axes.get(axis)) for point in points))
        descriptions.append(f"{protocol} ({_shorten(labels)})")
    count = "two" if len(groups) == 2 else len(groups)
    return f"{count} protocols: {'; '.join(descriptions)}"


def _shorten(names: Sequence[str]) -> str:
    text = ", ".join(names[:MOST_NAMES])
    return f"{text} and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else text
