"""Names, decimals, order and direction of a table: they change no number and nothing that is compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from made_records import caption, cells, make, sweep, tidy

from bench.errors import BadData, BadValue, UnknownName
from bench.reporting.naming import Names, parse_names, read_names
from bench.reporting.presentation import Presentation
from bench.reporting.table import build_table, table


def grid(**changes: Any) -> list[dict[str, Any]]:
    values = {
        ("simclr", "linear"): 60.0,
        ("simclr", "knn"): 70.0,
        ("vicreg", "linear"): 65.0,
        ("a", "knn"): 50.0,
    }
    return [
        make(method, value, evaluator=evaluator, **changes) for (method, evaluator), value in values.items()
    ]


def show(records: list[dict[str, Any]], layout: dict[str, Any] | None = None, **shown: Any) -> str:
    return table(records, **layout or {}, presentation=Presentation(**shown))


# ---- names


def test_a_name_stands_for_values_axes_and_metrics_wherever_they_are() -> None:
    names = Names(
        {"simclr": "SimCLR", "method": "Method", "linear": "Probe", "digits": "Digits", "top1": "Top-1"}
    )
    text = show(grid(), names=names)

    assert cells(text)[0] == ["Method", "Probe", "knn"]
    assert cells(text)[1][0] == "SimCLR"
    assert caption(text).startswith("Top-1 in percent, seed 0, 95 % interval in brackets ")
    assert "; backbone resnet18, data set Digits," in caption(text)


def test_a_share_of_the_labels_is_named_as_it_is_set_or_as_it_reads() -> None:
    records = [make(label_frac=0.1), make(label_frac=1.0)]

    for spelled in ("0.1", "10 %"):
        assert cells(show(records, names=Names({spelled: "few"})))[0] == ["method", "few", "100 %"]


def test_a_setting_and_its_values_may_have_names() -> None:
    records = sweep("method.temperature", 0.1, 0.5)
    names = Names({"method.temperature": "Temperature", "0.5": "half"})

    assert cells(show(records, names=names))[0] == ["Temperature", "top1"]
    assert cells(show(records, {"cols": "simclr.temperature"}, names=names))[0] == [
        "Temperature=0.1",
        "Temperature=half",
    ]


def test_pairs_of_data_sets_have_their_names() -> None:
    records = [make(dataset=a, eval_dataset=b) for a in ("x", "y") for b in ("x", "y")]

    assert cells(show(records, names=Names({"x": "X"})))[0] == ["trained on", "on X", "on y"]
    pairs = show(records, {"cols": "dataset,eval_dataset"}, names=Names({"x": "X"}))
    assert cells(pairs)[0] == ["X", "X -> y", "y -> X", "y"]


def test_what_stands_in_tidy_formats_is_the_name_in_the_records() -> None:
    rows = tidy(grid(), presentation=Presentation(names=Names({"simclr": "SimCLR"})))

    assert {row["method"] for row in rows} == {"simclr", "vicreg", "a"}


def test_names_are_read_with_their_commas() -> None:
    assert parse_names(["a=A, or so,b=B", "b=C"]) == {"a": "A, or so", "b": "C"}


@pytest.mark.parametrize("text", ["simclr", "=x", "a=", ""])
def test_a_name_that_names_nothing_is_one_line(text: str) -> None:
    with pytest.raises(BadValue, match=r"^--name: .* names nothing\. Write NAME=NEW, e\.g\. simclr=Sim"):
        parse_names([text])


def test_a_name_that_is_asked_for_has_to_be_in_the_table() -> None:
    with pytest.raises(
        UnknownName, match=r"^--name: nothing in the table is named 'simcl'\. Did you mean 'simclr'"
    ):
        show(grid(), names=Names({"simcl": "S"}), required=("simcl",))

    assert show(grid(), names=Names({"simcl": "S"})) == show(grid())  # of a file that serves many tables


def test_names_are_read_of_a_block_in_yaml(tmp_path: Path) -> None:
    file = tmp_path / "names.yaml"
    file.write_text("names:\n  simclr: SimCLR\n  0.1: a tenth\n")

    assert read_names(file) == {"simclr": "SimCLR", "0.1": "a tenth"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is no YAML ("),
        (b"\xff", "is no YAML ("),
        (b"a: 1", "has no block `names:`. Write one, with lines such as `simclr: SimCLR`."),
        (b"", "has no block `names:`."),
        (b"names: [a]", "has no block `names:`."),
        (b"names: {a: [1]}", "a is to be [1], which is no name. Write a text."),
        (b"names: {a: }", "a is to be None, which is no name. Write a text."),
    ],
)
def test_a_file_without_names_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "names.yaml").write_bytes(content)

    with pytest.raises(BadData, match=re.escape(message)) as raised:
        read_names(tmp_path / "names.yaml")
    assert "\n" not in str(raised.value)


# ---- digits


def test_digits_are_those_of_every_metric_that_is_no_count() -> None:
    records = [make(value=61.26, seed=s, cost={"params": 11}) for s in (0, 1)]
    text = show(records, {"metric": "top1,nll,params"}, digits=1)

    assert cells(text)[1] == ["simclr", "61.3 ± 0.0", "61.3 ± 0.0", "11 ± 0"]


def test_cells_that_print_alike_are_not_told_apart() -> None:
    records = [make("a", 70.0), make("b", 74.6), make("c", 75.4)]
    coarse = Presentation(digits=0)

    assert [row["best"] for row in tidy(records)] == [False, False, True]
    assert [row["best"] for row in tidy(records, presentation=coarse)] == [False, True, True]


# ---- order


def test_rows_are_sorted_by_their_names() -> None:
    records = [make(name) for name in ("resnet101", "Resnet50", "alpha")]

    assert [line[0] for line in cells(show(records, sort="name"))[1:]] == ["alpha", "Resnet50", "resnet101"]


def test_rows_are_sorted_by_one_of_their_axes_numbers_by_size() -> None:
    records = sweep("method.temperature", 0.5, 0.05, 0.1)

    for name in ("method.temperature", "name"):
        assert [line[0] for line in cells(show(records, sort=name))[1:]] == ["0.05", "0.1", "0.5"]


@pytest.mark.parametrize(
    ("sort", "order"), [("linear", ["vicreg", "simclr", "a"]), ("knn", ["simclr", "a", "vicreg"])]
)
def test_rows_are_sorted_by_a_column_the_best_first_and_what_is_missing_last(
    sort: str, order: list[str]
) -> None:
    assert [line[0] for line in cells(show(grid(), sort=sort))[1:]] == order


def test_of_a_loss_the_lowest_comes_first_and_what_is_no_number_last() -> None:
    records = [
        make("a", 3.0),
        make("b", float("nan")),
        make("c", 1.0),
        make("d", status="failed", reason="x"),
    ]

    assert [line[0] for line in cells(show(records, {"metric": "nll"}, sort="nll"))[1:]] == [
        "c",
        "a",
        "b",
        "d",
    ]


def test_a_part_of_a_heading_is_enough_where_it_means_one_column() -> None:
    tasks = (("knn", 0.1), ("linear", 0.1), ("linear", 1.0))
    records = [make(m, v, evaluator=e, label_frac=f) for m, v in (("a", 1), ("b", 2)) for e, f in tasks]

    assert cells(show(records, sort="knn"))[1][0] == "b"
    assert cells(show(records, sort="linear / 10 %"))[1][0] == "b"
    with pytest.raises(BadValue, match=r"^--sort: 2 columns have 'linear': 'linear / 10 %'; 'linear / 1"):
        show(records, sort="linear")
    with pytest.raises(UnknownName, match=r"^--sort: no column is named 'linea'\. Did you mean 'linear'"):
        show(records, sort="linea")


def test_notes_are_counted_in_the_order_of_the_sorted_rows() -> None:
    records = [make("a", status="failed", reason="first"), make("b", status="failed", reason="second")]
    text = show(records[::-1], sort="name")

    assert [line[1] for line in cells(text)[1:]] == ["failed [1]", "failed [2]"]
    assert "[1] failed: first" in text


# ---- direction


def test_a_transposed_table_has_the_same_cells_with_the_same_marks() -> None:
    straight, turned = build_table(grid()), build_table(grid(), presentation=Presentation(transpose=True))

    assert [[cell and (cell.text, cell.best) for cell in row.cells] for row in turned.rows] == [
        [row.cells[place] and (row.cells[place].text, row.cells[place].best) for row in straight.rows]
        for place in range(len(straight.columns))
    ]
    assert turned.header == ("evaluator", "simclr", "vicreg", "a")
    assert sum(cell.best for cell in turned.cells()) == 2


def test_a_training_set_in_the_rows_is_compared_as_before_it_was_turned() -> None:
    records = [make(value=v, dataset=d, eval_dataset="x") for v, d in ((50, "x"), (60, "y"))]
    turned = build_table(records, rows="dataset", presentation=Presentation(transpose=True))

    assert [cell.best for cell in turned.cells()] == [False, True]


def test_a_single_column_is_turned_into_a_row_of_its_metric() -> None:
    text = show([make("a", 1.0), make("b", 2.0)], transpose=True)

    assert cells(text) == [["metric", "a", "b"], ["top1", "1.00", "**2.00**"]]


def test_the_caption_says_row_where_labels_are_in_a_row_now() -> None:
    records = [
        make("s", label_frac=f, evaluator="linear", protocol={"training_labels": f}) for f in (0.1, 1.0)
    ]

    assert "that is named in the column" in caption(show(records))
    assert "that is named in the row" in caption(show(records, transpose=True))


def test_rows_are_sorted_before_they_are_turned() -> None:
    assert cells(show(grid(), sort="linear", transpose=True))[0] == ["evaluator", "vicreg", "simclr", "a"]
