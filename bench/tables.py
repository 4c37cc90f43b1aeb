"""Tables of records: cells averaged over seeds, and nothing else, laid out along chosen axes."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.axes import CELL, Survey, survey
from bench.errors import UnknownName, UsageError, suggest
from bench.formats import SHEETS, TIDY, Entry, Sheet, shown
from bench.pivot import Cell, Grid, Layout, Place, goes_across, grid_of, layout_of
from bench.status import status

__all__ = ["status", "table"]

Names = str | Sequence[str] | None

DEFAULT_METRIC = "top1"
TASK = frozenset({"dataset", "eval_dataset", "evaluator", "label_frac", "seed", "metric"})
PERCENT_DECIMALS, OTHER_DECIMALS = 2, 4
LISTED = 4  # values of a setting that a caption lists before it says only that they differ


def table(
    records: Iterable[Mapping[str, Any]],
    *,
    rows: Names = None,
    cols: Names = None,
    metric: Names = DEFAULT_METRIC,
    format: str = "github",  # noqa: A002
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
        cols: as `rows`. None is dataset, evaluator, label fraction and their settings that vary.
        metric: one or several; none is `top1` if a record has it, else the first there is.
        format: github, plain, csv, json, latex or html.
        folder: where the records are from, for the error that there are none.

    Raises:
        UsageError: there are no records.
        UnknownName: no axis, metric or format has the name that was asked for.
        BadValue: an axis is asked for in rows and columns.
    """
    records = list(records)
    if not records:
        raise UsageError(f"no records in {folder}. Run `bench run` first.")
    if format not in {*SHEETS, *TIDY}:
        raise UnknownName(f"--format: no format is named {format!r}.{suggest(format, {*SHEETS, *TIDY})}")
    metrics = _metrics(records, metric)
    found = survey(records)
    layout = layout_of(found, _names(rows), _names(cols), metrics)
    grid = grid_of(found, layout)
    return TIDY[format](_tidy(found, grid)) if format in TIDY else SHEETS[format](_sheet(found, grid))


def _metrics(records: Sequence[Mapping[str, Any]], asked: Names) -> tuple[str, ...]:
    there = dict.fromkeys(name for record in records for name in record.get("metrics") or {})
    names = _names(asked)
    if names is None:
        return (DEFAULT_METRIC if DEFAULT_METRIC in there or not there else next(iter(there)),)
    for name in names:
        if there and name not in there:  # where every cell failed, any metric shows that
            raise UnknownName(f"--metric: no record has a metric {name!r}.{suggest(name, there)}")
    return names


def _names(asked: Names) -> tuple[str, ...] | None:
    if asked is None:
        return None
    parts = asked.split(",") if isinstance(asked, str) else asked
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip())) or None


def _sheet(found: Survey, grid: Grid) -> Sheet:
    notes = tuple(dict.fromkeys(note for cell in _in_order(grid) for note in cell.troubles))
    marks = {note: place for place, note in enumerate(notes, 1)}
    best, alike = _best(grid), _common_n(grid) is not None

    def entry(place: tuple[Place, Place]) -> Entry:
        cell = grid.cells.get(place)
        return Entry("–") if cell is None else Entry(_text(cell, marks, alike=alike), place in best)

    rows = grid.layout.rows
    body = tuple(
        (*map(Entry, map(_label, rows, down)), *(entry((down, across)) for across in grid.acrosses))
        for down in grid.downs
    )
    headings = (_heading(grid.layout, across) for across in grid.acrosses)
    return Sheet(_caption(found, grid), (*rows, *headings), len(rows), body, notes)


def _in_order(grid: Grid) -> Iterator[Cell]:
    for place in itertools.product(grid.downs, grid.acrosses):
        if place in grid.cells:
            yield grid.cells[place]


def _text(cell: Cell, marks: Mapping[str, int], *, alike: bool) -> str:
    """Return what a cell shows: mean ± std, how many seeds where that is not common, its notes."""
    noted = f" [{', '.join(str(marks[note]) for note in cell.troubles)}]" if cell.troubles else ""
    if cell.mean is None:
        return ("–" if cell.status == "missing" else cell.status) + noted
    digits = _decimals(cell.metric)
    text = f"{cell.mean:.{digits}f}" + (f" ± {cell.std:.{digits}f}" if cell.std is not None else "")
    if cell.status == "partial":
        text += f" ({len(cell.values)} of {len(cell.points)})"
    elif not alike:
        text += f" (n={len(cell.values)})"
    return text + noted


