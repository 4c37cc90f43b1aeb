from __future__ import annotations

import copy
from typing import Any

from made_records import caption, cells, make, sweep

from bench.reporting.axes import survey_records
from bench.reporting.table import table


def test_a_config_that_differs_without_being_set_is_not_averaged() -> None:
    records = [make(seed=s, config={"training": {"epochs": e}}) for s, e in ((0, 10), (1, 10), (2, 20))]

    assert cells(table(records))[1:] == [["10", "70.00 ± 0.00 (n=2)"], ["20", "70.00 (n=1)"]]


def test_a_recipe_that_follows_from_the_method_is_no_axis_but_the_caption_has_what_was_set() -> None:
    records = [
        make(m, config={"training": {"epochs": e, "lr": lr}}, settings={"train.epochs": e})
        for m, e, lr in (("a", 10, 0.1), ("b", 20, 0.2))
    ]

    assert cells(table(records))[0] == ["method", "top1"]
    assert "pretrained for 10 or 20 epochs" in caption(table(records))


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

    set_by_all = [trained(lr, batch) for lr in (0.1, 0.3) for batch in (128, 256)]
    set_by_some = [
        trained(0.3, 128),
        make(config={"training": {"epochs": 1, "lr": 0.3, "batch_size": 128}}, seed=1),
    ]

    assert [row[:2] for row in cells(table(set_by_all))[1:]] == [
        ["128", "0.1"], ["128", "0.3"], ["256", "0.1"], ["256", "0.3"],
    ]  # fmt: skip
    assert [row[0] for row in cells(table(set_by_some))] == ["train.lr", "0.15", "0.3"]


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


def test_records_that_differ_in_nothing_but_their_key_are_not_averaged() -> None:
    records = [make(value=v, keys={"score": k * 20}) for v, k in ((60, "a"), (70, "b"))] + [make("vicreg")]
    text = table(records)

    assert [row[:2] for row in cells(text)[1:]] == [
        ["simclr", "aaaaaaaa"], ["simclr", "bbbbbbbb"], ["vicreg", "–"],
    ]  # fmt: skip
    assert "2 records differ from another of their seed" in caption(text)
    assert "told apart by key and not averaged" in caption(text)


def set_by_plugin_name() -> list[dict[str, Any]]:
    """Return records whose temperature was set as `simclr.temperature`."""
    return [
        make(config={"method": {"temperature": t}}, settings={"simclr.temperature": t}, value=t)
        for t in (0.5, 0.1)
    ]


def test_what_is_set_by_a_plugins_name_is_one_axis_by_its_role() -> None:
    records = [*set_by_plugin_name(), *sweep("method.temperature", 0.2), make("vicreg")]

    assert [row[:2] for row in cells(table(records))] == [
        ["method", "method.temperature"], ["simclr", "0.1"], ["simclr", "0.2"], ["simclr", "0.5"],
        ["vicreg", "–"],
    ]  # fmt: skip


def test_an_axis_can_be_asked_for_by_a_plugins_name() -> None:
    assert cells(table(set_by_plugin_name(), rows="simclr.temperature")) == cells(
        table(set_by_plugin_name(), rows="method.temperature")
    )


def test_shorter_lists_come_first() -> None:
    ops = (("crop", "flip", "jitter"), ("grey",), ("crop", "flip"), ())
    records = [make(settings={"views.ops": list(names)}, value=len(names)) for names in ops]

    assert [row[0] for row in cells(table(records))[1:]] == ["[]", "grey", "crop,flip", "crop,flip,jitter"]


def test_records_that_were_made_alike_share_their_values_however_they_were_read() -> None:
    records = [make(seed=seed, config={"method": {"temperature": 0.1}}) for seed in range(3)]
    records.append(make(seed=3, config={"method": {"temperature": 0.2}}))
    survey = survey_records(copy.deepcopy(record) for record in records)

    assert len({id(point.axes.settings) for point in survey.points}) == 2
    assert [point.kind for point in survey.points] == [0, 0, 0, 1]
    assert [point.axes["seed"] for point in survey.kinds] == [0, 3]
    assert survey.values_on("seed") == [0, 1, 2, 3]


def test_true_and_one_are_two_values_of_a_setting() -> None:
    records = [make(seed=seed, config={"method": {"x": value}}) for seed, value in enumerate((True, 1, 1.0))]

    values = [point.axes["method.x"] for point in survey_records(records).points]
    assert list(map(type, values)) == [bool, int, float]


def test_seeds_may_be_rows_of_records_that_are_else_alike() -> None:
    records = [make(seed=seed, value=seed) for seed in range(3)]

    assert [row[0] for row in cells(table(records, rows="seed"))[1:]] == ["0", "1", "2"]
