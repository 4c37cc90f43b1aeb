"""What a format is given and what it is: a finished `Table`, and the class that renders one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.errors import UsageError

NO_CELL = "–"  # what stands where a row and a column have no record in common


@dataclass(frozen=True)
class TableCell:
    """One score: the records that differ in nothing but the seed, under one metric.

    Args:
        text: what it says: the mean and its uncertainty, rounded, or its status; then the
            numbers of its notes.
        metric: the name of the metric.
        higher_is_better: the metric's direction; none where neither more nor less is better.
        mean: over the seeds; none if no seed has a value.
        std: the sample standard deviation (ddof 1); none for fewer than two values.
        by_seed: the values, by seed.
        status: `ok`, `partial`, `failed`, `skipped`, or `missing` where an evaluator lacks the metric;
            `published` of a result that is not ours.
        troubles: why seeds have no value, each reason once; of a published result, its source and how it
            differs.
        axes: its value on each axis of `Table.axes`; none on one that it does not have.
        protocol: its tags `features`, `probe`, `checkpoint` and `selected_split`.
        best: it is the best of its task or not significantly worse, and another is; false where no other is,
            and where there is no test.
        on_diagonal: trained and evaluated on one data set, in a table where others are not.
        low: the lower end of its 95 % interval; none where its records support no interval.
        high: the upper end.
        interval: how it was found, in words; none without one.
    """

    text: str
    metric: str
    higher_is_better: bool | None
    mean: float | None
    std: float | None
    by_seed: Mapping[Any, float]
    status: str
    troubles: tuple[str, ...]
    axes: Mapping[str, Any]
    protocol: Mapping[str, str | None]
    best: bool
    on_diagonal: bool
    low: float | None = None
    high: float | None = None
    interval: str | None = None

    @property
    def n(self) -> int:
        """How many seeds have a value."""
        return len(self.by_seed)


@dataclass(frozen=True)
class TableColumn:
    """One column.

    Args:
        heading: what stands above it.
        values: its value on each of `Table.column_axes`, by the axis's name.
        levels: the heading in parts, from the outermost one in: columns beside each other that share their
            first parts are a group. A part is empty where there is nothing to say.
    """

    heading: str
    values: Mapping[str, Any]
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableRow:
    """One row.

    Args:
        labels: what stands at its left, one label for each of `Table.row_axes`.
        values: its value on each of `Table.row_axes`, by the axis's name.
        cells: one for each column; none where the row and the column have no record in common.
    """

    labels: tuple[str, ...]
    values: Mapping[str, Any]
    cells: tuple[TableCell | None, ...]


@dataclass(frozen=True)
class Caption:
    """What must be known to read a table; as a string, sentences without how the best are marked.

    Args:
        metrics: what the cells show, with units and direction.
        seeds: how the seeds are summarised; empty where the seed is an axis.
        common: what all cells share, each as `name value`.
        remarks: what else must be known, a sentence each, without the full stop.
        best: what it says of a cell that it is marked; empty where none is.
    """

    metrics: str
    seeds: str
    common: tuple[str, ...]
    remarks: tuple[str, ...]
    best: str = ""

    def __str__(self) -> str:
        """Return the sentences."""
        first = ", ".join(filter(None, (self.metrics, self.seeds)))
        if self.common:
            first += "; " + ", ".join(self.common)
        return " ".join(f"{sentence}." for sentence in (first, *self.remarks))


@dataclass(frozen=True)
class Table:
    """A finished table: all that any format shows, before it has one.

    Args:
        caption: what all cells have in common, and what must be known to read them.
        row_axes: the axes that go down.
        row_headers: what stands above the labels of each row axis.
        column_axes: the axes that go across.
        columns: from left to right, without the labels.
        rows: from top to bottom.
        notes: what the marks [1], [2], ... in the cells' texts refer to.
        axes: every axis that tells cells apart, constant ones too, without the metric.
        label: by which a paper or a page refers to it; may be empty.
    """

    caption: Caption
    row_axes: tuple[str, ...]
    row_headers: tuple[str, ...]
    column_axes: tuple[str, ...]
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]
    axes: tuple[str, ...]
    label: str = ""

    @property
    def header(self) -> tuple[str, ...]:
        """The first line of the table: the headers of the labels, then the headings of the columns."""
        return (*self.row_headers, *(column.heading for column in self.columns))

    def cells(self) -> Iterator[TableCell]:
        """Yield the cells row by row, without the empty ones."""
        for row in self.rows:
            yield from (cell for cell in row.cells if cell is not None)

    def caption_with(self, mark: str) -> str:
        """Return the caption and, if any cell is the best, what `mark` says of it, e.g. `Bold`."""
        return f"{self.caption} {mark} {self.caption.best}." if self.caption.best else str(self.caption)

    def numbered_notes(self) -> list[str]:
        """Return the notes, each after its mark."""
        return [f"[{number}] {note}" for number, note in enumerate(self.notes, 1)]


class TableFormat(ABC):
    """A way to write a table down. Offer it in the hook `bench_formats`."""

    refuses_mixed: ClassVar[bool] = True
    """Refuse a column of two protocols. Not for a format in which each cell names its own."""

    @abstractmethod
    def render(self, table: Table) -> str:
        """Return `table` as text, without a line break at the end."""


class BinaryFormat(TableFormat):
    """A format that is a file and no text."""

    def render(self, table: Table) -> str:
        """Refuse to be text.

        Raises:
            UsageError: always.
        """
        raise UsageError("--format: this one is a file and no text. Use --output FILE.")

    @abstractmethod
    def encode(self, table: Table) -> bytes:
        """Return the content of the file; the same table is the same bytes."""
