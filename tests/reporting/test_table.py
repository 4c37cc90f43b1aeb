from __future__ import annotations

import pytest
from made_records import caption, cells, make

from bench.errors import UsageError
from bench.reporting.status import describe_status
from bench.reporting.table import table


def test_only_seeds_are_averaged_and_what_is_constant_goes_to_the_caption() -> None:
    records = [make(m, 70.0 + 2 * s + d, seed=s) for d, m in enumerate(("simclr", "vicreg")) for s in (0, 1)]
    text = table(records)

    assert cells(text) == [
        ["method", "top1"],
        ["simclr", "71.00 ± 1.41"],
        ["vicreg", "72.00 ± 1.41"],
    ]
    assert caption(text) == (
        "top1 in percent, mean ± std over seeds (n=2); backbone resnet18, data set digits, evaluated by knn, "
        "100 % of the labels, pretrained for 100 epochs. "
        "No difference from the best is significant (t over seeds and the worst of the counts; Holm, "
        "level 0.05)."
    )


def test_n_is_in_each_cell_where_it_differs() -> None:
    text = table([make("a", seed=0), make("a", seed=1), make("b")])

    assert cells(text)[1:] == [["a", "70.00 ± 0.00 (n=2)"], ["b", "70.00 (n=1)"]]
    assert "(n=" not in caption(text)


def test_one_seed_has_no_deviation() -> None:
    assert caption(table([make(seed=3)])).startswith("top1 in percent, seed 3, 95 %")
    assert caption(table([make("a", seed=3), make("b", seed=4)])).startswith(
        "top1 in percent, one seed a cell, 95 %"
    )
    assert cells(table([make(seed=3)]))[1] == ["simclr", "70.00"]


def test_failed_skipped_and_missing_cells_stay_visible() -> None:
    records = [
        make("a", 71, dataset="d1"), make("a", dataset="d2", status="skipped", reason="too\nsmall"),
        make("b", dataset="d1", status="failed", error={"type": "ValueError", "message": "boom"}),
    ]  # fmt: skip
    text = table(records)

    assert cells(text)[1:] == [["a", "71.00", "skipped [1]"], ["b", "failed [2]", "–"]]
    assert text.endswith("[1] skipped: too small  \n[2] failed: ValueError: boom")


def test_a_cell_of_which_a_seed_failed_says_so_and_reasons_are_listed_once() -> None:
    bad = {"status": "failed", "reason": "the loss became nan"}
    records = [make("a", seed=0), make("a", seed=1), make("a", seed=2, **bad), make("b", seed=0, **bad)]
    text = table(records)

    assert cells(text)[1:] == [["a", "70.00 ± 0.00 (2 of 3) [1]"], ["b", "failed [1]"]]
    assert text.count("the loss became nan") == 1


def test_no_records_is_one_line() -> None:
    for make_text in (table, describe_status):
        with pytest.raises(UsageError, match=r"^no records in here\. Run `bench run` first\.$"):
            make_text([], folder="here")


def test_a_table_of_failures_only_still_shows_them() -> None:
    text = table([make(status="failed", reason="boom")])

    assert cells(text) == [["method", "top1"], ["simclr", "failed [1]"]]


def test_ten_thousand_records_make_one_table() -> None:
    records = [
        make(f"m{m}", 50.0 + s, dataset=f"d{d}", seed=s, label_frac=f)
        for m in range(10) for d in range(10) for f in (0.01, 0.1, 0.5, 1.0) for s in range(25)
    ]  # fmt: skip
    text = table(records)

    assert len(records) == 10_000
    assert len(cells(text)) == 11
    assert {len(row) for row in cells(text)} == {41}
