"""Put the nearest published result beside each of ours, and say how its protocol differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.published.nearest import Protocol, Reference, find_nearest
from bench.published.results import PublishedResult
from bench.reporting.formats.base import Table, TableCell, TableColumn
from bench.reporting.metric_choice import USUAL_METRIC
from bench.reporting.naming import Names
from bench.reporting.pivot import Pivot, Position, SeedGroup
from bench.storage.data_names import data_of

PUBLISHED = "published"
USUAL_CHECKPOINT = "last epoch"

References = Mapping[Position, Reference]


def find_references(
    pivot: Pivot, results: Sequence[PublishedResult], names: Mapping[str, str] = Names()
) -> References:
    """Return the nearest published result of each cell that shows top-1 and of whose method there is one.

    Args:
        pivot: the table's groups.
        results: the published results.
        names: what a data set or a method is renamed to, which may be what it is published by.
    """
    found = {}
    for position, group in pivot.groups.items():
        reference = _find(group, results, names) if group.metric == USUAL_METRIC else None
        if reference is not None:
            found[position] = reference
    return found


def add_references(table: Table, pivot: Pivot, references: References) -> Table:
    """Return the table with a column of published results after each column that has some.

    Args:
        table: of `pivot`, a row a row and a column a column.
        pivot: the table's groups.
        references: by their cells' positions.
    """
    if not references:
        remarks = (*table.caption.remarks, "Nothing is published of these methods and data sets")
        return replace(table, caption=replace(table.caption, remarks=remarks))
    notes = dict.fromkeys(table.notes)
    columns: list[TableColumn] = []
    lines: list[list[TableCell | None]] = [[] for _ in table.rows]
    beside: dict[Position, TableCell] = {}
    for row, known in zip(pivot.rows, table.rows, strict=True):  # so that notes are counted row by row
        for column, cell in zip(pivot.columns, known.cells, strict=True):
            if cell is not None and (row, column) in references:
                beside[row, column] = _make_cell(cell, references[row, column], notes)
    for place, column in enumerate(pivot.columns):
        own = [row.cells[place] for row in table.rows]
        published = [beside.get((row, column)) for row in pivot.rows]
        heads = [table.columns[place], *([_head(table.columns[place])] if any(published) else [])]
        columns += heads
        for line, *both in zip(lines, own, published, strict=True):
            line.extend(both[: len(heads)])
    rows = tuple(replace(row, cells=tuple(line)) for row, line in zip(table.rows, lines, strict=True))
    return replace(table, columns=tuple(columns), rows=rows, notes=tuple(notes))


def _find(group: SeedGroup, results: Sequence[PublishedResult], names: Mapping[str, str]) -> Reference | None:
    axes = group.points[0].axes
    if axes.get("shots") is not None:
        return None  # what is published here is of shares of the labels
    ours = _protocol_of(group)
    plugin = data_of(group.points[0].record)[1].plugin  # a folder is not what its name may say
    for dataset in dict.fromkeys((plugin, names.get(axes["eval_dataset"]))):
        for method in dict.fromkeys((axes["method"], names.get(axes["method"]))):
            found = find_nearest(results, str(method), str(dataset), ours)
            if found is not None:
                return found
    return None


def _protocol_of(group: SeedGroup) -> Protocol:
    """Return how the records of a cell came to be."""
    point = next((p for p in group.points if p.record["status"] == "ok"), group.points[0])
    config = point.record.get("config") or {}
    training, said = config.get("training") or {}, point.record.get("protocol") or {}
    checkpoint = said.get("checkpoint") or USUAL_CHECKPOINT
    fraction = point.axes["label_frac"]
    return Protocol(
        backbone=str(point.axes["backbone"]),
        stem=_known_stem(config),
        epochs=_whole(training.get("epochs")),
        batch_size=_whole(training.get("batch_size")),
        readout=str(point.axes["evaluator"]),
        online=said.get("probe") == "online",
        transfer=point.is_transfer,
        label_frac=1.0 if fraction is None else float(fraction),
        k=_whole((config.get("evaluator") or {}).get("k")),
        remarks=() if checkpoint == USUAL_CHECKPOINT else (str(checkpoint),),
    )


def _known_stem(config: Mapping[str, Any]) -> str | None:
    """Return the stem that was chosen; none where it followed from the size of the images."""
    stem = (config.get("backbone") or {}).get("stem")
    return stem if stem in ("small", "standard") else None


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and value == int(value) and value > 0 else None


def _describe(reference: Reference) -> str:
    result = reference.result
    differs = (
        f"Differs: {'; '.join(reference.differences)}" if reference.differences else "Differs in nothing"
    )
    return f"published as {result.published}, {result.evaluator}: {result.source}. {differs}."


def _make_cell(cell: TableCell, reference: Reference, notes: dict[str, None]) -> TableCell:
    """Return the cell of a published result: the number as it is published, and its note, which is noted."""
    note = _describe(reference)
    notes.setdefault(note)
    number = list(notes).index(note) + 1
    return replace(
        cell,
        text=f"{reference.result.top1:g} [{number}]",
        higher_is_better=True,
        mean=reference.result.top1,
        std=None,
        by_seed={},
        status=PUBLISHED,
        troubles=(note,),
        best=False,
        on_diagonal=False,
        protocol=dict.fromkeys(cell.protocol),
    )


def _head(column: TableColumn) -> TableColumn:
    """Return the column beside one of ours."""
    heading = f"{column.heading} / {PUBLISHED}" if any(column.levels) else PUBLISHED
    return replace(column, heading=heading, levels=(*column.levels, PUBLISHED))
