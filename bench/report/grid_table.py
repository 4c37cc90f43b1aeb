"""Show the grid as `bench table` lays it out, under each of its metrics; a script sorts and filters it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report.markup import DASH, escape, escape_json, write_table
from bench.report.results import Results
from bench.report.section import Section
from bench.reporting.formats.base import Table, TableCell, TableRow
from bench.reporting.headings import format_label
from bench.reporting.pivot import describe_reason
from bench.reporting.table import build_table
from bench.storage.data_names import name_data

MOST_CELLS = 6_000  # of all tables of a page together, so that a page of 1,000 cells stays below a megabyte
MOST_NAMED = 12  # cells that are named of those with one reason
HEADLINES = "the headline of each evaluator"
NO_SCORE = "Cells without a score"


@dataclass(frozen=True)
class MetricTable:
    """The grid under one metric.

    Args:
        name: what it is chosen by.
        table: as `bench table` has it.
    """

    name: str
    table: Table


def build_grid(results: Results, headlines: Table) -> Section:
    """Return the section of the grid: a table for each metric, and why cells have no score.

    Args:
        results: what is reported.
        headlines: their table under no metric in particular.
    """
    tables, left_out = list_tables(results, headlines)
    body = "".join(_write_metric(number, one) for number, one in enumerate(tables))
    body = f'<div id="grid-tables">{body}</div>{write_troubles(results.records)}'
    return Section("grid", "Results", (describe_left_out(left_out),), body=body)


def list_tables(results: Results, headlines: Table) -> tuple[list[MetricTable], list[str]]:
    """Return the table of the headlines, then that of each metric; and the metrics there is no room for."""
    shown = list(dict.fromkeys(cell.metric for cell in headlines.cells()))
    tables = [MetricTable(shown[0] if len(shown) == 1 else HEADLINES, headlines)]
    room = MOST_CELLS - sum(1 for _ in headlines.cells())
    left_out: list[str] = []
    for metric in list_metrics(results.records):
        if shown == [metric]:
            continue
        if left_out:
            left_out.append(metric)
            continue
        table = build_table(results.records, metric=[metric], mix_protocols=True, folder=results.folders)
        room -= sum(1 for _ in table.cells())
        if room < 0:
            left_out.append(metric)
        else:
            tables.append(MetricTable(metric, table))
    return tables, left_out


def list_metrics(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all metrics, those first that most records have."""
    counts: dict[str, int] = defaultdict(int)
    for record in records:
        for name in record.get("metrics") or {}:
            counts[name] += 1
    return sorted(counts, key=lambda name: (-counts[name], name))


def describe_left_out(metrics: Sequence[str]) -> str:
    """Return in words which metrics there was no room for; nothing where there was."""
    if not metrics:
        return ""
    count = f"{len(metrics)} metric{'s' * (len(metrics) != 1)}"
    return f"{count} would make the page too large: {', '.join(metrics)}. `bench table --metric` prints them."


def write_troubles(records: Sequence[Mapping[str, Any]]) -> str:
    """Return why cells failed or were skipped, each reason once, as HTML; nothing where all are ok."""
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        if record["status"] != "ok":
            cells[record["status"], describe_reason(record)].append(_name_cell(record))
    if not cells:
        return ""
    rows = [
        (status, len(names), reason, "; ".join(names[:MOST_NAMED]) + _count_more(names))
        for (status, reason), names in cells.items()
    ]
    table = write_table(("status", "cells", "reason", "which"), rows, NO_SCORE)
    return f'<h3 id="no-score">{NO_SCORE}</h3><div class="reasons">{table}</div>'


def _name_cell(record: Mapping[str, Any]) -> str:
    cell, (trained, on) = record["cell"], name_data([record])[0]
    text = f"{cell['method']} on {cell['backbone']}/{trained}, {cell['evaluator']}"
    text += f" on {on}" if on != trained else ""
    fraction = cell.get("label_frac")
    text += f" with {format_label('label_frac', fraction)}" if fraction is not None else ""
    text += f" with {format_label('shots', cell['shots'])}" if "shots" in cell else ""
    return f"{text}, seed {cell.get('seed')}"


def _count_more(names: Sequence[str]) -> str:
    return f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""


def _write_metric(number: int, one: MetricTable) -> str:
    table = one.table
    labels = [f'<th scope="col" data-axis="{escape(axis)}">{escape(head)}</th>'
              for axis, head in zip(table.row_axes, table.row_headers, strict=True)]  # fmt: skip
    heads = [
        f'<th scope="col" data-values="{_list_values(table.column_axes, column.values)}"'
        f' data-up="{_find_direction(table, place)}">{escape(column.heading)}</th>'
        for place, column in enumerate(table.columns)
    ]
    rows = "".join(_write_row(row) for row in table.rows)
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.numbered_notes())
    hidden = " hidden" if number else ""
    return (
        f'<div class="metric" data-metric="{escape(one.name)}"{hidden}>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(one.name)}">'
        f'<table class="grid" data-axes="{escape_json(list(table.column_axes))}">'
        f"<caption><span>{escape(table.caption_with('Bold'))}</span></caption>"
        f"<thead><tr>{''.join((*labels, *heads))}</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<div class="notes">{notes}</div></div>'
    )


def _list_values(axes: Sequence[str], values: Mapping[str, Any]) -> str:
    return escape_json([format_label(axis, values[axis]) for axis in axes])


def _find_direction(table: Table, place: int) -> int:
    """Return 0 where less is better in a column, so that it is sorted with the least first."""
    cells = (row.cells[place] for row in table.rows)
    return int(not any(cell is not None and cell.higher_is_better is False for cell in cells))


def _write_row(row: TableRow) -> str:
    labels = "".join(f'<th scope="row">{escape(label)}</th>' for label in row.labels)
    return f"<tr>{labels}{''.join(map(_write_cell, row.cells))}</tr>"


def _write_cell(cell: TableCell | None) -> str:
    if cell is None:
        return f"<td>{DASH}</td>"
    text = escape(cell.text)
    if cell.best:
        return f"<td><strong>{text}</strong></td>"
    kind = f' class="{cell.status}"' if cell.status in ("failed", "skipped", "partial") else ""
    return f"<td{kind}>{text}</td>"
