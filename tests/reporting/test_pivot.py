from __future__ import annotations

from typing import Any

import pytest
from made_records import caption, cells, make, swept

from bench.errors import BadValue, UnknownName, UsageError
from bench.reporting.table import table


def test_rows_are_methods_and_backbones_and_columns_are_tasks() -> None:
    places = [(b, d, e) for b in ("b2", "b1") for d in ("digits", "kmnist") for e in ("linear", "knn")]
    records = [make(backbone=b, dataset=d, evaluator=e) for b, d, e in places]

    assert cells(table(records))[0] == [
        "backbone", "digits / linear", "digits / knn", "kmnist / linear", "kmnist / knn",
    ]  # fmt: skip
    assert [row[0] for row in cells(table(records))[1:]] == ["b2", "b1"]


def test_label_fractions_ascend_and_are_shown_in_percent() -> None:
    records = [make(label_frac=f) for f in (1.0, 0.01, 0.001, 0.1)]

    assert cells(table(records))[0] == ["method", "0.1 %", "1 %", "10 %", "100 %"]


def test_a_sweep_of_a_method_is_in_rows_and_one_of_an_evaluator_in_columns() -> None:
    records = [*swept("method.temperature", 0.5, 0.1), make("vicreg")]
    probes = [*swept("knn.k", 200, 20), make(evaluator="linear")]

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


def test_a_config_that_differs_without_being_set_is_not_averaged() -> None:
    records = [make(seed=s, config={"training": {"epochs": e}}) for s, e in ((0, 10), (1, 10), (2, 20))]

    assert cells(table(records))[1:] == [["10", "**70.00 ± 0.00 (n=2)**"], ["20", "**70.00 (n=1)**"]]


def test_a_recipe_that_follows_from_the_method_is_no_axis_but_set_values_are_told() -> None:
    records = [
        make(m, config={"training": {"epochs": e, "lr": lr}}, settings={"train.epochs": e})
        for m, e, lr in (("a", 10, 0.1), ("b", 20, 0.2))
    ]

    assert cells(table(records))[0] == ["method", "top1"]
    assert "train.epochs 10 or 20" in caption(table(records))


def test_a_training_that_differs_between_evaluators_is_an_axis() -> None:
    records = [
        make(evaluator=e, config={"training": {"epochs": n}}) for e, n in (("knn", 100), ("linear", 10))
    ]

    assert cells(table(records)) == [
        ["train.epochs", "knn", "linear"],
        ["10", "–", "70.00"],
        ["100", "70.00", "–"],
    ]


def test_a_learning_rate_is_shown_as_set_and_what_follows_from_it_is_not() -> None:
    def trained(lr: float, batch: int, **changes: Any) -> dict[str, Any]:
        training = {"epochs": 1, "lr": lr * batch / 256, "batch_size": batch}
        return make(
            config={"training": training}, settings={"train.lr": lr, "train.batch_size": batch}, **changes
        )

    every = [trained(lr, batch) for lr in (0.1, 0.3) for batch in (128, 256)]
    some = [trained(0.3, 128), make(config={"training": {"epochs": 1, "lr": 0.3, "batch_size": 128}}, seed=1)]

    assert [row[:2] for row in cells(table(every))[1:]] == [
        ["128", "0.1"], ["128", "0.3"], ["256", "0.1"], ["256", "0.3"],
    ]  # fmt: skip
    assert [row[0] for row in cells(table(some))] == ["train.lr", "0.15", "0.3"]


def test_a_setting_set_to_its_default_is_the_default() -> None:
    config = {"method": {"temperature": 0.5}}
    records = [make(seed=0, config=config), make(seed=1, config=config, settings={"method.temperature": 0.5})]

    assert cells(table(records))[1:] == [["simclr", "70.00 ± 0.00"]]


def test_views_and_lists_and_nulls_are_told_apart() -> None:
    views = [[{"crop": (0.2, 1.0), "blur": 0.5}, {"crop": (0.2, 1.0), "blur": b}] for b in (0.5, None)]
    text = table([make(config={"views": v}) for v in views])
    nulls = table([make(config={"method": m}) for m in ({}, {"x": None})])

    assert [row[0] for row in cells(text)] == ["views.blur", "0.5", "0.5,–"]
    assert [row[0] for row in cells(nulls)] == ["method.x", "–", "null"]


def test_a_skipped_cell_without_a_config_makes_no_axis() -> None:
    records = [make(seed=0, config={"method": {"x": 1}}), make(seed=1, status="skipped", reason="no")]

    assert cells(table(records))[1:] == [["simclr", "70.00 (1 of 2) [1]"]]


def test_records_that_nothing_named_tells_apart_are_not_averaged() -> None:
    records = [make(value=v, keys={"score": k * 20}) for v, k in ((60, "a"), (70, "b"))] + [make("vicreg")]
    text = table(records)

    assert [row[:2] for row in cells(text)[1:]] == [
        ["simclr", "aaaaaaaa"], ["simclr", "bbbbbbbb"], ["vicreg", "–"],
    ]  # fmt: skip
    assert "2 records differ from another of their seed" in caption(text)
    assert "told apart by key and not averaged" in caption(text)


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
        ["nll", "**1.0000**", "2.0000"],
    ]


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"rows": "metod"}, UnknownName, "--rows: no axis is named 'metod'. Did you mean 'method'?"),
        ({"cols": "method.tempo"}, UnknownName, "--cols: no axis .* Did you mean 'method.temperature'?"),
        ({"cols": "zzz"}, UnknownName, "Known: backbone, dataset, .*metric"),
        ({"rows": "method", "cols": "method"}, BadValue, "--cols: method is also in --rows. Name it once."),
        ({"metric": "top2"}, UnknownName, "--metric: no record has a metric 'top2'.*Known: nll, top1."),
        ({"format": "excel"}, UnknownName, "no format is named 'excel'.*Known: csv, github"),
    ],
)
def test_an_unknown_name_is_one_line_with_a_suggestion(
    options: dict[str, Any], kind: type[UsageError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        table(swept("method.temperature", 0.1, 0.5), **options)


# ---- settings by the name of a plugin


def by_name() -> list[dict[str, Any]]:
    """Return records whose temperature was set as `simclr.temperature`."""
    return [
        make(config={"method": {"temperature": t}}, settings={"simclr.temperature": t}, value=t)
        for t in (0.5, 0.1)
    ]


def test_what_is_set_by_a_plugins_name_is_one_axis_by_its_role() -> None:
    records = [*by_name(), *swept("method.temperature", 0.2), make("vicreg")]

    assert [row[:2] for row in cells(table(records))] == [
        ["method", "method.temperature"], ["simclr", "0.1"], ["simclr", "0.2"], ["simclr", "0.5"],
        ["vicreg", "–"],
    ]  # fmt: skip


def test_an_axis_can_be_asked_for_by_a_plugins_name() -> None:
    assert cells(table(by_name(), rows="simclr.temperature")) == cells(
        table(by_name(), rows="method.temperature")
    )


def test_shorter_lists_come_first() -> None:
    ops = (("crop", "flip", "jitter"), ("grey",), ("crop", "flip"), ())
    records = [make(settings={"views.ops": list(names)}, value=len(names)) for names in ops]

    assert [row[0] for row in cells(table(records))[1:]] == ["[]", "grey", "crop,flip", "crop,flip,jitter"]
