"""Build a table from records, and render it: averages over seeds and nothing else, along chosen axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.errors import BadValue, UsageError
from bench.reporting.axes import CELL_FIELDS, STATED, Survey, survey_records
from bench.reporting.best import Marks, find_best
from bench.reporting.captions import DIAGONAL, build_caption
from bench.reporting.folders import StoredPredictions
from bench.reporting.formats.base import (
    NO_CELL,
    Caption,
    Table,
    TableCell,
    TableColumn,
    TableFormat,
    TableRow,
)
from bench.reporting.formats.by_name import load_built_in
from bench.reporting.formats.values import format_value
from bench.reporting.headings import format_label, head_column, label_value, list_levels, name_row_axis
from bench.reporting.metric_choice import choose_metrics
from bench.reporting.naming import Names as GivenNames
from bench.reporting.naming import refuse_unknown_names
from bench.reporting.ordering import sort_rows, transpose
from bench.reporting.pivot import Layout, Pivot, Position, SeedGroup, lay_out, pivot_records
from bench.reporting.presentation import USUAL, Presentation
from bench.reporting.protocols import protocol_tags, refuse_mixed
from bench.reporting.references import add_references, find_references
from bench.reporting.uncertainty import AUTO, check_choice, format_uncertainty
from bench.storage.collector import paused_collector
from bench.storage.data_names import ROLES, plugin_of

Folders = str | Path | Sequence[str | Path]
Names = str | Sequence[str] | None


def table(
    records: Iterable[Mapping[str, Any]],
    *,
    rows: Names = None,
    cols: Names = None,
    metric: Names = None,
    format: str | TableFormat = "github",  # noqa: A002
    mix_protocols: bool = False,
    uncertainty: str = AUTO,
    folder: Folders = "results",
    presentation: Presentation = USUAL,
) -> str:
    """Return the table that `build_table` makes of these arguments, as text.

    Args:
        records: see `build_table`.
        rows: see `build_table`.
        cols: see `build_table`.
        metric: see `build_table`.
        format: any format, or the name of a built-in one: github, plain, latex, html, csv or json.
        mix_protocols: see `build_table`; a format that does not refuse mixtures mixes anyway.
        uncertainty: see `build_table`.
        folder: see `build_table`.
        presentation: see `build_table`.

    Raises:
        UsageError: there are no records, or a column would mix two protocols.
        UnknownName: no axis, metric or format has the name that was asked for.
        BadValue: an axis is asked for in rows and columns.
    """
    if isinstance(format, str):
        format = load_built_in(format)  # noqa: A001
    mix = mix_protocols or not format.refuses_mixed
    return format.render(
        build_table(
            records,
            rows=rows,
            cols=cols,
            metric=metric,
            mix_protocols=mix,
            uncertainty=uncertainty,
            folder=folder,
            presentation=presentation,
        )
    )


@paused_collector()
def build_table(
    records: Iterable[Mapping[str, Any]],
    *,
    rows: Names = None,
    cols: Names = None,
    metric: Names = None,
    mix_protocols: bool = False,
    uncertainty: str = AUTO,
    folder: Folders = "results",
    presentation: Presentation = USUAL,
) -> Table:
    """Build a table of `records`: mean and standard deviation over seeds, failures included.

    Whatever varies and is named in neither `rows` nor `cols` becomes part of the rows: only seeds
    are averaged. Names keep the order of the records, numbers ascend.

    Args:
        records: as `RecordStore.records` yields them, in the order the table shall have.
        rows: axes, comma-separated or a list: method, backbone, dataset, eval_dataset, evaluator,
            label_frac, seed, metric or a setting's `--set` name. None is method, backbone and the
            settings of the training that vary.
        cols: as `rows`. None is dataset, evaluator, label fraction and their settings that vary;
            where there is transfer, eval_dataset, and dataset is a row.
        metric: one or several; none is `top1` of each evaluator that has it, the headline of others.
        mix_protocols: let a column have scores of two protocols, and say so in the caption.
        uncertainty: what the cells' texts show beside the mean: `std` over seeds, `interval` (95 %), `both`,
            `none`, or `auto`: the interval of one seed, the deviation of several.
        folder: where the records are from, or several folders. Predictions that are stored there tell how
            much of a cell's uncertainty is of the test images, and whether a difference is significant.
        presentation: what the table looks like.

    Raises:
        UsageError: there are no records, or a column would mix two protocols.
        UnknownName: no axis, metric, column or uncertainty has the name that was asked for.
        BadValue: an axis is asked for in rows and columns, or several columns are meant.
    """
    check_choice(uncertainty)
    records, folders = list(records), _list_folders(folder)
    if not records:
        raise UsageError(f"no records in {', '.join(map(str, folders))}. Run `bench run` first.")
    choice = choose_metrics(records, _split_names(metric, "--metric"))
    survey = survey_records(record for record in records if choice.by_evaluator[record["cell"]["evaluator"]])
    layout = lay_out(survey, _split_names(rows, "--rows"), _split_names(cols, "--cols"), choice)
    names = _name_folders(presentation.names, survey)
    layout = replace(layout, names=names, digits=presentation.digits)
    refuse_unknown_names(presentation.required, _list_nameable(survey, layout))
    pivot = pivot_records(survey, layout)
    if not mix_protocols:
        refuse_mixed(pivot)
    marks = find_best(pivot, StoredPredictions(folders).read)
    return _present(survey, pivot, marks, uncertainty, presentation)


def _list_folders(folder: Folders) -> list[Path]:
    return [Path(folder)] if isinstance(folder, (str, Path)) else list(map(Path, folder))


def _split_names(names: Names, option: str) -> tuple[str, ...] | None:
    """Return names as a tuple, each once; none if none are asked for.

    Raises:
        BadValue: one is empty.
    """
    if names is None:
        return None
    parts = names.split(",") if isinstance(names, str) else list(names)
    if not parts or not all(part.strip() for part in parts):
        raise BadValue(f"{option}: {names!r} has an empty name. Name one, or leave it out.")
    return tuple(dict.fromkeys(part.strip() for part in parts))


def _list_nameable(survey: Survey, layout: Layout) -> Iterator[str]:
    """Yield every name that may be given another one: of axes, of values on them, of metrics."""
    axes = dict.fromkeys((*CELL_FIELDS, *survey.distinguishing, *survey.explicit, *layout.rows, *layout.cols))
    for axis in axes:
        yield axis
        for value in survey.values_on(axis):
            yield format_value(value)
            yield format_label(axis, value)
    yield from layout.metric_choice.metrics
    for role in ROLES:
        for plugin in {plugin_of(point.record, role) for point in survey.kinds}:
            if len(survey.data_of_plugin(role, plugin)) == 1:
                yield plugin


def _name_folders(names: GivenNames, survey: Survey) -> GivenNames:
    """Return names in which one that is given to a plugin is that of the folder it reads, if that is one."""
    named = GivenNames(names)
    for plugin, new in names.items():
        folders = {folder for role in ROLES for folder in survey.data_of_plugin(role, plugin)}
        if len(folders) == 1:
            named.setdefault(str(folders.pop()), new)
    return named


def _present(
    survey: Survey, pivot: Pivot, marks: Marks, uncertainty: str, presentation: Presentation
) -> Table:
    """Return the table of grouped records as it is to be shown."""
    caption = build_caption(survey, pivot, marks, uncertainty, transposed=presentation.transpose)
    pivot = sort_rows(pivot, presentation.sort)
    if presentation.transpose:
        pivot, marks = _transpose(pivot, marks)
    table = replace(_finish(survey, pivot, marks, caption, uncertainty), label=presentation.label)
    if presentation.published is None:
        return table
    references = find_references(pivot, presentation.published, presentation.names)
    return add_references(table, pivot, references)


def _transpose(pivot: Pivot, marks: Marks) -> tuple[Pivot, Marks]:
    """Exchange rows and columns; what is marked and bounded are cells, which go where they go."""
    other = transpose(pivot)
    place_of = {id(group): place for place, group in other.groups.items()}
    moved = {old: place_of[id(group)] for old, group in pivot.groups.items()}
    bounds = {moved[old]: found for old, found in marks.bounds.items()}
    return other, replace(marks, best={moved[old] for old in marks.best}, bounds=bounds)


def _finish(survey: Survey, pivot: Pivot, marks: Marks, caption: Caption, uncertainty: str) -> Table:
    """Turn grouped records into the table's texts and numbers."""
    layout = pivot.layout
    notes = tuple(dict.fromkeys(note for group in pivot.groups_in_order() for note in group.troubles))
    axes = _list_axes(survey, pivot)
    cells = _build_cells(pivot, notes, axes, marks, uncertainty)
    columns = tuple(
        TableColumn(
            head_column(layout, column),
            dict(zip(layout.cols, column, strict=True)),
            list_levels(layout, column),
        )
        for column in pivot.columns
    )
    rows = tuple(
        TableRow(
            labels=tuple(map(partial(label_value, layout), layout.rows, row)),
            values=dict(zip(layout.rows, row, strict=True)),
            cells=tuple(cells.get((row, column)) for column in pivot.columns),
        )
        for row in pivot.rows
    )
    return Table(
        caption=caption,
        row_axes=layout.rows,
        row_headers=tuple(name_row_axis(layout, axis) for axis in layout.rows),
        column_axes=layout.cols,
        columns=columns,
        rows=rows,
        notes=notes,
        axes=axes,
    )


