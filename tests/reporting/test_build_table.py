"""A finished table as a value: all that a format or a report may show."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from made_records import TEXT_FORMATS, make, sweep, tidy

import bench.api
from bench.errors import UsageError
from bench.reporting.formats.base import Caption, Table, TableCell, TableFormat
from bench.reporting.formats.by_name import load_built_in
from bench.reporting.formats.text import GitHub
from bench.reporting.table import build_table, table


def two_methods() -> list[dict[str, Any]]:
    """Return records of two methods on two data sets, of which one cell lacks a seed and one is absent."""
    failed = {"status": "failed", "reason": "boom"}
    return [
        make("a", 60.0, seed=0), make("a", 70.0, seed=5), make("a", 1.0, dataset="other"),
        make("b", 80.0, seed=0), make("b", seed=5, **failed),
    ]  # fmt: skip


def cell_of(built: Table, row: int, column: int) -> TableCell:
    cell = built.rows[row].cells[column]
    assert cell is not None
    return cell


def test_rows_and_columns_have_their_values_beside_their_words() -> None:
    built = build_table(sweep("method.temperature", 0.5, 0.1, label_frac=0.1))

    assert (built.row_axes, built.row_headers) == (("method.temperature",), ("method.temperature",))
    assert [row.values for row in built.rows] == [{"method.temperature": 0.1}, {"method.temperature": 0.5}]
    assert [row.labels for row in built.rows] == [("0.1",), ("0.5",)]
    assert built.header == ("method.temperature", "top1")


def test_columns_have_a_value_on_each_axis_that_goes_across() -> None:
    built = build_table([make(label_frac=share, dataset=name) for share in (1.0, 0.1) for name in "ab"])

    assert built.column_axes == ("dataset", "label_frac")
    assert [(column.heading, column.values["label_frac"]) for column in built.columns] == [
        ("a / 10 %", 0.1), ("a / 100 %", 1.0), ("b / 10 %", 0.1), ("b / 100 %", 1.0),
    ]  # fmt: skip


def test_a_cell_has_its_numbers_unrounded_and_by_seed() -> None:
    cell = cell_of(build_table(two_methods()), 0, 0)

    assert (cell.metric, cell.higher_is_better, cell.status) == ("top1", True, "ok")
    assert (cell.mean, cell.n, cell.by_seed) == (65.0, 2, {0: 60.0, 5: 70.0})
    assert cell.std == pytest.approx(50**0.5)
    assert cell.text == "65.00 ± 7.07 (n=2)"
    assert not cell.best


def test_a_cell_says_why_a_seed_has_no_value_and_the_table_numbers_it() -> None:
    built = build_table(two_methods())
    cell = cell_of(built, 1, 0)

    assert (cell.status, cell.by_seed, cell.troubles) == ("partial", {0: 80.0}, ("failed: boom",))
    assert cell.text == "80.00 [79.75, 80.25] (1 of 2) [1]"
    assert built.notes == ("failed: boom",)
    assert built.numbered_notes() == ["[1] failed: boom"]


def test_a_place_without_a_record_has_no_cell() -> None:
    built = build_table(two_methods())

    assert built.rows[1].cells[1] is None
    assert [cell.mean for cell in built.cells()] == [65.0, 1.0, 80.0]


def test_a_cell_has_a_value_on_every_axis_and_the_tags_of_its_protocol() -> None:
    built = build_table([*sweep("knn.k", 20, 200), make("vicreg", evaluator="linear")])
    axes = ("method", "backbone", "dataset", "eval_dataset", "evaluator", "label_frac", "knn.k")
    tags = {"features": "frozen", "probe": "offline", "checkpoint": "last epoch", "selected_split": None}

    assert built.axes == axes
    assert all(tuple(cell.axes) == axes for cell in built.cells())
    assert [cell.axes["knn.k"] for cell in built.cells()] == [20, 200, None]
    assert all(cell.protocol == tags for cell in built.cells())


def test_a_cell_says_whether_it_is_on_the_diagonal() -> None:
    built = build_table([make(dataset="a", eval_dataset=name) for name in "ab"])

    assert [cell.on_diagonal for cell in built.cells()] == [True, False]


def test_the_caption_is_in_parts() -> None:
    caption = build_table(two_methods()[:2], metric="top1,nll").caption

    assert caption.metrics == "top1 in percent and nll (lower is better)"
    assert caption.seeds == "mean ± std over seeds (n=2)"
    assert caption.common[:2] == ("backbone resnet18", "data set digits")
    assert caption.remarks == ()
    assert str(Caption("top1", "", (), ("a is not b",))) == "top1. a is not b."


def test_mixed_protocols_are_refused_or_remarked_on() -> None:
    records = [make(seed=0), make(seed=1, protocol={"features": "fine-tuned"})]

    with pytest.raises(UsageError, match="mixes two protocols"):
        build_table(records)
    assert "mixes two protocols" in build_table(records, mix_protocols=True).caption.remarks[0]


def test_one_table_renders_in_every_format_as_the_records_do() -> None:
    built = build_table(two_methods())

    for name in TEXT_FORMATS:
        assert load_built_in(name).render(built) == table(two_methods(), format=name)
    assert table(two_methods(), format=GitHub()) == table(two_methods())
    assert json.loads(load_built_in("json").render(built)) == tidy(two_methods())


def test_a_table_cannot_be_changed() -> None:
    built = build_table(two_methods())

    with pytest.raises(dataclasses.FrozenInstanceError):
        built.notes = ()  # type: ignore[misc]


def test_authors_of_formats_import_both_names_from_the_api() -> None:
    assert bench.api.Table is Table
    assert bench.api.TableFormat is TableFormat
