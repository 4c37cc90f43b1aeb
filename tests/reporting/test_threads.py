"""A table and a run say where numbers of threads, and with them the rounding, differ."""

from __future__ import annotations

from typing import Any

from made_records import caption, make

from bench.reporting.table import table
from bench.reporting.threads import describe_other_threads


def made_with(method: str, pretrain: list[int] | None, evaluate: int, **changes: Any) -> dict[str, Any]:
    """Return a record of a method that was trained and evaluated with numbers of threads."""
    threads = {"pretrain": pretrain, "features": [evaluate], "evaluate": [evaluate]}
    return make(method, cost={"threads": threads}, **changes)


def test_a_table_says_which_methods_were_made_with_which_threads_where_they_differ() -> None:
    records = [made_with("simclr", [4], 4), made_with("vicreg", [1], 1), made_with("random", [], 1)]

    assert caption(table(records)).endswith(
        "Numbers of threads differ, and with them the rounding: 1 thread (vicreg, random); "
        "4 threads (simclr)."
    )


def test_a_training_that_went_on_with_other_threads_is_neither() -> None:
    records = [made_with("simclr", [1, 2], 2), made_with("vicreg", [2], 2)]

    assert "rounding: 1 and 2 threads (simclr); 2 threads (vicreg)." in caption(table(records))


def test_a_table_says_nothing_of_threads_that_are_alike_or_not_known() -> None:
    alike = [made_with("simclr", [2], 1), made_with("vicreg", [2], 1)]
    unknown = [made_with("simclr", None, 1), make("vicreg"), make("byol", cost={})]

    assert "thread" not in table(alike)
    assert "thread" not in table(unknown)


def test_a_run_says_how_many_cells_it_found_that_were_made_with_other_threads() -> None:
    records = [made_with("simclr", [4], 4), made_with("vicreg", [1], 1), make("byol")]

    assert describe_other_threads(records, 1) == (
        "1 of 2 cells were made with 4 threads, this run has 1. Sums then round otherwise: use --threads 4 "
        "for numbers that are theirs to the bit."
    )
    assert describe_other_threads(records[1:], 1) == ""
