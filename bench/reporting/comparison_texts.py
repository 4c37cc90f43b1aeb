"""Write down how two rows compare: for a person, or for a script."""

from __future__ import annotations

import json
import math
from typing import Any

from tabulate import tabulate

from bench.plain_text import join_lines, spell_out_json
from bench.reporting.compared_rows import NOTHING, ComparedColumn, ComparedRows
from bench.reporting.comparisons import Comparison
from bench.reporting.disagreements import Disagreement, ImageDifference
from bench.reporting.evidence import Evidence
from bench.reporting.uncertainty import format_uncertainty

SHOWN_P = 1e-4  # below which a p is not written out
HEADERS = ("", "A", "B", "A - B", "p", "p (Holm)", "same answers", "would settle it")


def write_text(rows: ComparedRows) -> str:
    """Return a comparison as text: a table with a line a column, and for each column what differs most."""
    one, other = map(_clean, rows.names)
    found = (column.comparison for column in rows.columns)
    tests = sorted({each.test for each in found if isinstance(each, Comparison) and each.test})
    head = (
        f"A is {one}, B is {other}. Means with 95 % intervals; {'; '.join(tests) or 'no test'}. "
        f"p (Holm) counts {len(rows.columns)} columns. Same answers, in percent: A and B (two seeds of A, "
        "two of B). To settle it: if it is as large as it was seen, with a power of 0.8."
    )
    lines = [[_clean(text) for text in _list_texts(column)] for column in rows.columns]
    table = tabulate(lines, HEADERS, "simple", colalign=["left"] + ["right"] * 7, disable_numparse=True)
    details = [text for column in rows.columns if (text := _describe_column(column))]
    return "\n\n".join([head, table, *details])


def write_json(rows: ComparedRows) -> str:
    """Return a comparison as a JSON object; a number that is not finite is a string."""
    value = {
        "a": rows.names[0],
        "b": rows.names[1],
        "columns": [_to_dict(column) for column in rows.columns],
    }
    return spell_out_json(json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False))


def _list_texts(column: ComparedColumn) -> list[str]:
    found, digits = column.comparison, column.cells[0].group.decimals
    ends = [_describe_agreement(column.disagreement), column.settles]
    texts = [column.heading, *map(_describe_cell, column.cells)]
    if isinstance(found, str):
        return [*texts, f"no test: {found}", NOTHING, NOTHING, *ends]
    difference = f"{found.difference:+.{digits}f}"
    if found.interval:
        difference += f" [{found.interval.low:+.{digits}f}, {found.interval.high:+.{digits}f}]"
    return [*texts, difference, _format_p(found.p), _format_p(column.p_holm), *ends]


def _describe_cell(cell: Evidence) -> str:
    group = cell.group
    if group.mean is None:
        return group.status
    interval = format_uncertainty("interval", group, cell.bounds)
    return f"{group.mean:.{group.decimals}f}{interval} (n={group.n})"


def _describe_agreement(disagreement: Disagreement | None) -> str:
    if disagreement is None:
        return NOTHING
    found = disagreement.agreement
    within = ", ".join(NOTHING if share is None else f"{share:.1f}" for share in found.within)
    return f"{found.between:.1f} ({within})"


def _format_p(p: float | None) -> str:
    if p is None:
        return NOTHING
    return f"< {SHOWN_P:g}" if p < SHOWN_P else f"{p:.4f}"


def _describe_column(column: ComparedColumn) -> str:
    """Return the classes and images that differ most; nothing where none is known."""
    lines = []
    if column.classes:
        classes = (f"{c.name} {c.recalls[0]:.1f} : {c.recalls[1]:.1f}" for c in column.classes)
        lines.append(f"recall of A : B: {', '.join(classes)}")
    if column.disagreement:
        found = column.disagreement
        for owner, (name, count, images) in enumerate(zip("AB", found.counts, found.images, strict=True)):
            listed = "; ".join(_describe_image(image, owner) for image in images)
            lines.append(f"right in every seed of {name} alone: {count:,}; most of all {listed or 'none'}")
    if not lines:
        return ""
    return "\n".join([f"{_clean(column.heading)}:", *(f"  {_clean(line)}" for line in lines)])


def _describe_image(image: ImageDifference, owner: int) -> str:
    """Return an image, its class, and what the one that does not own it says.

    Args:
        image: the image.
        owner: 0 or 1, which of the two gets it right rather than the other.
    """
    return f"{image.index} ({image.label}, {'BA'[owner]} says {image.said[1 - owner]})"


def _to_dict(column: ComparedColumn) -> dict[str, Any]:
    found = column.comparison if isinstance(column.comparison, Comparison) else None
    interval = found.interval if found else None
    disagreement = column.disagreement
    return {
        "column": column.heading,
        "metric": column.cells[0].group.metric,
        "higher_is_better": column.cells[0].group.higher_is_better,
        "a": _cell_to_dict(column.cells[0]),
        "b": _cell_to_dict(column.cells[1]),
        "difference": found.difference if found else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "p": found.p if found else None,
        "p_holm": column.p_holm,
        "test": found.test if found else None,
        "no_test": None if found else column.comparison,
        "settles": column.settles,
        "classes": [{"class": c.name, "recall": list(c.recalls)} for c in column.classes],
        **(_disagreement_to_dict(disagreement) if disagreement else {}),
    }


def _disagreement_to_dict(found: Disagreement) -> dict[str, Any]:
    return {
        "agreement": found.agreement.between,
        "kappa": found.agreement.kappa,
        "agreement_within": list(found.agreement.within),
        "right_alone": list(found.counts),
        "images": [
            {"index": image.index, "class": image.label, "right": list(image.right), "said": list(image.said)}
            for images in found.images
            for image in images
        ],
    }


def _cell_to_dict(cell: Evidence) -> dict[str, Any]:
    group, bounds = cell.group, cell.bounds
    return {
        "mean": group.mean,
        "std": group.std,
        "n": group.n,
        "low": bounds.low if bounds else None,
        "high": bounds.high if bounds else None,
        "interval": bounds.how if bounds else None,
        "status": group.status,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _clean(text: str) -> str:
    """Return a text on one line, without what a terminal would obey."""
    return "".join(sign if sign.isprintable() else "?" for sign in join_lines(text))
