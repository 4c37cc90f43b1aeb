"""Tables of records: cells averaged over seeds, and nothing else, laid out along chosen axes."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UnknownName, UsageError, suggest
from bench.reporting.axes import CELL, Survey, survey_records
from bench.reporting.captions import DIAGONAL, caption
from bench.reporting.formats.base import Sheet, TableEntry
from bench.reporting.formats.by_name import SHEETS, TIDY
from bench.reporting.headings import heading, label, row_header
from bench.reporting.metric_choice import choose_metrics, decimals
from bench.reporting.pivot import Place, TableCell, TableGrid, gather_cells, goes_across, lay_out
from bench.reporting.protocols import protocol_tags, refuse_mixed
from bench.reporting.status import status

__all__ = ["status", "table"]

Names = str | Sequence[str] | None


def table(
    records: Iterable[Mapping[str, Any]],
    *,
    rows: Names = None,
    cols: Names = None,
    metric: Names = None,
    format: str = "github",  # noqa: A002
    mix_protocols: bool = False,
    folder: str | Path = "results",
) -> str:
    """Return a table of `records`: mean and standard deviation over seeds, failures included.

    Whatever varies and is named in neither `rows` nor `cols` becomes part of the rows: only seeds
    are averaged. Names keep the order of the records, numbers ascend.

    Args:
        records: as `Store.records` yields them, in the order the table shall have.
        rows: axes, comma-separated or a list: method, backbone, dataset, eval_dataset, evaluator,
            label_frac, seed, metric or a setting's `--set` name. None is method, backbone and the
            settings of the training that vary.
        cols: as `rows`. None is dataset, evaluator, label fraction and their settings that vary;
            where data sets are crossed, eval_dataset, and dataset is a row.
        metric: one or several; none is `top1` of each evaluator that has it, the headline of others.
        format: github, plain, csv, json, latex or html.
        mix_protocols: let a column have scores of two protocols, and say so in the caption.
        folder: where the records are from, for the error that there are none.

    Raises:
        UsageError: there are no records, or a column would mix two protocols.
        UnknownName: no axis, metric or format has the name that was asked for.
        BadValue: an axis is asked for in rows and columns.
    """
    records = list(records)
    if not records:
        raise UsageError(f"no records in {folder}. Run `bench run` first.")
    if format not in {*SHEETS, *TIDY}:
        raise UnknownName(f"--format: no format is named {format!r}.{suggest(format, {*SHEETS, *TIDY})}")
    shown = choose_metrics(records, _names(metric))
    found = survey_records(record for record in records if shown.by_evaluator[record["cell"]["evaluator"]])
    grid = gather_cells(found, lay_out(found, _names(rows), _names(cols), shown))
    if format in TIDY:
        return TIDY[format](_tidy(found, grid))
    if not mix_protocols:
        refuse_mixed(grid)
    return SHEETS[format](_sheet(found, grid))


def _names(asked: Names) -> tuple[str, ...] | None:
    if asked is None:
        return None
    parts = asked.split(",") if isinstance(asked, str) else asked
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip())) or None


def _sheet(found: Survey, grid: TableGrid) -> Sheet:
    notes = tuple(dict.fromkeys(note for cell in _in_order(grid) for note in cell.troubles))
    marks = {note: place for place, note in enumerate(notes, 1)}
    best, alike = _best(grid), grid.common_n is not None

    def entry(place: tuple[Place, Place]) -> TableEntry:
        cell = grid.cells.get(place)
        return TableEntry("–") if cell is None else TableEntry(_text(cell, marks, alike=alike), place in best)

    layout = grid.layout
    body = tuple(
        (
            *map(TableEntry, map(label, layout.rows, down)),
            *(entry((down, across)) for across in grid.acrosses),
        )
        for down in grid.downs
    )
    header = [row_header(layout, axis) for axis in layout.rows]
    header += [heading(layout, across) for across in grid.acrosses]
    return Sheet(caption(found, grid), tuple(header), len(layout.rows), body, notes)


def _in_order(grid: TableGrid) -> Iterator[TableCell]:
    for place in itertools.product(grid.downs, grid.acrosses):
        if place in grid.cells:
            yield grid.cells[place]


def _text(cell: TableCell, marks: Mapping[str, int], *, alike: bool) -> str:
    """Return what a cell shows: mean ± std, how many seeds where that is not common, its notes."""
    noted = f" [{', '.join(str(marks[note]) for note in cell.troubles)}]" if cell.troubles else ""
    if cell.mean is None:
        return ("–" if cell.status == "missing" else cell.status) + noted
    digits = decimals(cell.metric)
    text = f"{cell.mean:.{digits}f}" + (f" ± {cell.std:.{digits}f}" if cell.std is not None else "")
    if cell.status == "partial":
        text += f" ({len(cell.values)} of {len(cell.points)})"
    elif not alike:
        text += f" (n={len(cell.values)})"
    return text + DIAGONAL * cell.on_diagonal + noted


def _best(grid: TableGrid) -> set[tuple[Place, Place]]:
    """Return the places of the best means among cells of one task, with all that print alike."""
    tasks: dict[Place, dict[tuple[Place, Place], float]] = defaultdict(dict)
    for place, cell in grid.cells.items():
        if cell.mean is not None and math.isfinite(cell.mean):
            sign = 1 if cell.higher_is_better else -1
            tasks[_task(grid, place)][place] = sign * round(cell.mean, decimals(cell.metric))
    tops = {task: max(means.values()) for task, means in tasks.items() if len(means) > 1}
    return {place for task, top in tops.items() for place, mean in tasks[task].items() if mean == top}


def _task(grid: TableGrid, place: tuple[Place, Place]) -> Place:
    """Return what cells must have in common to be compared, wherever these axes lie.

    That is what they are evaluated on and how; of what they were trained on, only what goes across:
    in rows, a training set is one more thing that may be the better one.
    """
    layout, cell = grid.layout, grid.cells[place]
    at = dict(zip((*layout.rows, *layout.cols), (*place[0], *place[1]), strict=True))
    if "dataset" in layout.rows:
        del at["dataset"]
    given = (value for axis, value in at.items() if goes_across(axis))
    return (cell.points[0].at["eval_dataset"], *given)


def _tidy(found: Survey, grid: TableGrid) -> list[dict[str, Any]]:
    placed = (axis for axis in (*grid.layout.rows, *grid.layout.cols) if axis != "metric")
    axes = list(dict.fromkeys((*CELL, *found.telling, *placed)))
    return [
        {
            **{axis: cell.points[0].at.get(axis) for axis in axes},
            "metric": cell.metric,
            "mean": cell.mean,
            "std": cell.std,
            "n": len(cell.values),
            "status": cell.status,
            "reason": "; ".join(cell.troubles) or None,
            **protocol_tags(cell.points),
        }
        for cell in _in_order(grid)
    ]
