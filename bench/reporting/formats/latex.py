"""Tables for a paper."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bench.reporting.formats.base import NO_CELL, Table, TableCell, TableFormat, TableRow
from bench.reporting.formats.values import join_lines

COMMANDS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "±": r"$\pm$", "–": "--", "->": r"$\to$", "†": r"$^\dagger$", "…": r"\ldots{}",
    "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "−": "$-$",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    **{sign: f"{{{sign}}}" for sign in "[]*"},  # after \\ these would be its arguments
}  # fmt: skip
SPECIAL = re.compile("|".join(map(re.escape, sorted(COMMANDS, key=len, reverse=True))))


class LaTeX(TableFormat):
    """A LaTeX table that needs the package booktabs."""

    def render(self, table: Table) -> str:
        """Return `table` as LaTeX."""
        lines = [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escape(table.caption_with('Bold'))}}}",
            rf"\begin{{tabular}}{{{'l' * len(table.row_axes)}{'r' * len(table.columns)}}}",
            r"\toprule",
            _join_cells(map(_escape, table.header)),
            r"\midrule",
            *map(_render_row, table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {_escape(note)}" for note in table.numbered_notes()),
            r"\end{table}",
        ]
        return "\n".join(lines)


def _render_row(row: TableRow) -> str:
    return _join_cells([*map(_escape, row.labels), *map(_render_cell, row.cells)])


def _render_cell(cell: TableCell | None) -> str:
    if cell is None:
        return _escape(NO_CELL)
    text = _escape(cell.text)
    return rf"\textbf{{{text}}}" if cell.best else text


def _join_cells(texts: Iterable[str]) -> str:
    return " & ".join(texts) + r" \\"


def _escape(text: str) -> str:
    return SPECIAL.sub(lambda match: COMMANDS[match[0]], join_lines(text))
