"""Search the published results, and write down what was found."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

from tabulate import tabulate

from bench.errors import UnknownName, suggest
from bench.published.names import name_in_bench, plain
from bench.published.results import PublishedResult

COLUMNS = ("method", "published", "dataset", "backbone", "epochs", "batch_size", "evaluator", "top1",
           "protocol", "source")  # fmt: skip
HEADINGS = {"published": "as", "batch_size": "batch", "top1": "top-1"}
SEARCHED = ("method", "dataset", "backbone", "evaluator")


def search(
    results: Sequence[PublishedResult], wanted: dict[str, tuple[str, ...]]
) -> tuple[PublishedResult, ...]:
    """Return the results that have what is asked for, in their order.

    Args:
        results: where to look.
        wanted: by one of `SEARCHED`, any of several names: bench's or as it is published; nothing is any. Of
            a backbone and an evaluator a part of the name is enough.

    Raises:
        UnknownName: no result has one of the names, or none has all that is asked for.
    """
    for axis, names in wanted.items():
        for name in names:
            if not any(_has(result, axis, name) for result in results):
                raise UnknownName(
                    f"--{axis}: nothing is published of {name!r}.{_suggest(results, axis, name)}"
                )
    found = tuple(
        result
        for result in results
        if all(not names or any(_has(result, axis, name) for name in names) for axis, names in wanted.items())
    )
    if not found:
        asked = " and ".join(f"{axis} {'|'.join(names)}" for axis, names in wanted.items() if names)
        raise UnknownName(f"nothing is published of {asked} at once. Leave one of them out.")
    return found


def format_results(results: Sequence[PublishedResult], form: str) -> str:
    """Return results as text.

    Args:
        results: what to write.
        form: one of `FORMS`.
    """
    return FORMS[form](results)


def _has(result: PublishedResult, axis: str, name: str) -> bool:
    if axis in ("backbone", "evaluator"):
        names = {plain(name), plain(name_in_bench(axis, name) or name)}
        own = {plain(getattr(result, axis)), plain(name_in_bench(axis, getattr(result, axis)) or "")}
        return any(part in whole for part in names for whole in own)
    return plain(name) in {plain(one) for one in _names(result, axis)}


def _names(result: PublishedResult, axis: str) -> tuple[str, ...]:
    """Return by what names a result is found."""
    if axis == "method":
        return result.method, result.published
    value: str = getattr(result, axis)
    return value, name_in_bench(axis, value) or value


def _suggest(results: Sequence[PublishedResult], axis: str, name: str) -> str:
    known = {one for result in results for one in _names(result, axis) if one}
    hint = suggest(name, known)
    return hint or f" Known: {', '.join(sorted(known))}."


def _as_text(results: Sequence[PublishedResult]) -> str:
    rows = [["" if cell is None else str(cell) for cell in _row(result).values()] for result in results]
    kept = [i for i in range(len(COLUMNS)) if any(row[i] for row in rows)]
    header = [HEADINGS.get(COLUMNS[i], COLUMNS[i]) for i in kept]
    return tabulate([[row[i] for i in kept] for row in rows], header, "simple", disable_numparse=True)


def _as_csv(results: Sequence[PublishedResult]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_row, results))
    return text.getvalue().rstrip("\n")


def _as_json(results: Sequence[PublishedResult]) -> str:
    return json.dumps(list(map(_row, results)), indent=1, ensure_ascii=False)


def _row(result: PublishedResult) -> dict[str, object]:
    values = asdict(result)
    return {name: values[name] for name in COLUMNS}


FORMS: dict[str, Callable[[Sequence[PublishedResult]], str]] = {
    "text": _as_text,
    "csv": _as_csv,
    "json": _as_json,
}
