"""A report is one well-formed page that needs nothing else, says all it shows in words, and stays small."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from report_pages import Node, a_grid, a_thousand, epochs, parse, trained, untrained, write_results

from bench.errors import UsageError
from bench.registry.registry import Registry
from bench.report.figure import Figure
from bench.report.page import build_page, list_sections, write_page
from bench.report.pictures import Wanted, draw_pictures
from bench.report.results import read_results
from bench.report.section import Section
from bench.report.stored import image_loader
from bench.storage.records import RecordStore

ROOT = Path(__file__).resolve().parent.parent.parent
HOSTILE = [
    "</script><script>alert(1)</script>",
    "a<b>&amp;\"'",
    "x\x00\x1b[31m\x07y",
    "|$\\`*",
    "\u202eabc",
    "é ñ 漢",
    "`code`",
]
MEGABYTE = 1_000_000


def check(text: str) -> Node:
    """Return the tree of a page that keeps what every report keeps."""
    root = parse(text)
    elements = list(root.everything())
    ids = [element.attributes["id"] for element in elements if "id" in element.attributes]
    links = [link.attributes["href"] or "" for link in root.all("a")]
    figures = list(root.all("figure"))

    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert len(list(root.all("svg"))) == len(figures)
    for figure in figures:
        assert figure.one("svg").children[0].tag == "title"
        assert figure.one("svg").children[0].text
        assert figure.one("svg").attributes["viewbox"]
        table = figure.one("details").one("table")
        assert len(list(table.all("tr"))) > 1
        assert table.one("caption").text
    for table in root.all("table"):
        widths = {len(row.children) for row in table.all("tr")}
        assert len(widths) == 1, table.one("caption").text
    assert [element.tag for element in elements].count("script") == 1
    assert not {"iframe", "link", "img", "object", "base"} & {element.tag for element in elements}
    assert not [name for element in elements for name in element.attributes if name.startswith("on")]
    return root


def test_the_page_is_well_formed_and_each_figure_has_a_title_and_its_numbers(tmp_path: Path) -> None:
    root = check(build_page([a_grid(tmp_path / "results")]))

    assert root.one("html").attributes["lang"] == "en"
    assert [one.attributes["id"] for one in root.all("section")] == [
        "grid",
        "labels",
        "costs",
        "curves",
        "provenance",
    ]
    assert len(list(root.all("figure"))) >= 10
    assert "18 cells: 16 ok, 1 failed, 1 skipped." in root.one("header").text
    assert "the loss became nan" in root.text


def test_the_page_asks_nobody_for_anything_and_runs_its_own_script_alone(tmp_path: Path) -> None:
    text = build_page([a_grid(tmp_path / "results")])
    root = parse(text)
    (policy,) = [
        meta.attributes["content"] or "" for meta in root.all("meta") if "http-equiv" in meta.attributes
    ]
    script = root.one("script").text
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "innerHTML" not in script


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_reason_or_setting_breaks_out_of_the_page(tmp_path: Path, text: str) -> None:
    names = {name: f"{name}{text}" for name in ("backbone", "dataset", "evaluator")}
    names["eval_dataset"] = names["dataset"]
    records = [
        trained(f"m{text}", seed=seed, label_frac=share, settings={f"method.{text}": text},
                protocol={text: text}, provenance={text: {text: text}}, **names)
        for seed in (0, 1) for share in (0.1, 1.0)
    ]  # fmt: skip
    for record in records:
        record["metrics"][text] = {"value": 1.0, "higher_is_better": True}
    records += [untrained(label_frac=share, **names) for share in (0.1, 1.0)]
    records.append(
        trained("other", status="failed", metrics={}, reason=text, error={"message": text}, **names)
    )
    logs = {record["keys"]["backbone"]: epochs(3, **{text: 1.0}) for record in records}
    page = build_page([write_results(tmp_path / "results", records, logs)])
    root = check(page)

    assert not {"b", "alert"} & {element.tag for element in root.everything()}
    assert not set("\x00\x1b\x07\u202e") & set(page)
    assert any(figure.attributes["id"] == "figure-curve-loss" for figure in root.all("figure"))


@pytest.mark.long
def test_a_thousand_cells_fit_into_a_megabyte(tmp_path: Path) -> None:
    text = build_page([a_thousand(tmp_path / "results")])
    root = check(text)

    assert len(text.encode()) < MEGABYTE
    assert "1000 cells: 1000 ok." in root.one("header").text
    assert "Left out to keep the page small: " in root.text  # and says so


@pytest.mark.long
def test_ten_thousand_cells_are_shown_under_their_headline(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    store = RecordStore(folder)
    metrics = {f"metric{n}": {"value": 1.0, "higher_is_better": True} for n in range(3)}
    for number in range(10_000):
        record = trained(f"m{number % 2500}", evaluator=f"e{number // 2500}")
        path = store.path(record["cell"], record["keys"]["score"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**record, "schema": 1, "metrics": {**record["metrics"], **metrics}}))
    root = check(build_page([folder]))

    assert len(list(root.all("table", class_="grid"))) == 1
    assert "3 metrics would make the page too large" in root.text
    assert len(list(root.one("table", class_="grid").all("tr"))) == 2501


def test_records_alone_make_a_page_that_says_what_is_missing(tmp_path: Path) -> None:
    root = check(build_page([write_results(tmp_path / "results", [trained(), untrained()])]))

    assert "1 of 1 trainings has no metrics.jsonl" in root.text
    assert not (tmp_path / "results" / "artifacts").exists()


def test_the_committed_results_make_a_page(tmp_path: Path) -> None:
    folders = [ROOT / "results" / name for name in ("cifar10", "mnist-and-cifar10")]
    root = check(build_page(folders))

    assert "4 more are in an earlier folder, too" in root.one("header").text
    assert "42.40 ± 0.91" in root.one("section", id="grid").text


def test_a_record_that_says_little_is_shown(tmp_path: Path) -> None:
    bare: dict[str, Any] = trained()
    bare = {name: bare[name] for name in ("schema", "cell", "keys", "status", "metrics")}
    bare["cell"] = {name: bare["cell"][name] for name in ("method", "backbone", "dataset", "evaluator")}

    assert "70.00" in check(build_page([write_results(tmp_path / "results", [bare])])).text


def test_records_of_both_schemas_stand_beside_each_other(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "results", [trained("simclr")])
    store, old = RecordStore(folder), {**trained("vicreg"), "schema": 1}
    path = store.path(old["cell"], old["keys"]["score"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(old))
    rows = check(build_page([folder])).one("section", id="grid").one("table", class_="grid")

    assert [row.children[0].text for row in rows.all("tr")] == ["method", "simclr", "vicreg"]


def test_scores_that_are_not_finite_are_shown_and_drawn_nowhere(tmp_path: Path) -> None:
    records = [
        trained("simclr", value, label_frac=share)
        for share, value in ((0.1, float("nan")), (1.0, float("inf")))
    ]
    records += [trained("vicreg", value, label_frac=share) for share, value in ((0.1, 50.0), (1.0, 60.0))]
    text = build_page([write_results(tmp_path / "results", records)])
    root = check(text)

    assert "nan" in root.one("table", class_="grid").text
    assert not [
        svg for svg in root.all("svg") for path in svg.all("path") if "nan" in (path.attributes["d"] or "")
    ]


def test_a_folder_without_records_is_named(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "results", [trained()])

    with pytest.raises(UsageError, match=f"no records in {tmp_path / 'empty'}. Run `bench run` first."):
        build_page([folder, tmp_path / "empty"])


def test_a_script_that_sections_ask_for_is_there_once_and_may_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = {"report.css": "", "report.js": "main()", "more.js": "more()"}
    monkeypatch.setattr("bench.report.page._read_asset", assets.__getitem__)
    sections = [Section(name, name, script="more.js") for name in ("a", "b")] + [Section("c", "c")]
    root = parse(write_page(read_results([write_results(tmp_path / "r", [trained()])]), sections))
    (policy,) = [
        meta.attributes["content"] or "" for meta in root.all("meta") if "http-equiv" in meta.attributes
    ]

    assert [script.text for script in root.all("script")] == ["main()", "more()"]
    for script in ("main()", "more()"):
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy


def test_a_section_of_figures_from_elsewhere_is_on_the_page_with_its_choices(tmp_path: Path) -> None:
    svg = '<svg viewBox="0 0 1 1"><title>A map</title></svg>'
    figure = Figure(
        "confusion-knn", "Confusion <of> knn", "Rows are classes.", svg, ("class", "n"), (("cat", 3),)
    )
    section = Section(
        "maps", "What is confused", ("A note.", ""), (figure,), {"confusion-knn": {"task": "knn <1>"}}
    )
    root = check(write_page(read_results([write_results(tmp_path / "r", [trained()])]), [section]))

    assert root.one("figure", id="figure-confusion-knn").attributes["data-choices"] == '{"task": "knn <1>"}'
    assert "Confusion <of> knn" in root.one("figcaption").text
    assert "cat" in root.one("details").text
    assert root.one("script").text.startswith('"use strict"')
    assert [p.text for p in root.one("section").all("p")] == ["A note."]


def test_the_sample_page_is_what_would_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sample = (ROOT / "docs" / "sample-report.html").read_text(encoding="utf-8")
    results = read_results([Path("results/cifar10")])
    load = image_loader(Registry.load(), {}, Path("data"))
    pictures = draw_pictures(results.records, results.folders, load, Wanted())

    page = write_page(results, list_sections(results, pictures))
    assert sample == page, "run `make sample-report`"
