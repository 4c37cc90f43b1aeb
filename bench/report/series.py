"""Sort the cells of a table into charts, and name what is drawn in them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.report.results import Results
from bench.report.styles import Palette, Style
from bench.reporting.axes import CELL_FIELDS
from bench.reporting.formats.base import Table, TableCell
from bench.reporting.headings import format_label
from bench.reporting.pivot import is_of_task

REACH = "one standard deviation over seeds on either side, of a single seed the 95 % interval"
SCORE_COLUMNS = ("mean", "std over seeds", "seeds", "95 % low", "95 % high")


class Names:
    """How the charts of a report name methods, trainings and tasks.

    Args:
        results: what the report is of.
        table: the grid, under its headlines.
        palette: the styles that lines have.
    """

    def __init__(self, results: Results, table: Table, palette: Palette) -> None:
        self.palette, self.roles = palette, results.roles()
        varying = list_varying(table)
        self.facet_axes = tuple(axis for axis in varying if is_of_task(axis) or axis == "backbone")
        self.series_axes = tuple(axis for axis in varying if axis not in self.facet_axes and axis != "method")

    def series_of(self, cell: TableCell) -> str:
        """Return what a cell is a score of: its method, and the settings of its training that differ."""
        return join_values(("method", *self.series_axes), cell)

    def style_of(self, name: str, method: str) -> Style:
        """Return the style of a line of a method."""
        return self.palette.style_of(name, self.roles.get(method, ""))

    def facet_of(self, cell: TableCell, *, without: str = "") -> str:
        """Return what a cell is a score on: the task, and the network where there are several."""
        return join_values([axis for axis in self.facet_axes if axis != without], cell)


def is_drawable(cell: TableCell) -> bool:
    """Tell whether a cell has a score that a chart has a place for."""
    return cell.mean is not None and math.isfinite(cell.mean)


def list_numbers(cell: TableCell) -> tuple[float | None, ...]:
    """Return the numbers of a score, under `SCORE_COLUMNS`."""
    return cell.mean, cell.std, cell.n, cell.low, cell.high


def reach_of(cell: TableCell) -> tuple[float, float] | None:
    """Return the ends of what a chart draws around a score; none where nothing is known.

    They are what the table shows beside it: one standard deviation over seeds on either side, or of one seed
    the 95 % interval.
    """
    if cell.mean is None:
        return None
    if cell.std is not None:
        return cell.mean - cell.std, cell.mean + cell.std
    if cell.low is None or cell.high is None:
        return None
    return cell.low, cell.high


def list_varying(table: Table) -> list[str]:
    """Return the axes of a table on which its cells differ."""
    cells = list(table.cells())
    axes = [axis for axis in table.axes if len({cell.axes.get(axis) for cell in cells}) > 1]
    if all(cell.axes.get("dataset") == cell.axes.get("eval_dataset") for cell in cells):
        axes = [axis for axis in axes if axis != "eval_dataset"]
    return axes


def join_values(axes: Iterable[str], cell: TableCell) -> str:
    """Return a cell's values on some axes as one name; a setting says which it is."""
    values = {axis: cell.axes.get(axis) for axis in axes}
    if {"dataset", "eval_dataset"} <= values.keys():
        trained, evaluated = values["dataset"], values.pop("eval_dataset")
        values["dataset"] = evaluated if trained == evaluated else f"{trained} -> {evaluated}"
    return " / ".join(
        format_label(axis, value) if axis in CELL_FIELDS else f"{axis}={format_label(axis, value)}"
        for axis, value in values.items()
        if value is not None
    )
