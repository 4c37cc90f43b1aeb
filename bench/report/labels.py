"""Draw what each method makes of few labels: a score over the share of the labels, on a log axis."""

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
ONE_SHARE = "Each evaluator had one share of the labels. `bench run --label-frac 0.01,0.1,1` makes the curve."
COLUMNS = ("method", "labels in percent", *SCORE_COLUMNS)


@dataclass(frozen=True)
class Reading:
    """A score with a share of the labels.

    Args:
        facet: the chart it is in.
        metric: what it is a score of.
        share: of the labels, in (0, 1].
        cell: its mean and its seeds.
    """

    facet: str
    metric: str
    share: float
    cell: TableCell


def build_labels(results: Results, table: Table, names: Names) -> Section:
    """Return the section of the label-efficiency curves.

    Args:
        results: what the report is of.
        table: the grid, under its headlines.
        names: of lines and charts.
    """
    charts: dict[tuple[str, str], list[Reading]] = defaultdict(list)
    for reading in (*_list_readings(table, names), *_list_readings_within(results, names)):
        charts[reading.facet, reading.metric].append(reading)
    curves = {key: some for key, some in charts.items() if len({one.share for one in some}) > 1}
    several = len({metric for _, metric in curves}) > 1
    drafts = []
    for (facet, metric), some in curves.items():
        title = f"{facet or metric}: {metric}" if several and facet else facet or metric
        draw = partial(draw_curve, title, to_name("labels", facet, metric), some, names)
        drafts.append(Draft(title, draw, {"task": title} if len(curves) > MOST_SHOWN else {}))
    drawn = draw_within(drafts, LIMIT)
    notes = (
        _describe_lines(names) if curves else ONE_SHARE,
        drawn.describe_left_out("`bench table --cols label_frac` prints their numbers."),
    )
    return Section("labels", "With fewer labels", notes, tuple(drawn.figures), drawn.choices)


def draw_curve(title: str, name: str, readings: Sequence[Reading], names: Names) -> Figure:
    """Return the chart of one task.

    Args:
        title: the task.
        name: of the figure.
        readings: the scores, all of one metric.
        names: of lines.
    """
    metric = readings[0].metric
    by_line: dict[str, list[Reading]] = defaultdict(list)
    for one in sorted(readings, key=lambda reading: reading.share):
        by_line[names.series_of(one.cell)].append(one)
    lines = [_make_line(line, some, names) for line, some in by_line.items()]
    shares = sorted({one.share for one in readings})
    ticks = {share: format_label("label_frac", share) for share in shares}
    score = f"{metric} in percent" if is_in_percent(metric) else metric
    rows = tuple(
        (line, 100 * one.share, *list_numbers(one.cell)) for line, some in by_line.items() for one in some
    )
    return Figure(
        name=name,
        title=title,
        caption=f"Mean {metric} over seeds; the band is {REACH}.",
        svg=draw_lines(f"{title} over the share of the labels", lines,
                       Axis("share of the labels", is_log=True, ticks=ticks), Axis(score)),
        columns=COLUMNS,
        rows=rows,
    )  # fmt: skip


def _list_readings(table: Table, names: Names) -> Iterator[Reading]:
    for cell in table.cells():
        share = cell.axes.get("label_frac")
        if share is not None and is_drawable(cell):
            yield Reading(names.facet_of(cell, without="label_frac"), cell.metric, share, cell)


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
            yield Reading(names.facet_of(cell), metric, float(percent) / 100, cell)


def _make_line(name: str, readings: Iterable[Reading], names: Names) -> Line:
    cells = [(one.share, one.cell) for one in readings]
    points = [(share, cell.mean) for share, cell in cells if cell.mean is not None]
    band = [(share, *reach) for share, cell in cells if (reach := reach_of(cell))]
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