def _best(grid: Grid) -> set[tuple[Place, Place]]:
    """Return the places of the best means among cells of one task, with all that print alike.

    What is compared has one data set, evaluator and label fraction, wherever these axes lie.
    """
    tasks: dict[Place, dict[tuple[Place, Place], float]] = defaultdict(dict)
    axes = (*grid.layout.rows, *grid.layout.cols)
    for place, cell in grid.cells.items():
        if cell.mean is not None and math.isfinite(cell.mean):
            values = zip(axes, (*place[0], *place[1]), strict=True)
            task = tuple(value for axis, value in values if axis in TASK or goes_across(axis))
            sign = 1 if cell.higher_is_better else -1
            tasks[task][place] = sign * round(cell.mean, _decimals(cell.metric))
    tops = {task: max(means.values()) for task, means in tasks.items() if len(means) > 1}
    return {place for task, top in tops.items() for place, mean in tasks[task].items() if mean == top}


def _common_n(grid: Grid) -> int | None:
    """Return how many seeds every complete cell has; none if they differ or there is none."""
    counts = {len(cell.values) for cell in grid.cells.values() if cell.status == "ok"}
    return counts.pop() if len(counts) == 1 else None


def _decimals(metric: str) -> int:
    return PERCENT_DECIMALS if _in_percent(metric) else OTHER_DECIMALS


def _in_percent(metric: str) -> bool:
    """Tell an accuracy, which evaluators give in percent, by its name."""
    return metric.startswith("top") or any(word in metric for word in ("acc", "recall", "precision", "f1"))


def _label(axis: str, value: Any) -> str:
    return f"{100 * value:g} %" if axis == "label_frac" and value is not None else shown(value)


def _heading(layout: Layout, across: Place) -> str:
    at = dict(zip(layout.cols, across, strict=True))
    if "dataset" in at and "eval_dataset" in at:
        at["dataset"] = _pair(at["dataset"], at.pop("eval_dataset"))
    evaluator = f"{at.get('evaluator')}."
    parts = []
    for axis, value in at.items():
        if axis in CELL or axis == "metric":
            parts.append(_label(axis, value))
        elif value is not None:
            parts.append(f"{axis.removeprefix(evaluator)}={shown(value)}")
    return " / ".join(parts) or layout.metrics[0]


def _pair(dataset: str, evaluated: str) -> str:
    return dataset if dataset == evaluated else f"{dataset} -> {evaluated}"


def _caption(found: Survey, grid: Grid) -> str:
    """Return what all cells have in common, and what must be known to read them."""
    what = " and ".join(_measure(metric, grid) for metric in grid.layout.metrics)
    common = [*_common_cell(found, grid.layout), *_common_settings(found, grid.layout)]
    caption = ", ".join(filter(None, (what, _seeds(found, grid)))) + "; " * bool(common) + ", ".join(common)
    if found.ambiguous:
        caption += (
            f". {found.ambiguous} records differ from another of their seed in nothing that is named (older "
            "data, another version): they are told apart by key and not averaged"
        )
    return f"{caption}."


def _measure(metric: str, grid: Grid) -> str:
    down = not all(cell.higher_is_better for cell in grid.cells.values() if cell.metric == metric)
    return metric + " in percent" * _in_percent(metric) + " (lower is better)" * down


def _seeds(found: Survey, grid: Grid) -> str:
    if "seed" in (*grid.layout.rows, *grid.layout.cols):
        return ""
    seeds, n = found.values("seed"), _common_n(grid)
    if len(seeds) == 1:
        return f"seed {shown(seeds[0])}"
    if all(len(cell.values) < 2 for cell in grid.cells.values()):
        return "one seed a cell"
    return "mean ± std over seeds" + (f" (n={n})" if n else "")


def _common_cell(found: Survey, layout: Layout) -> Iterator[str]:
    for axis in CELL:
        if axis in (*layout.rows, *layout.cols) or found.varies(axis):
            continue
        value = found.points[0].at[axis]
        if axis == "dataset":
            yield f"dataset {value}"
        elif axis == "eval_dataset":
            if value != found.points[0].at["dataset"] or found.varies("dataset"):
                yield f"evaluated on {value}"
        elif value is not None:
            yield f"{axis} {_label(axis, value)}"


def _common_settings(found: Survey, layout: Layout) -> Iterator[str]:
    """Yield what was set alike for all; a setting that follows from another axis is not hidden."""
    for name in dict.fromkeys((*found.named, "train.epochs")):
        values = [shown(value) for value in found.values(name) if value is not None]
        if name in (*layout.rows, *layout.cols) or not values:
            continue
        listed = " or ".join(values) if len(values) <= LISTED else "differs"
        yield f"{name} {listed}"


def _tidy(found: Survey, grid: Grid) -> list[dict[str, Any]]:
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
        }
        for cell in _in_order(grid)
    ]
