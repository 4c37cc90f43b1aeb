"""Tables for a paper."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.reporting.formats.base import Sheet, TableEntry, _line


def latex(sheet: Sheet) -> str:
    """Return `sheet` as a LaTeX table that needs the package booktabs."""
    rows = [[_latex_cell(entry) for entry in row] for row in sheet.body]
    notes = [rf"\par\footnotesize {_tex(note)}" for note in sheet.marked_notes()]
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(sheet.captioned('Bold is best.'))}}}",
        rf"\begin{{tabular}}{{{'l' * sheet.labels}{'r' * (len(sheet.header) - sheet.labels)}}}",
        r"\toprule",
        _tex_row([_tex(name) for name in sheet.header]),
        r"\midrule",
        *map(_tex_row, rows),
        r"\bottomrule",
        r"\end{tabular}",
        *notes,
        r"\end{table}",
    ]
    return "\n".join(lines)


_TEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "±": r"$\pm$", "–": "--", "->": r"$\to$", "†": r"$^\dagger$", "…": r"\ldots{}",
    "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "−": "$-$",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    **{sign: f"{{{sign}}}" for sign in "[]*"},  # after \\ these would be its arguments
}  # fmt: skip
_TEX_SIGN = re.compile("|".join(map(re.escape, sorted(_TEX, key=len, reverse=True))))


def _tex(text: str) -> str:
    return _TEX_SIGN.sub(lambda found: _TEX[found[0]], _line(text))


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(entry: TableEntry) -> str:
    return rf"\textbf{{{_tex(entry.text)}}}" if entry.best else _tex(entry.text)
