from __future__ import annotations

import csv
import io
import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BadValue, UnknownName, UsageError
from bench.formats import SHEETS, TIDY
from bench.keys import digest
from bench.tables import status, table


def make(method: str = "simclr", value: float = 70.0, **changes: Any) -> dict[str, Any]:
    """Return a record; a change names a field of the cell, a part of the record or of its config."""
    names = ("backbone", "dataset", "eval_dataset", "evaluator", "label_frac", "seed")
    usual = ("resnet18", "digits", None, "knn", 1.0, 0)
    cell = {"method": method, **dict(zip(names, usual, strict=True))}
    cell |= {name: changes.pop(name) for name in names if name in changes}
    config = {"method": {}, "evaluator": {}, "training": {"epochs": 100}, **changes.pop("config", {})}
    directions = {"top1": True, "nll": False}
    metrics = {name: {"value": value, "higher_is_better": up} for name, up in directions.items()}
    return {
        "schema": 1, "cell": cell, "config": config, "settings": {}, "status": "ok", "reason": None,
        "metrics": metrics if changes.get("status", "ok") == "ok" else {},
        "keys": {"score": digest([repr(cell), repr(config)])},
        **changes,
    }  # fmt: skip


def cells(text: str) -> list[list[str]]:
    """Return the cells of a GitHub table, its header first."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in lines]


def caption(text: str) -> str:
    return text.splitlines()[0]


def tidy(records: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(table(records, format="json", **options))
    return rows


def swept(name: str, *values: Any, **changes: Any) -> list[dict[str, Any]]:
    """Return a record for each value of the setting `name`."""
    part, field = name.split(".")
    section = {"train": "training", "method": "method"}.get(part, "evaluator")
    return [
        make(settings={name: value}, config={section: {field: value}}, value=70.0 + place, **changes)
        for place, value in enumerate(values)
    ]


def test_only_seeds_are_averaged_and_what_is_constant_goes_to_the_caption() -> None:
    records = [make(m, 70.0 + 2 * s + d, seed=s) for d, m in enumerate(("simclr", "vicreg")) for s in (0, 1)]
    text = table(records)

    assert cells(text) == [
        ["method", "top1"],
        ["simclr", "71.00 ± 1.41"],
        ["vicreg", "**72.00 ± 1.41**"],
    ]
    assert caption(text) == (
        "top1 in percent, mean ± std over seeds (n=2); backbone resnet18, dataset digits, evaluator knn, "
        "label_frac 100 %, train.epochs 100. Bold is best."
    )


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


def test_another_dataset_to_evaluate_on_is_shown_with_the_one_that_was_trained_on() -> None:
    records = [make(), make(eval_dataset="digits", evaluator="linear"), make(eval_dataset="kmnist")]
    one = table([make(eval_dataset="kmnist")])
    many = table([make(dataset=d, eval_dataset="kmnist") for d in ("digits", "kmnist")])

    assert cells(table(records))[0] == ["method", "digits / knn", "digits / linear", "digits -> kmnist / knn"]
    assert "dataset digits, evaluated on kmnist" in caption(one)
    assert cells(many)[0] == ["method", "digits -> kmnist", "kmnist"]


def test_n_is_in_each_cell_where_it_differs() -> None:
    text = table([make("a", seed=0), make("a", seed=1), make("b")])

    assert cells(text)[1:] == [["a", "**70.00 ± 0.00 (n=2)**"], ["b", "**70.00 (n=1)**"]]
    assert "(n=" not in caption(text)


def test_one_seed_has_no_deviation() -> None:
    assert caption(table([make(seed=3)])).startswith("top1 in percent, seed 3;")
    assert caption(table([make("a", seed=3), make("b", seed=4)])).startswith(
        "top1 in percent, one seed a cell;"
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
    records = [*swept("knn.k", 20, 200, method="a"), *swept("knn.k", 20, 200, method="b")]

    assert "**" not in table(records[:2], rows="knn.k")
    assert [row[2].startswith("**") for row in cells(table(records, rows="knn.k,method"))[1:]] == [True] * 4


def test_nan_is_shown_and_never_best() -> None:
    text = table([make("a", math.nan), make("b", 1.0), make("c", 2.0), make("d", -math.inf, seed=1)])

    assert [row[1] for row in cells(text)[1:]] == ["nan", "1.00", "**2.00**", "-inf"]
    assert tidy([make(value=math.nan)])[0]["mean"] == "nan"
    assert tidy([make(seed=s, value=v) for s, v in enumerate((math.inf, -math.inf))])[0]["std"] == "nan"


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


def test_without_a_metric_the_first_there_is_serves() -> None:
    other = make(metrics={"auc": {"value": 0.91, "higher_is_better": True}})

    assert cells(table([make()], metric=None))[0] == ["method", "top1"]
    assert cells(table([other], metric=None)) == [["method", "auc"], ["simclr", "0.9100"]]


def test_an_evaluator_without_the_metric_leaves_its_cells_empty() -> None:
    records = [make(), make(evaluator="match", metrics={"auc": {"value": 0.9}})]

    assert cells(table(records))[1] == ["simclr", "70.00", "–"]
    assert [row["status"] for row in tidy(records)] == ["ok", "missing"]


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"rows": "metod"}, UnknownName, "--rows: no axis is named 'metod'. Did you mean 'method'?"),
        ({"cols": "method.tempo"}, UnknownName, "--cols: no axis .* Did you mean 'method.temperature'?"),
        ({"cols": "zzz"}, UnknownName, "Known: backbone, dataset, .*metric"),
        ({"rows": "method", "cols": "method"}, BadValue, "--cols: method is also in --rows. Name it once."),
        ({"metric": "top2"}, UnknownName, "--metric: no record has a metric 'top2'.*Known: nll, top1."),
        ({"format": "excel"}, UnknownName, "--format: no format is named 'excel'.*Known: csv, github"),
    ],
)
def test_an_unknown_name_is_one_line_with_a_suggestion(
    options: dict[str, Any], kind: type[UsageError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        table(swept("method.temperature", 0.1, 0.5), **options)


def test_no_records_is_one_line() -> None:
    for make_text in (table, status):
        with pytest.raises(UsageError, match=r"^no records in here\. Run `bench run` first\.$"):
            make_text([], folder="here")


@pytest.mark.parametrize("kind", sorted({*SHEETS, *TIDY}))
def test_names_that_look_like_numbers_stay_as_they_are(kind: str) -> None:
    text = table([make("0012", dataset="1e5"), make("1e3", dataset="00")], format=kind)

    assert all(name in text for name in ("0012", "1e5", "1e3", "00"))
    assert "70.00" in text or "70.0" in text


def test_github_escapes_what_would_break_a_row() -> None:
    text = table([make("a|b\\"), make("c\nd*<i>")])

    assert "| a\\|b\\\\ " in text
    assert "| c d\\*\\<i> " in text
    assert (
        len({line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    )


def test_plain_marks_the_best_with_a_star_and_says_so() -> None:
    text = table([make("a", 1), make("b", 2)], format="plain")

    assert [line.split() for line in text.splitlines()[-2:]] == [["a", "1.00"], ["b", "2.00*"]]
    assert "* is best." in caption(text)
    assert "best" not in table([make()], format="plain")


def test_latex_escapes_specials_and_uses_booktabs() -> None:
    records = [make("a_b&c%d#e$f{g}h~i^j\\k", seed=s) for s in (0, 1)] + [
        make("[x]", 1, status="failed", reason="50%")
    ]
    text = table(records, format="latex")
    body = text.split("\\midrule\n")[1]

    assert body.startswith(
        r"a\_b\&c\%d\#e\$f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k & 70.00 $\pm$ 0.00 \\"
    )
    assert r"{[}x{]} & failed {[}1{]} \\" in body
    assert r"failed: 50\%" in body
    assert all(
        word in text for word in (r"\toprule", r"\bottomrule", r"\caption{top1 in percent, mean $\pm$")
    )
    assert text.isascii()


def test_latex_writes_the_best_bold_and_an_arrow() -> None:
    text = table([make("a", 1, eval_dataset="x"), make("b", 2, eval_dataset="x"), make("a")], format="latex")

    assert r"\textbf{2.00}" in text
    assert r"digits $\to$ x" in text
    assert "& -- " in text
    assert text.isascii()


def test_html_is_well_formed_and_escaped() -> None:
    opened: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            opened.extend([tag] * (tag != "meta"))

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    text = table([make("<b>&", 1), make("c", 2), make("d", status="failed", reason="<x>")], format="html")
    Tags().feed(text)

    assert opened == []
    assert '<th scope="row">&lt;b&gt;&amp;</th>' in text
    assert "<td><strong>2.00</strong></td>" in text
    assert "<caption>top1 in percent" in text
    assert "[1] failed: &lt;x&gt;" in text


def test_csv_and_json_hold_numbers_reasons_and_all_axes() -> None:
    records = [make(seed=s, value=70.0 + s) for s in (0, 1)]
    records += [make('v,"q', seed=0), make('v,"q', seed=1, status="failed", reason="boom")]
    rows = list(csv.DictReader(io.StringIO(table(records, format="csv"))))

    assert list(rows[0]) == [
        "method", "backbone", "dataset", "eval_dataset", "evaluator", "label_frac",
        "metric", "mean", "std", "n", "status", "reason",
    ]  # fmt: skip
    assert (rows[0]["mean"], rows[0]["n"], rows[0]["status"], rows[0]["reason"]) == ("70.5", "2", "ok", "")
    assert (rows[1]["method"], rows[1]["std"], rows[1]["status"]) == ('v,"q', "", "partial")
    assert tidy(records)[1] == {
        "method": 'v,"q', "backbone": "resnet18", "dataset": "digits", "eval_dataset": "digits",
        "evaluator": "knn", "label_frac": 1.0, "metric": "top1", "mean": 70.0, "std": None, "n": 1,
        "status": "partial", "reason": "failed: boom",
    }  # fmt: skip


def test_csv_and_json_name_the_settings_that_vary() -> None:
    rows = tidy(swept("method.temperature", 0.1, 0.5))

    assert [row["method.temperature"] for row in rows] == [0.1, 0.5]


def test_a_table_of_failures_only_still_shows_them() -> None:
    text = table([make(status="failed", reason="boom")])

    assert cells(text) == [["method", "top1"], ["simclr", "failed [1]"]]


def test_status_counts_cells_and_gives_reasons_and_the_size_on_disk(tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "k").mkdir(parents=True)
    (tmp_path / "artifacts" / "k" / "model").write_bytes(b"x" * 1500)
    records = [make(), make(seed=1), make("vicreg", backbone="a|b", status="skipped", reason="cannot work")]
    records += [make(seed=s, status="failed", reason="boom.\nDo this.") for s in (2, 3)]
    lines = status(records, tmp_path).splitlines()

    assert lines[2].split() == ["simclr", "resnet18", "digits", "2", "2", "0"]
    assert lines[3].split() == ["vicreg", "a|b", "digits", "0", "0", "1"]
    assert "  boom. Do this. (simclr on resnet18/digits, knn, seed 2 and 1 more)" in lines
    assert "  cannot work (vicreg on a|b/digits, knn, seed 0)" in lines
    assert lines[-1] == f"artifacts: 1.5 kB in 1 file in {tmp_path / 'artifacts'}"


def test_status_without_artifacts_says_so(tmp_path: Path) -> None:
    assert status([make()], tmp_path).endswith(f"artifacts: 0 B in 0 files in {tmp_path / 'artifacts'}")


def test_ten_thousand_records_make_one_table() -> None:
    records = [
        make(f"m{m}", 50.0 + s, dataset=f"d{d}", seed=s, label_frac=f)
        for m in range(10) for d in range(10) for f in (0.01, 0.1, 0.5, 1.0) for s in range(25)
    ]  # fmt: skip
    text = table(records)

    assert len(records) == 10_000
    assert len(cells(text)) == 11
    assert {len(row) for row in cells(text)} == {41}
