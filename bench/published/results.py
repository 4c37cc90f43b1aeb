"""Published results of SSL methods: what `results.csv` has, by the names that bench has."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeVar

from bench.published.names import name_in_bench

Number = TypeVar("Number", int, float)

REQUIRED = ("method", "dataset", "evaluator", "top1", "source")
OPTIONAL = ("backbone", "epochs", "batch_size", "protocol")
TEXTS = ("published", "method", "dataset", "backbone", "evaluator", "protocol", "source")


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """One published number.

    Args:
        published: the method as its source calls it.
        method: its name in bench; empty where bench has none.
        dataset: by bench's name, or as its source calls it.
        backbone: as its source calls it; empty where it does not say.
        epochs: of pretraining; none where the source does not say.
        batch_size: likewise.
        evaluator: how it was measured, e.g. `linear`, `knn200`, or `online_linear`, a probe beside the
            training.
        top1: in percent.
        source: repository at a commit, or paper, and where in it; and what is known to differ.
        protocol: what else must be known to compare it, in words between semicolons: `best epoch on test`,
            `macro accuracy`.
    """

    published: str
    method: str
    dataset: str
    backbone: str
    epochs: int | None
    batch_size: int | None
    evaluator: str
    top1: float
    source: str
    protocol: str = ""

    @property
    def setting(self) -> tuple[object, ...]:
        """All but the number: a source has one number for each setting."""
        return (
            self.published, self.method, self.dataset, self.backbone, self.epochs, self.batch_size,
            self.evaluator, self.source, self.protocol,
        )  # fmt: skip


@cache
def load_published() -> tuple[PublishedResult, ...]:
    """Return all published results that come with bench, in the order of the file."""
    text = files("bench.published").joinpath("results.csv").read_text(encoding="utf-8")
    return tuple(parse_row(row, unknown="") for _, row in list_rows(text))


def list_rows(text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield the rows of a file in the form of `results.csv`, each with its line.

    Raises:
        ValueError: a column is missing, or one is not known.
    """
    reader = csv.DictReader(text.splitlines())
    columns = reader.fieldnames or ()
    missing = [name for name in REQUIRED if name not in columns]
    strange = [name for name in columns if name not in REQUIRED + OPTIONAL]
    if missing:
        raise ValueError(f"it has no column {missing[0]!r}. Needed are {', '.join(REQUIRED)}.")
    if strange:
        raise ValueError(f"it has a column {strange[0]!r}. Known are {', '.join(REQUIRED + OPTIONAL)}.")
    for row in reader:
        yield reader.line_num, {name: value or "" for name, value in row.items() if isinstance(name, str)}


def parse_row(row: Mapping[str, str], unknown: str | None = None) -> PublishedResult:
    """Return the result that a row of a file has.

    Args:
        row: by column.
        unknown: the name in bench of a method that `names.csv` does not have; none is its own.

    Raises:
        ValueError: a value is missing or cannot be.
    """
    method = name_in_bench("method", row["method"])
    if method is None:
        method = row["method"] if unknown is None else unknown
    result = PublishedResult(
        published=row["method"],
        method=method,
        dataset=name_in_bench("dataset", row["dataset"]) or row["dataset"],
        backbone=row.get("backbone", ""),
        epochs=_parse(int, row, "epochs"),
        batch_size=_parse(int, row, "batch_size"),
        evaluator=row["evaluator"],
        top1=math.nan if (top1 := _parse(float, row, "top1")) is None else top1,
        protocol=row.get("protocol", ""),
        source=row["source"],
    )
    refuse_impossible(result)
    return result


def refuse_impossible(result: PublishedResult) -> None:
    """Refuse a result that cannot be one.

    Raises:
        ValueError: a text is none or is missing, or a number is out of its range.
    """
    for name in TEXTS:
        value = getattr(result, name)
        if not isinstance(value, str) or not (value.strip() or name in ("method", "backbone", "protocol")):
            raise ValueError(f"{name} is {value!r}. Say it in words.")
    for name in ("epochs", "batch_size"):
        value = getattr(result, name)
        if value is not None and not (isinstance(value, int) and value > 0):
            raise ValueError(f"{name} is {value!r}. Write a whole number above 0, or nothing.")
    top1 = result.top1
    if not isinstance(top1, (int, float)) or not math.isfinite(top1) or not 0 < top1 <= 100:
        raise ValueError(f"top1 is {top1!r}. Write it in percent, above 0 and up to 100.")


def _parse(kind: type[Number], row: Mapping[str, str], name: str) -> Number | None:
    """Return a number of a row; none where it is empty."""
    text = row.get(name, "").strip()
    try:
        return kind(text) if text else None
    except ValueError:
        raise ValueError(f"{name} is {text!r}. Write a number.") from None
