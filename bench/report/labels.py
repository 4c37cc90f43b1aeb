"""Draw what each method makes of few labels: a score over their share, or over those of a class."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from bench.report.figure import Figure
from bench.report.markup import to_name
from bench.report.results import Results
from bench.report.section import Draft, Section, draw_within
from bench.report.series import REACH, SCORE_COLUMNS, Names, is_drawable, list_numbers, reach_of
from bench.report.styles import LABELLED, UNTRAINED
from bench.report.svg import Axis, Line, draw_lines
from bench.reporting.formats.base import Table, TableCell
from bench.reporting.headings import format_label
from bench.reporting.metric_choice import is_in_percent
from bench.reporting.table import build_table

AT_SHARE = re.compile(r"(.+)_at_([0-9.]+)")  # a metric that an evaluator has of several shares: in percent
MOST_SHOWN = 4  # charts at once; of more, one is chosen
LIMIT = 80_000  # letters of all charts
ONE_AMOUNT = (
    "Each evaluator had one amount of labels. `bench run --label-frac 0.01,0.1,1` or `--shots 1,5,10` makes "
    "the curve."
)


@dataclass(frozen=True)
class Amounts:
    """What amounts of labels are counted in.

    Args:
        axis: of the records.
        title: of the axis that is drawn.
        heading: of the column of numbers.
        scale: of the amount in that column.
    """

    axis: str
    title: str
    heading: str
    scale: float


SHARES = Amounts("label_frac", "share of the labels", "labels in percent", 100)
SHOTS = Amounts("shots", "labelled images a class", "labelled images a class", 1)


@dataclass(frozen=True)
class Reading:
    """A score with some of the labels.

    Args:
        facet: the chart it is in.
        metric: what it is a score of.
        counted: what the amount is counted in.
        amount: of labels: a share in (0, 1], or images a class.
        cell: its mean and its seeds.
    """

    facet: str
    metric: str
    counted: Amounts
    amount: float
    cell: TableCell


def build_labels(results: Results, table: Table, names: Names) -> Section:
    """Return the section of the label-efficiency curves.

    Args:
        results: what the report is of.
        table: the grid, under its headlines.
        names: of lines and charts.
    """
    charts: dict[tuple[str, str, Amounts], list[Reading]] = defaultdict(list)
    for reading in (*_list_readings(table, names), *_list_readings_within(results, names)):
        charts[reading.facet, reading.metric, reading.counted].append(reading)
    curves = {key: some for key, some in charts.items() if len({one.amount for one in some}) > 1}
    several = len({metric for _, metric, _ in curves}) > 1
    drafts = []
    for (facet, metric, counted), some in curves.items():
        title = f"{facet or metric}: {metric}" if several and facet else facet or metric
        title += "" if counted is SHARES else f", by {counted.title}"
        name = to_name("labels" if counted is SHARES else counted.axis, facet, metric)
        draw = partial(draw_curve, title, name, some, names)
        drafts.append(Draft(title, draw, {"task": title} if len(curves) > MOST_SHOWN else {}))
    drawn = draw_within(drafts, LIMIT)
    notes = (
        _describe_lines(names) if curves else ONE_AMOUNT,
        drawn.describe_left_out("`bench table --cols label_frac,shots` prints their numbers."),
    )
    return Section("labels", "With fewer labels", notes, tuple(drawn.figures), drawn.choices)


def draw_curve(title: str, name: str, readings: Sequence[Reading], names: Names) -> Figure:
    """Return the chart of one task.

    Args:
        title: the task.
        name: of the figure.
        readings: the scores, all of one metric, with amounts that are counted alike.
        names: of lines.
    """
    metric, counted = readings[0].metric, readings[0].counted
    by_line: dict[str, list[Reading]] = defaultdict(list)
    for one in sorted(readings, key=lambda reading: reading.amount):
        by_line[names.series_of(one.cell)].append(one)
    lines = [_make_line(line, some, names) for line, some in by_line.items()]
    ticks = {amount: _write_amount(counted, amount) for amount in sorted({one.amount for one in readings})}
    score = f"{metric} in percent" if is_in_percent(metric) else metric
    rows = tuple(
        (line, counted.scale * one.amount, *list_numbers(one.cell))
        for line, some in by_line.items()
        for one in some
    )
    return Figure(
        name=name,
        title=title,
        caption=f"Mean {metric} over seeds; the band is {REACH}.",
        svg=draw_lines(f"{title} over the {counted.title}", lines,
                       Axis(counted.title, is_log=True, ticks=ticks), Axis(score)),
        columns=("method", counted.heading, *SCORE_COLUMNS),
        rows=rows,
    )  # fmt: skip


def _list_readings(table: Table, names: Names) -> Iterator[Reading]:
    for cell in table.cells():
        for counted in (SHARES, SHOTS):
            amount = cell.axes.get(counted.axis)
            if amount is not None and is_drawable(cell):
                facet = names.facet_of(cell, without=counted.axis)
                yield Reading(facet, cell.metric, counted, amount, cell)


def _list_readings_within(results: Results, names: Names) -> Iterator[Reading]:
    """Yield the scores of evaluators that make a curve of their own, by the names of their metrics."""
    metrics = {name for record in results.records for name in record.get("metrics") or {}}
    found = {name: match for name in sorted(metrics) if (match := AT_SHARE.fullmatch(name))}
    if not found:
        return
    table = build_table(results.records, metric=list(found), mix_protocols=True, folder=results.folders)
    for cell in table.cells():
        if is_drawable(cell):
            metric, percent = found[cell.metric].groups()
            yield Reading(names.facet_of(cell), metric, SHARES, float(percent) / 100, cell)


def _write_amount(counted: Amounts, amount: float) -> str:
    """Return how an axis writes an amount: a share as in a table, and a number as it is."""
    return format_label(counted.axis, amount) if counted is SHARES else f"{amount:g}"


def _make_line(name: str, readings: Iterable[Reading], names: Names) -> Line:
    cells = [(one.amount, one.cell) for one in readings]
    points = [(amount, cell.mean) for amount, cell in cells if cell.mean is not None]
    band = [(amount, *reach) for amount, cell in cells if (reach := reach_of(cell))]
    return Line(name, names.style_of(name, cells[0][1].axes["method"]), points, band)


def _describe_lines(names: Names) -> str:
    """Return what the lines in the colour of the text are."""
    by_role: dict[str, list[str]] = defaultdict(list)
    for method, role in names.roles.items():
        by_role[role].append(method)
    said = {
        LABELLED: "Dashed, in the colour of the text: trained with the labels",
        UNTRAINED: "Dotted: not trained at all",
    }
    return " ".join(f"{said[role]} ({', '.join(methods)})." for role, methods in sorted(by_role.items()))
