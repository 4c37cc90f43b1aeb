"""A finished table as text: for a terminal, for GitHub, for a paper, for a page, for a script."""

from __future__ import annotations

import csv
import html as markup
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate


@dataclass(frozen=True)
class Entry:
    """One cell of a table: what it says, and whether it is the best there is."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table before it has a format.

    Args:
        caption: what all cells have in common, as sentences.
        header: a heading a column.
        labels: how many columns, from the left, are labels; the others are values.
        body: the rows, each as long as `header`.
        notes: what the marks [1], [2], ... in the cells refer to.
    """

    caption: str
    header: tuple[str, ...]
    labels: int
    body: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...]

    def captioned(self, legend: str) -> str:
        """Return the caption, with how the best are marked if any is."""
        marked = any(entry.best for row in self.body for entry in row)
        return f"{self.caption} {legend}" if marked else self.caption

    def marked_notes(self) -> list[str]:
        """Return the notes, each with its mark."""
        return [f"[{place}] {note}" for place, note in enumerate(self.notes, 1)]


def github(sheet: Sheet) -> str:
    """Return `sheet` as GitHub-flavoured Markdown."""
    grid = _grid(sheet, "github", _markdown, "**{}**".format)
    caption = _markdown(sheet.captioned("Bold is best."))
    notes = "  \n".join(_markdown(note) for note in sheet.marked_notes())  # two spaces break a line
    return "\n\n".join(filter(None, (caption, grid, notes)))


def plain(sheet: Sheet) -> str:
    """Return `sheet` as aligned text."""
    grid = _grid(sheet, "simple", _line, "{}*".format)
    caption = _line(sheet.captioned("* is best."))
    notes = "\n".join(_line(note) for note in sheet.marked_notes())
    return "\n\n".join(filter(None, (caption, grid, notes)))


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


def html(sheet: Sheet) -> str:
    """Return `sheet` as a page with one table."""
    caption = _web(sheet.captioned("Bold is best."))
    head = "".join(f'<th scope="col">{_web(name)}</th>' for name in sheet.header)
    lines = [
        "<!doctype html>",
        '<meta charset="utf-8">',
        "<title>bench table</title>",
        "<table>",
        f"<caption>{caption}</caption>",
        f"<thead><tr>{head}</tr></thead>",
        "<tbody>",
        *(_web_row(row, sheet.labels) for row in sheet.body),
        "</tbody>",
        "</table>",
        *(f"<p>{_web(note)}</p>" for note in sheet.marked_notes()),
    ]
    return "\n".join(lines)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return tidy rows, all with the same names, as comma-separated values; empty where none."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _field(value) for name, value in row.items()} for row in rows)
    return out.getvalue().rstrip("\n")


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return tidy rows as a JSON list of objects; a number that is not finite is a string."""
    plain_rows = [{name: _carried(value) for name, value in row.items()} for row in rows]
    return json.dumps(plain_rows, indent=1, ensure_ascii=False, allow_nan=False)


def shown(value: Any) -> str:
    """Return a setting's value as one would write it on the command line."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(shown, value)) or "[]"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


SHEETS: dict[str, Callable[[Sheet], str]] = {"github": github, "plain": plain, "latex": latex, "html": html}
TIDY: dict[str, Callable[[Sequence[Mapping[str, Any]]], str]] = {"csv": as_csv, "json": as_json}

_TEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "±": r"$\pm$", "–": "--", "->": r"$\to$", "†": r"$^\dagger$", "…": r"\ldots{}",
    "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "−": "$-$",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    **{sign: f"{{{sign}}}" for sign in "[]*"},  # after \\ these would be its arguments
}  # fmt: skip
_TEX_SIGN = re.compile("|".join(map(re.escape, sorted(_TEX, key=len, reverse=True))))


def _grid(sheet: Sheet, style: str, escape: Callable[[str], str], best: Callable[[str], str]) -> str:
    rows = [
        [best(escape(entry.text)) if entry.best else escape(entry.text) for entry in row]
        for row in sheet.body
    ]
    align = ["left"] * sheet.labels + ["right"] * (len(sheet.header) - sheet.labels)
    # without disable_numparse a name such as 0012 or 1e5 is read as a number and rewritten
    header = [escape(name) for name in sheet.header]
    return tabulate(rows, header, style, colalign=align, disable_numparse=True)


def _line(text: str) -> str:
    return " ".join(text.split())


def _markdown(text: str) -> str:
    return re.sub(r"([\\|*<`])", r"\\\1", _line(text))


def _tex(text: str) -> str:
    return _TEX_SIGN.sub(lambda found: _TEX[found[0]], _line(text))


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(entry: Entry) -> str:
    return rf"\textbf{{{_tex(entry.text)}}}" if entry.best else _tex(entry.text)


def _web(text: str) -> str:
    return markup.escape(_line(text))


def _web_row(row: Sequence[Entry], labels: int) -> str:
    heads = "".join(f'<th scope="row">{_web(entry.text)}</th>' for entry in row[:labels])
    texts = (f"<strong>{_web(e.text)}</strong>" if e.best else _web(e.text) for e in row[labels:])
    return f"<tr>{heads}{''.join(f'<td>{text}</td>' for text in texts)}</tr>"


def _field(value: Any) -> Any:
    return "" if value is None else shown(value) if isinstance(value, (bool, tuple)) else value


def _carried(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
