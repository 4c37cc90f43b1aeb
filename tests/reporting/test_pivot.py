from __future__ import annotations

from typing import Any

import pytest
from made_records import cells, make, sweep

from bench.errors import BadValue, UnknownName, UsageError
from bench.reporting.table import table


def test_rows_are_methods_and_backbones_and_columns_are_tasks() -> None:
    names = [(b, d, e) for b in ("b2", "b1") for d in ("digits", "kmnist") for e in ("linear", "knn")]
    records = [make(backbone=b, dataset=d, evaluator=e) for b, d, e in names]

    assert cells(table(records))[0] == [
        "backbone", "digits / linear", "digits / knn", "kmnist / linear", "kmnist / knn",
    ]  # fmt: skip
    assert [row[0] for row in cells(table(records))[1:]] == ["b2", "b1"]


def test_label_fractions_ascend_and_are_shown_in_percent() -> None:
    records = [make(label_frac=f) for f in (1.0, 0.01, 0.001, 0.1)]

    assert cells(table(records))[0] == ["method", "0.1 %", "1 %", "10 %", "100 %"]


def test_a_sweep_of_a_method_is_in_rows_and_one_of_an_evaluator_in_columns() -> None:
    records = [*sweep("method.temperature", 0.5, 0.1), make("vicreg")]
    probes = [*sweep("knn.k", 200, 20), make(evaluator="linear")]

    assert [row[:2] for row in cells(table(records))] == [
        ["method", "method.temperature"], ["simclr", "0.1"], ["simclr", "0.5"], ["vicreg", "–"],
    ]  # fmt: skip
    assert cells(table(probes))[0] == ["method", "knn / k=20", "knn / k=200", "linear"]


def test_two_settings_may_vary_at_once() -> None:
    records = [
        make(config={"method": {"a": a, "b": b}}, settings={"method.a": a, "method.b": b}, value=a + b)
        for a in (1, 2) for b in (30.0, 4.5)
    ]  # fmt: skip

    assert cells(table(records)) == [
        ["method.a", "method.b", "top1"],
        ["1", "4.5", "5.50"], ["1", "30", "31.00"], ["2", "4.5", "6.50"], ["2", "30", "**32.00**"],
    ]  # fmt: skip


def test_what_is_left_out_of_rows_and_columns_goes_to_the_rows() -> None:
    records = [make(m, backbone=b, dataset=d) for m in "ab" for b in "cd" for d in "ef"]

    assert cells(table(records, cols="method"))[0] == ["backbone", "dataset", "a", "b"]
    assert cells(table(records, rows="backbone"))[0] == ["backbone", "method", "e", "f"]
    assert cells(table(records, rows=["dataset"], cols=["method"]))[0] == ["dataset", "backbone", "a", "b"]
    assert cells(table(records, cols="dataset,backbone"))[0] == ["method", "e / c", "e / d", "f / c", "f / d"]


def test_seeds_metrics_and_constants_can_be_axes() -> None:
    records = [make(seed=s, value=70.0 + s) for s in (10, 9)]
    both = table(records, metric="nll, top1")

    assert cells(table(records, rows="backbone,seed")) == [
        ["backbone", "seed", "top1"], ["resnet18", "9", "79.00"], ["resnet18", "10", "80.00"],
    ]  # fmt: skip
    assert cells(both) == [["method", "nll", "top1"], ["simclr", "79.5000 ± 0.7071", "79.50 ± 0.71"]]


def test_metrics_can_go_down() -> None:
    text = table([make("a", 1.0), make("b", 2.0)], rows="metric", cols="method", metric="top1,nll")

    assert cells(text) == [
        ["metric", "a", "b"],
        ["top1", "1.00", "**2.00**"],
        ["nll", "1.0000", "2.0000"],
    ]


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"rows": "metod"}, UnknownName, "--rows: no axis is named 'metod'. Did you mean 'method'?"),
        ({"cols": "method.tempo"}, UnknownName, "--cols: no axis .* Did you mean 'method.temperature'?"),
        ({"cols": "zzz"}, UnknownName, "Known: backbone, dataset, .*metric"),
        ({"rows": "method", "cols": "method"}, BadValue, "--cols: method is also in --rows. Name it once."),
        (
            {"metric": "top2"},
            UnknownName,
            "metric 'top2'.*'top1'.*Known: .*nll, params, .*top1",
        ),
        ({"format": "excel"}, UnknownName, "no format is named 'excel'.*Known: csv, github"),
    ],
)
def test_an_unknown_name_is_one_line_with_a_suggestion(
    options: dict[str, Any], kind: type[UsageError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        table(sweep("method.temperature", 0.1, 0.5), **options)
