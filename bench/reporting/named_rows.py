"""Find the row that a person names: `simclr`, `simclr/resnet18` or `method=simclr,label_frac=0.1`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import BadValue, UnknownName, suggest
from bench.reporting.axes import Survey
from bench.reporting.formats.values import format_value
from bench.reporting.headings import format_label
from bench.reporting.pivot import AxisValues, Layout, Pivot, SeedGroup
from bench.storage.data_names import plugin_of

NAMED_FIRST = ("method", "backbone")
BEFORE_AXIS = re.compile(r",(?=[^,=/]+=)")  # a value may have commas: views.ops=crop,flip


@dataclass(frozen=True)
class Selection:
    """What a person named.

    Args:
        text: as it was written.
        named: the value of each axis that was named with one, as text.
        words: what stands alone: the labels of a row, or several of them with slashes between.
    """

    text: str
    named: Mapping[str, str]
    words: tuple[str, ...]

    def fits(self, layout: Layout, group: SeedGroup) -> bool:
        """Tell whether it means a cell."""
        axes, record = group.points[0].axes, group.points[0].record
        return all(
            value in {*_texts(axis, axes.get(axis)), plugin_of(record, axis)}
            for axis, value in self.named.items()
        ) and all(_is_named(word, _names_of(layout, group)) for word in self.words)


def read_selection(text: str, survey: Survey) -> Selection:
    """Read what a person named.

    Args:
        text: labels of a row, `axis=value`, or both with commas between.
        survey: the records of the table.

    Raises:
        UnknownName: it names an axis that there is not.
    """
    named, words = {}, []
    known = survey.axis_names() - {"metric"}
    for part in BEFORE_AXIS.split(text):
        axis, equals, value = part.partition("=")
        name = survey.resolve_axis(axis.strip())
        if not equals:
            words.append(part.strip())
        elif name in known:
            named[name] = value.strip()
        else:
            raise UnknownName(f"compare {text!r}: no axis is named {axis!r}.{suggest(axis, known)}")
    return Selection(text, named, tuple(words))


def select_cells(
    pivot: Pivot, selection: Selection, unless: frozenset[str]
) -> dict[AxisValues, tuple[AxisValues, SeedGroup]]:
    """Return the cells of the row that is meant, by their column.

    Args:
        pivot: the table's groups.
        selection: what is meant.
        unless: axes that tell no columns apart: what is compared differs in them.

    Returns:
        For each column, its values on the axes that are left, the whole column and the cell.

    Raises:
        UnknownName: no row is meant.
        BadValue: several are.
    """
    layout = pivot.layout
    found: dict[AxisValues, tuple[AxisValues, SeedGroup]] = {}
    rows: dict[str, None] = {}
    several = False
    for row in pivot.rows:
        for column in pivot.columns:
            group = pivot.groups.get((row, column))
            if group is None or not selection.fits(layout, group):
                continue
            left = tuple(v for axis, v in zip(layout.cols, column, strict=True) if axis not in unless)
            several = several or left in found
            found[left] = column, group
            rows[name_row(pivot, group, unless)] = None
    if not found:
        known = {name for group in pivot.groups.values() for name in _names_of(layout, group)}
        raise UnknownName(f"compare: no row is named {selection.text!r}.{suggest(selection.text, known)}")
    if several or len(rows) > 1:
        raise BadValue(
            f"compare: {selection.text!r} is {len(rows)} rows: {', '.join(rows)}. Name one of them."
        )
    return found


def name_row(pivot: Pivot, group: SeedGroup, unless: frozenset[str] = frozenset()) -> str:
    """Return the name of a cell's row: its labels, and the axes in which what is compared differs.

    Args:
        pivot: the table's groups.
        group: the cell.
        unless: these axes, where they go across.
    """
    axes = group.points[0].axes
    more = (f"{axis}={format_value(axes.get(axis))}" for axis in pivot.layout.cols if axis in unless)
    return ",".join(["/".join(_labels_of(pivot.layout, group)), *more])


def _is_named(word: str, names: set[str]) -> bool:
    return word in names or all(part.strip() in names for part in word.split(","))


def _texts(axis: str, value: Any) -> set[str]:
    return {format_value(value), format_label(axis, value)} if value is not None else {format_value(None)}


def _labels_of(layout: Layout, group: SeedGroup) -> list[str]:
    axes = dict.fromkeys((*NAMED_FIRST, *layout.rows))
    values = {axis: group.metric if axis == "metric" else group.points[0].axes.get(axis) for axis in axes}
    return [format_label(axis, value) for axis, value in values.items() if value is not None]


def _names_of(layout: Layout, group: SeedGroup) -> set[str]:
    """Return every run of a row's labels, with slashes between."""
    labels = _labels_of(layout, group)
    ends = range(1, len(labels) + 1)
    return {"/".join(labels[start:end]) for end in ends for start in range(end)}
