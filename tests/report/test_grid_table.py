"""The grid of a report says what `bench table` says, under each metric, and why cells have no score."""

from __future__ import annotations

import json
from typing import Any

import pytest
from report_pages import Build, parse, rows_of, trained

from bench.report import grid_table
from bench.report.grid_table import HEADLINES, build_grid
from bench.report.section import Section
from bench.reporting.table import build_table


def make(build: Build, records: list[dict[str, Any]]) -> Section:
    results, table, _ = build(records)
    return build_grid(results, table)


def with_metrics(record: dict[str, Any], **values: float) -> dict[str, Any]:
    metrics = {name: {"value": value, "higher_is_better": name != "nll"} for name, value in values.items()}
    return {**record, "metrics": {**record["metrics"], **metrics}}


def test_the_table_has_the_texts_of_bench_table(build: Build) -> None:
    records = [trained(method, 60.0 + seed, seed=seed, evaluator=evaluator)
               for method in ("a", "b") for evaluator in ("knn", "linear") for seed in (0, 1)]  # fmt: skip
    table = build_table(records)
    grid = parse(make(build, records).body).one("table", class_="grid")

    assert rows_of(grid)[0] == list(table.header)
    assert rows_of(grid)[1:] == [
        [*row.labels, *(cell.text if cell else "–" for cell in row.cells)] for row in table.rows
    ]
    assert grid.one("caption").text == table.caption_with("Bold")
    assert "60.50 ± 0.71" in grid.text


def test_the_best_are_marked_as_in_bench_table(build: Build) -> None:
    records = [trained(m, v + s, seed=s) for m, v in (("simclr", 10.0), ("vicreg", 90.0)) for s in (0, 1, 2)]

    assert [mark.text for mark in parse(make(build, records).body).all("strong")] == ["91.00 ± 1.00"]


def test_each_metric_has_a_table_and_the_first_is_shown(build: Build) -> None:
    records = [with_metrics(trained(), nll=1.5), with_metrics(trained("vicreg"), nll=2.5, top5=99.0)]
    blocks = list(parse(make(build, records).body).all("div", class_="metric"))

    assert [block.attributes["data-metric"] for block in blocks] == ["top1", "nll", "top5"]
    assert ["hidden" in block.attributes for block in blocks] == [False, True, True]
    assert [rows_of(block.one("table"))[1][-1] for block in blocks] == ["70.00 [69.09, 70.89]", "1.5000", "–"]


def test_evaluators_with_other_headlines_have_a_table_of_the_headlines_first(build: Build) -> None:
    other = trained(evaluator="geometry", headline="rankme", metrics={"rankme": {"value": 9.0}})
    blocks = list(parse(make(build, [trained(), other]).body).all("div", class_="metric"))

    assert [block.attributes["data-metric"] for block in blocks] == [HEADLINES, "rankme", "top1"]


def test_a_column_says_its_values_on_each_axis_and_which_end_is_better(build: Build) -> None:
    records = [
        with_metrics(trained(evaluator=e, label_frac=f), nll=1.0)
        for e in ("knn", "linear")
        for f in (0.1, 1.0)
    ]
    first, second = parse(make(build, records).body).all("table", class_="grid")
    heads = [head for head in first.all("th") if "data-values" in head.attributes]

    assert json.loads(first.attributes["data-axes"] or "") == ["evaluator", "label_frac"]
    assert [json.loads(head.attributes["data-values"] or "") for head in heads] == [
        ["knn", "10 %"], ["knn", "100 %"], ["linear", "10 %"], ["linear", "100 %"],
    ]  # fmt: skip
    assert {head.attributes["data-up"] for head in heads} == {"1"}
    assert {head.attributes["data-up"] for head in second.all("th") if "data-up" in head.attributes} == {"0"}


def test_cells_without_a_score_are_listed_with_their_reasons(build: Build) -> None:
    lost = {
        "status": "failed",
        "metrics": {},
        "error": {"type": "CellError", "message": "the <disk> is full"},
    }
    records = [
        trained(),
        *(trained("vicreg", seed=seed, **lost) for seed in range(15)),
        trained(
            "byol", status="skipped", metrics={}, reason="it cannot work & will not", eval_dataset="mnist"
        ),
    ]
    page = parse(make(build, records).body)
    (table,) = [one for one in page.all("table") if one.attributes.get("class") != "grid"]
    rows = rows_of(table)[1:]

    assert [row[:3] for row in sorted(rows)] == [
        ["failed", "15", "CellError: the <disk> is full"],
        ["skipped", "1", "it cannot work & will not"],
    ]
    assert "vicreg on resnet18/digits, knn with 100 %, seed " in rows[1][3]
    assert rows[1][3].endswith(" and 3 more")
    assert "knn on mnist" in rows[0][3]
    assert {"failed [1]", "skipped [1]"} & {cell.text for cell in page.all("td")}
    assert "[1] " in page.one("div", class_="notes").text


def test_where_all_is_well_there_is_no_list_of_reasons(build: Build) -> None:
    assert "Cells without a score" not in make(build, [trained()]).body


def test_metrics_that_there_is_no_room_for_are_named(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_table, "MOST_CELLS", 2)
    section = make(build, [with_metrics(trained(), nll=1.0, top5=2.0)])

    assert "top5" in section.notes[0]
    assert "`bench table --metric`" in section.notes[0]
    assert len(list(parse(section.body).all("table"))) == 2


def test_a_folder_of_nothing_but_failures_is_shown(build: Build) -> None:
    section = make(build, [trained(status="failed", metrics={}, headline=None, reason="no")])

    assert "failed [1]" in parse(section.body).one("table", class_="grid").text


def test_two_protocols_in_a_column_are_said_and_not_refused(build: Build) -> None:
    protocols = [{"features": features, "selected_split": "train"} for features in ("frozen", "fine-tuned")]
    records = [
        trained(method, protocol=protocol) for method, protocol in zip(("a", "b"), protocols, strict=True)
    ]

    assert "mixes two protocols" in parse(make(build, records).body).one("caption").text
