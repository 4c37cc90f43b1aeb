"""What records note of their data is said once, of the data sets that it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_records import caption, make

from bench.reporting.data_notes import describe_data_notes
from bench.reporting.status import describe_status
from bench.reporting.table import table

DRAWN, LEFT_OUT = "the test split is a fifth of each class, drawn with seed 0", "images left out: train 3."


def noted(dataset: str, *notes: str, on: str | None = None, **changes: Any) -> dict[str, Any]:
    return make(dataset=dataset, eval_dataset=on or dataset, notes=list(notes), **changes)


def test_a_note_is_said_once_however_many_records_have_it() -> None:
    records = [noted("birds", DRAWN, LEFT_OUT, seed=seed) for seed in range(3)]

    assert describe_data_notes(records) == [f"birds: {DRAWN}", "birds: images left out: train 3"]


def test_a_note_is_of_the_data_set_that_always_has_it() -> None:
    records = [
        noted("birds", DRAWN),
        noted("cats"),
        noted("cats", DRAWN, on="birds"),
        noted("birds", DRAWN, on="cats"),
    ]

    assert describe_data_notes(records) == [f"birds: {DRAWN}"]


def test_what_two_data_sets_note_alike_names_both() -> None:
    assert describe_data_notes([noted("birds", DRAWN), noted("cats", DRAWN)]) == [f"birds, cats: {DRAWN}"]


def test_what_some_records_of_a_data_set_note_is_not_lost() -> None:
    assert describe_data_notes([noted("birds"), noted("birds", DRAWN, seed=1)]) == [f"birds: {DRAWN}"]


def test_a_record_that_failed_says_nothing_of_its_data() -> None:
    failed = noted("birds", status="failed", reason="boom")

    assert describe_data_notes([failed, noted("birds", DRAWN, seed=1)]) == [f"birds: {DRAWN}"]


def test_many_data_sets_are_counted() -> None:
    records = [noted(f"d{number}", DRAWN) for number in range(5)]

    assert describe_data_notes(records) == [f"d0, d1, d2 and 2 more: {DRAWN}"]


def test_a_table_and_status_say_the_notes(tmp_path: Path) -> None:
    records = [noted("birds", DRAWN, "a\n|<b>\x1b[2J")]
    status = describe_status(records, tmp_path).splitlines()

    assert f"birds: {DRAWN}." in caption(table(records))
    assert status[status.index("data:") + 1 :][:2] == [f"  birds: {DRAWN}", "  birds: a |<b>\\x1b[2J"]


@pytest.mark.parametrize("format_", ["github", "plain", "latex", "html"])
def test_every_format_that_has_a_caption_says_the_notes(format_: str) -> None:
    assert "the test split is a fifth" in table([noted("birds", DRAWN)], format=format_)


def test_records_without_notes_say_nothing(tmp_path: Path) -> None:
    assert describe_data_notes([make(), noted("birds")]) == []
    assert "data:" not in describe_status([make()], tmp_path)