def _list_axes(survey: Survey, pivot: Pivot) -> tuple[str, ...]:
    chosen = (axis for axis in (*pivot.layout.rows, *pivot.layout.cols) if axis != "metric")
    own = (axis for axis in CELL_FIELDS if axis in STATED or any(survey.values_on(axis)))
    return tuple(dict.fromkeys((*own, *survey.distinguishing, *chosen)))


def _build_cells(
    pivot: Pivot, notes: tuple[str, ...], axes: tuple[str, ...], marks: Marks, uncertainty: str
) -> dict[Position, TableCell]:
    numbers = {note: number for number, note in enumerate(notes, 1)}
    show_n = pivot.common_n is None
    cells = {}
    for position, group in pivot.groups.items():
        bounds = marks.bounds.get(position)
        deviation = format_uncertainty(uncertainty, group, bounds)
        cells[position] = TableCell(
            text=_format_cell(group, deviation, numbers, show_n=show_n),
            metric=group.metric,
            higher_is_better=group.higher_is_better,
            mean=group.mean,
            std=group.std,
            by_seed=group.by_seed,
            status=group.status,
            troubles=group.troubles,
            axes={axis: group.points[0].axes.get(axis) for axis in axes},
            protocol=protocol_tags(group.points),
            best=position in marks.best,
            on_diagonal=group.on_diagonal,
            low=bounds.low if bounds else None,
            high=bounds.high if bounds else None,
            interval=bounds.how if bounds else None,
        )
    return cells


def _format_cell(group: SeedGroup, uncertainty: str, numbers: Mapping[str, int], *, show_n: bool) -> str:
    """Return what a cell says: its mean, how far it can be trusted, how many seeds where that differs, notes.

    Args:
        group: the records.
        uncertainty: what stands behind the mean.
        numbers: of the notes.
        show_n: the cells differ in their number of seeds.
    """
    notes = ""
    if group.troubles:
        notes = f" [{', '.join(str(numbers[note]) for note in group.troubles)}]"
    if group.mean is None:
        return (NO_CELL if group.status == "missing" else group.status) + notes
    text = f"{group.mean:.{group.decimals}f}{uncertainty}"
    if group.status == "partial":
        text += f" ({group.n} of {len(group.points)})"
    elif show_n:
        text += f" (n={group.n})"
    if group.on_diagonal:
        text += DIAGONAL
    return text + notes
