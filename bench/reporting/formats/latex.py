r"""Tables for a paper: rules of booktabs, numbers aligned by siunitx, as wide as the line at most.

A column of numbers is an `S` column, which aligns decimal points; all else in it is in braces.
A table that is wider than the line is made smaller by graphicx, one that is not stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bench.plain_text import join_lines
from bench.reporting.formats.base import NO_CELL, Table, TableCell, TableFormat
from bench.reporting.formats.groups import Heading, head_columns

COMMANDS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "±": r"$\pm$", "–": "--", "->": r"$\to$", "†": r"$^\dagger$", "…": r"\ldots{}",
    "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "−": "$-$",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    **{sign: f"{{{sign}}}" for sign in "[]*"},  # after \\ these would be its arguments
}  # fmt: skip
SPECIAL = re.compile("|".join(map(re.escape, sorted(COMMANDS, key=len, reverse=True))))
NUMBER = re.compile(r"(?P<number>-?\d+(\.\d+)?)(?P<rest>( |†).*)?")
NARROW = r"\,"
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
NEEDS = "% needs \\usepackage{booktabs,graphicx,siunitx}"


class LaTeX(TableFormat):
    """A LaTeX table that needs the packages booktabs, graphicx and siunitx."""

    def render(self, table: Table) -> str:
        """Return `table` as LaTeX."""
        numbers = [_find_numbers(table, place) for place in range(len(table.columns))]
        aligned = "".join(_align(found) for found in numbers)
        lines = [
            NEEDS,
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escape(table.caption_with('Bold'))}}}",
            *([rf"\label{{{_escape_label(table.label)}}}"] if table.label else []),
            FIT,
            rf"\begin{{tabular}}{{{'l' * len(table.row_axes)}{aligned}}}",
            r"\toprule",
            *_render_head(table),
            r"\midrule",
            *_render_rows(table, [bool(found) for found in numbers]),
            r"\bottomrule",
            r"\end{tabular}}",
            *_render_notes(table.numbered_notes()),
            r"\end{table}",
        ]
        return "\n".join(lines)


def _render_head(table: Table) -> Iterator[str]:
    """Yield the lines of headings; the row axes are named in the last of them."""
    first = len(table.row_axes) + 1
    *groups, last = head_columns(table.columns)
    for line in groups:
        yield _join_cells([*[""] * len(table.row_axes), *map(_span, line)])
        rules, start = [], first
        for heading in line:
            end = start + heading.span - 1
            if heading.text:
                rules.append(rf"\cmidrule(lr){{{start}-{end}}}")
            start = end + 1
        yield " ".join(rules)
    names = [_escape(name) for name in table.row_headers]
    yield _join_cells([*names, *(_brace(_escape(heading.text)) for heading in last)])


def _span(heading: Heading) -> str:
    text = _escape(heading.text)
    return rf"\multicolumn{{{heading.span}}}{{c}}{{{text}}}" if text or heading.span > 1 else _brace(text)


def _render_rows(table: Table, is_number: Sequence[bool]) -> Iterator[str]:
    for row in table.rows:
        cells = (_render_cell(cell, aligned) for cell, aligned in zip(row.cells, is_number, strict=True))
        yield _join_cells([*map(_escape, row.labels), *cells])


def _render_cell(cell: TableCell | None, aligned: bool) -> str:  # noqa: FBT001
    """Return what stands in a cell; in a column of numbers, all but the number is in braces."""
    text = NO_CELL if cell is None else join_lines(cell.text)
    best = cell is not None and cell.best
    match = NUMBER.fullmatch(text) if aligned else None
    if match is None:
        escaped = rf"\textbf{{{_escape(text)}}}" if best else _escape(text)
        return _brace(escaped) if aligned else escaped
    return (r"\bfseries " if best else "") + match["number"] + _brace_rest(match["rest"] or "")


def _find_numbers(table: Table, place: int) -> list[re.Match[str]]:
    """Return the numbers of a column; none where one of its scores is no number, or it has no scores."""
    cells = (row.cells[place] for row in table.rows)
    scores = [join_lines(cell.text) for cell in cells if cell is not None and cell.mean is not None]
    matches = [match for match in map(NUMBER.fullmatch, scores) if match]
    return matches if len(matches) == len(scores) else []


def _align(numbers: Sequence[re.Match[str]]) -> str:
    """Return how a column is aligned: numbers at their points, with room for the longest of each part."""
    if not numbers:
        return "r"
    whole, _, part = (
        max((number["number"].partition(".")[i] for number in numbers), key=len) for i in range(3)
    )
    sign = "-" if any(number["number"].startswith("-") for number in numbers) else ""
    form = f"{sign}{len(whole.lstrip('-'))}" + (f".{len(part)}" if part else "")
    rest = _brace_rest(max((number["rest"] or "" for number in numbers), key=len))
    room = f",table-space-text-post={rest}" if rest else ""
    return f"S[table-format={form},detect-weight=true{room}]"


def _brace_rest(rest: str) -> str:
    """Return what follows a number: its deviation and its notes, at a distance that no line is broken at."""
    text = _escape(rest.strip())
    if not rest.startswith(" "):
        return _brace(text) if text else ""
    return _brace(f"{NARROW if rest.startswith(' ±') else '~'}{text}")


def _render_notes(notes: Sequence[str]) -> Iterator[str]:
    for note in notes:
        yield rf"{{\par\raggedright\footnotesize {_escape(note)}\par}}"


def _brace(text: str) -> str:
    return f"{{{text}}}"


def _join_cells(texts: Iterable[str]) -> str:
    return " & ".join(texts) + r" \\"


def _escape(text: str) -> str:
    return SPECIAL.sub(lambda match: COMMANDS[match[0]], join_lines(text))


def _escape_label(label: str) -> str:
    r"""Return a label without what `\label` cannot have."""
    return re.sub(r"[\\{}%#~^&$,]", "-", join_lines(label))
