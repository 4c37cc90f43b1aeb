from __future__ import annotations

from typing import Any

import pytest
from made_records import caption, cells, make, tidy

from bench.reporting.table import table


def crossed(method: str = "simclr", shift: float = 0.0) -> list[dict[str, Any]]:
    """Return records of two training sets on three data sets; the matrix counts up from `shift`."""
    places = [(trained, on) for trained in ("mnist", "kmnist") for on in ("mnist", "kmnist", "gtsrb")]
    return [
        make(method, shift + value, dataset=trained, eval_dataset=on)
        for value, (trained, on) in enumerate(places)
    ]


def test_what_was_trained_on_goes_down_and_what_is_evaluated_on_across() -> None:
    text = table(crossed())

    assert cells(text) == [
        ["trained on", "on mnist", "on kmnist", "on gtsrb"],
        ["mnist", "0.00†", "1.00", "2.00"],
        ["kmnist", "**3.00**", "**4.00†**", "**5.00**"],
    ]
    assert caption(text) == (
        "top1 in percent, seed 0, 95 % interval in brackets (Wilson over test images); method simclr, "
        "backbone resnet18, evaluated by knn, 100 % of the labels, pretrained for 100 epochs. "
        "†: trained and evaluated on the same data set. Bold is best or not significantly "
        "worse, where others are (McNemar on one seed's test images; Holm, level 0.05)."
    )


def test_another_dataset_to_evaluate_on_is_shown_with_the_one_that_was_trained_on() -> None:
    records = [make(), make(eval_dataset="digits", evaluator="linear"), make(eval_dataset="kmnist")]
    one = table([make(eval_dataset="kmnist")])
    many = table([make(dataset=d, eval_dataset="kmnist") for d in ("digits", "kmnist")])

    assert cells(table(records))[0] == ["method", "on digits / knn", "on digits / linear", "on kmnist / knn"]
    assert "trained on digits, " in caption(table(records))
    assert "trained on digits, evaluated on kmnist" in caption(one)
    assert cells(many) == [["trained on", "top1"], ["digits", "70.00"], ["kmnist", "70.00†"]]
    assert "evaluated on kmnist" in caption(many)


def test_nothing_is_marked_where_nothing_crosses_or_no_marked_cell_has_a_value() -> None:
    own = table([make(dataset="d", eval_dataset="d"), make(dataset="e")])
    failed = table([make(status="failed", reason="boom"), make(eval_dataset="x")])

    assert cells(own)[0] == ["method", "d", "e"]
    assert cells(failed)[1] == ["simclr", "failed [1]", "70.00"]
    assert "†" not in own + failed


def test_the_best_of_a_matrix_is_that_of_one_evaluated_data_set_and_one_evaluator() -> None:
    records = [*crossed("a"), *crossed("b", shift=0.5)]
    text = table(records)
    probed = table([*records, *(make("b", evaluator="linear", dataset=d) for d in ("mnist", "kmnist"))])

    assert [row[:2] for row in cells(text)] == [
        ["method", "trained on"], ["a", "mnist"], ["a", "kmnist"], ["b", "mnist"], ["b", "kmnist"],
    ]  # fmt: skip
    assert ["**" in "".join(row) for row in cells(text)[1:]] == [False, False, False, True]
    assert cells(probed)[-1][2:] == ["**3.50**", "–", "**4.50†**", "70.00†", "**5.50**"]


def test_a_training_set_in_a_column_is_a_task_of_its_own() -> None:
    records = [*crossed("a"), *crossed("b", shift=0.5)]
    pairs = table(records, cols="dataset,eval_dataset")

    assert cells(pairs)[0][1:] == [
        "mnist", "mnist -> kmnist", "mnist -> gtsrb", "kmnist -> mnist", "kmnist", "kmnist -> gtsrb",
    ]  # fmt: skip
    assert ["**" in text for text in cells(pairs)[2][1:]] == [True] * 6


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"rows": "dataset"}, ["trained on", "on mnist", "on kmnist", "on gtsrb"]),
        ({"cols": "eval_dataset"}, ["trained on", "on mnist", "on kmnist", "on gtsrb"]),
        ({"rows": "eval_dataset"}, ["evaluated on", "trained on mnist", "trained on kmnist"]),
        ({"cols": "dataset"}, ["evaluated on", "trained on mnist", "trained on kmnist"]),
        ({"rows": "dataset,eval_dataset"}, ["trained on", "evaluated on", "top1"]),
    ],
)
def test_a_matrix_can_be_laid_out_otherwise(options: dict[str, str], header: list[str]) -> None:
    assert cells(table(crossed(), **options))[0] == header


def test_a_setting_of_the_training_set_stays_with_it() -> None:
    records = [
        make(eval_dataset=on, settings={"dataset.size": n}, config={"dataset": {"size": n}})
        for n in (100, 200) for on in ("digits", "mnist")
    ]  # fmt: skip

    assert cells(table(records))[0] == ["dataset.size", "on digits", "on mnist"]


def test_the_mark_is_escaped_in_latex_and_kept_elsewhere_and_left_out_of_numbers() -> None:
    latex = table(crossed(), format="latex", uncertainty="none")

    assert r"\bfseries 4.00{$^\dagger$}" in latex
    assert r" $^\dagger$: trained and" in latex
    assert latex.isascii()
    assert "<strong>4.00†</strong>" in table(crossed(), format="html", uncertainty="none")
    assert "4.00†*" in table(crossed(), format="plain", uncertainty="none")
    assert [row["mean"] for row in tidy(crossed())] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_what_was_not_trained_has_no_diagonal() -> None:
    pairs = [(a, b) for a in ("mnist", "kmnist") for b in ("mnist", "kmnist")]
    training = {"training": {"image_size": 28}}
    records = [make("random", dataset=a, eval_dataset=b, config=training) for a, b in pairs]

    assert "†" not in table(records)
