from __future__ import annotations

import json
from typing import Any

import pytest
from made_records import caption, cells, make, tidy

from bench.errors import UnknownName
from bench.reporting.metric_choice import decimals_of, is_in_percent
from bench.reporting.table import table


def geometry(**changes: Any) -> dict[str, Any]:
    """Return a record of an evaluator without labels: no fraction, no accuracy."""
    metrics = {"rankme": {"value": 33.25, "higher_is_better": True}, "alpha_req": {"value": 1.5}}
    return make(**{
        "evaluator": "geometry", "label_frac": None, "headline": "rankme", "metrics": metrics, **changes,
    })  # fmt: skip


def curve(**changes: Any) -> dict[str, Any]:
    names = ("top1_area", "top1_at_0.1")
    metrics = {name: {"value": 60.0, "higher_is_better": True} for name in names}
    return make(evaluator="curve", label_frac=None, headline="top1_area", metrics=metrics, **changes)


def test_without_a_metric_each_evaluator_shows_its_headline() -> None:
    text = table([make(evaluator="linear"), geometry(), curve()])

    assert cells(text) == [
        ["method", "linear", "geometry / rankme", "curve / top1_area"],
        ["simclr", "70.00", "33.2500", "60.00"],
    ]
    assert caption(text).startswith(
        "top1 in percent, rankme and top1_area in percent, seed 0, 95 % interval in"
    )


def test_the_headline_survives_that_a_record_on_disk_has_its_metrics_in_order_of_name() -> None:
    records = [json.loads(json.dumps(record, sort_keys=True)) for record in (geometry(), make())]
    without_headline = [
        {name: value for name, value in record.items() if name != "headline"} for record in records
    ]

    assert cells(table(records))[0] == ["method", "geometry / rankme", "knn"]
    assert cells(table(without_headline))[0] == ["method", "geometry / alpha_req", "knn"]


def test_top1_goes_before_a_headline_and_a_headline_that_is_missing_is_not_shown() -> None:
    assert cells(table([make(headline="nll")]))[0] == ["method", "top1"]
    assert cells(table([geometry(headline="lidar")]))[0] == ["method", "alpha_req"]


def test_without_top1_anywhere_one_headline_needs_no_axis() -> None:
    assert cells(table([geometry()])) == [["method", "rankme"], ["simclr", "33.2500"]]
    assert cells(table([curve(), geometry()]))[0] == ["method", "curve / top1_area", "geometry / rankme"]


def test_an_evaluator_that_failed_has_one_column() -> None:
    failed = make(evaluator="linear", status="failed", reason="boom")

    assert cells(table([failed, geometry()])) == [
        ["method", "linear", "geometry"], ["simclr", "failed [1]", "33.2500"],
    ]  # fmt: skip
    assert cells(table([failed, make(), geometry()]))[0] == ["method", "linear", "knn", "geometry / rankme"]


def test_a_headline_stands_in_a_row_where_metrics_do() -> None:
    assert cells(table([make(), geometry()], rows="evaluator,metric", cols="dataset"))[1:] == [
        ["knn", "top1", "70.00"], ["geometry", "rankme", "33.2500"],
    ]  # fmt: skip


def test_an_evaluator_that_lacks_the_metric_is_left_out_and_named() -> None:
    text = table([make(), geometry()], metric="top1")

    assert cells(text) == [["method", "top1"], ["simclr", "70.00"]]
    assert "evaluated by knn" in caption(text)
    assert caption(text).endswith(". geometry has no top1.")
    assert [row["evaluator"] for row in tidy([make(), geometry()], metric="top1")] == ["knn"]


def test_several_metrics_have_the_columns_that_can_be_filled() -> None:
    text = table([make(), geometry()], metric="top1,nll,rankme")

    assert cells(text)[0] == ["method", "knn / top1", "knn / nll", "geometry / rankme"]
    assert caption(text).endswith(". knn has no rankme. geometry has no top1 or nll.")


def test_a_row_that_cannot_be_filled_is_left_out() -> None:
    text = table([make(), geometry()], metric="rankme,nll", rows="metric,evaluator", cols="method")

    assert [row[:2] for row in cells(text)[1:]] == [["rankme", "geometry"], ["nll", "knn"]]


def test_a_metric_that_some_records_of_an_evaluator_lack_leaves_their_cells_empty() -> None:
    records = [make(), make(dataset="pairs", metrics={"auc": {"value": 0.9}})]

    assert cells(table(records, metric="top1"))[1] == ["simclr", "70.00", "–"]
    assert [row["status"] for row in tidy(records, metric="top1")] == ["ok", "missing"]


def test_without_a_metric_and_a_headline_the_first_by_name_is_shown() -> None:
    other = make(metrics={"auc": {"value": 0.91, "higher_is_better": True}})

    assert cells(table([make()], metric=None))[0] == ["method", "top1"]
    assert cells(table([other], metric=None)) == [["method", "auc"], ["simclr", "0.9100"]]


def test_a_metric_that_no_evaluator_has_is_unknown() -> None:
    with pytest.raises(UnknownName, match=r"no record has a metric 'rankm'. Did you mean 'rankme'\?"):
        table([make(), geometry()], metric="rankm")


def test_an_evaluator_without_a_fraction_does_not_make_the_fraction_vary() -> None:
    text = table([make(), geometry()])
    fractions = table([make(label_frac=0.1), geometry(), make()])

    assert cells(text)[0] == ["method", "knn", "geometry / rankme"]
    assert "100 % of the labels" in caption(text)
    assert cells(fractions)[0] == ["method", "knn / 10 %", "knn / 100 %", "geometry / rankme"]
    assert "label_frac" not in caption(table([geometry()]))


def test_records_of_one_evaluator_with_and_without_a_fraction_are_not_averaged() -> None:
    records = [make(seed=0), make(seed=1, label_frac=None)]

    assert cells(table(records, rows="label_frac"))[1:] == [["–", "70.00"], ["100 %", "70.00"]]
    assert cells(table(records)) == [["method", "top1", "100 %"], ["simclr", "70.00", "70.00"]]


@pytest.mark.parametrize("metric", ["top1", "top1_area", "top1_at_0.1_std", "nonlinear_gap", "ece"])
def test_accuracies_and_their_differences_are_in_percent(metric: str) -> None:
    assert is_in_percent(metric)
    assert decimals_of(metric) == 2


@pytest.mark.parametrize(
    "metric",
    ["rankme", "alpha_req", "lidar", "alignment", "uniformity", "nesum", "feature_std", "correlation", "nll"],
)
def test_other_measures_are_not_in_percent(metric: str) -> None:
    assert not is_in_percent(metric)
    assert decimals_of(metric) == 4
