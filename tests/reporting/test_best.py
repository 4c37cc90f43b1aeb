from __future__ import annotations

import math

from made_records import cells, make, sweep, tidy

from bench.reporting.table import table


def test_best_follows_the_direction_of_the_metric_and_ties_as_printed() -> None:
    records = [make("a", 70.001), make("b", 70.004), make("c", 60.0)]

    assert [row[1].startswith("**") for row in cells(table(records))[1:]] == [True, True, False]
    assert [row[1] for row in cells(table(records, metric="nll"))[1:]] == [
        "70.0010",
        "70.0040",
        "**60.0000**",
    ]
    assert "nll (lower is better)" in table(records, metric="nll")


def test_best_compares_methods_on_one_task_wherever_it_stands() -> None:
    records = [
        make(m, v, dataset=d) for m, d, v in (("a", "d", 1), ("a", "e", 90), ("b", "d", 2), ("b", "e", 80))
    ]

    assert cells(table(records, rows="dataset", cols="method"))[1:] == [
        ["d", "1.00", "**2.00**"],
        ["e", "**90.00**", "80.00"],
    ]


def test_best_does_not_compare_an_evaluators_settings() -> None:
    records = [*sweep("knn.k", 20, 200, method="a"), *sweep("knn.k", 20, 200, method="b")]

    assert "**" not in table(records[:2], rows="knn.k")
    assert [row[2].startswith("**") for row in cells(table(records, rows="knn.k,method"))[1:]] == [True] * 4


def test_nan_is_shown_and_never_best() -> None:
    text = table([make("a", math.nan), make("b", 1.0), make("c", 2.0), make("d", -math.inf, seed=1)])

    assert [row[1] for row in cells(text)[1:]] == ["nan", "1.00", "**2.00**", "-inf"]
    assert tidy([make(value=math.nan)])[0]["mean"] == "nan"
    assert tidy([make(seed=s, value=v) for s, v in enumerate((math.inf, -math.inf))])[0]["std"] == "nan"
