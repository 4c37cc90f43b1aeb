"""What LaTeX, pages and files need of a table: groups of headings, alignment, width, odd names."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from html.parser import HTMLParser
from typing import Any

import openpyxl
import pyarrow.parquet
import pytest
from made_records import caption, make, sweep, tidy

from bench.errors import UsageError
from bench.reporting.formats.base import BinaryFormat, TableColumn
from bench.reporting.formats.by_name import load_built_in
from bench.reporting.formats.groups import Heading, head_columns
from bench.reporting.formats.latex import FIT
from bench.reporting.presentation import Presentation
from bench.reporting.table import build_table, table

ODD = "<b>&|$\\%#_{x}~^\x1b[31m\x9b\x00\u202e\x85"


def grid(**changes: Any) -> list[dict[str, Any]]:
    return [
        make(method, value + seed / 10, evaluator=evaluator, label_frac=share, seed=seed, **changes)
        for method, value in (("a", 7.0), ("b", 60.25))
        for evaluator in ("knn", "linear")
        for share in (0.1, 1.0)
        for seed in (0, 1)
    ]


def heads(*levels: tuple[str, ...]) -> list[list[Heading]]:
    return head_columns([TableColumn(" / ".join(filter(None, own)), {}, own) for own in levels])


# ---- groups


def test_columns_beside_each_other_that_share_their_first_parts_are_a_group() -> None:
    columns = ("x", "knn", "1 %"), ("x", "knn", "10 %"), ("x", "linear", "1 %"), ("y", "linear", "1 %")

    assert heads(*columns) == [
        [Heading("x", 3), Heading("y")],
        [Heading("knn", 2), Heading("linear"), Heading("linear")],
        [Heading("1 %"), Heading("10 %"), Heading("1 %"), Heading("1 %")],
    ]


def test_a_part_that_no_column_has_takes_no_line() -> None:
    assert heads(("", "knn", ""), ("", "linear", "")) == [[Heading("knn"), Heading("linear")]]
    assert heads(("x",), ("x", "published")) == [[Heading("x", 2)], [Heading(""), Heading("published")]]
    assert head_columns([TableColumn("top1", {})]) == [[Heading("top1")]]


def test_latex_spans_groups_and_rules_them_off() -> None:
    lines = table(grid(), format="latex").splitlines()
    top = lines.index(r"\toprule")

    assert lines[top + 1 : top + 4] == [
        r" & \multicolumn{2}{c}{knn} & \multicolumn{2}{c}{linear} \\",
        r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}",
        r"method & {10 \%} & {100 \%} & {10 \%} & {100 \%} \\",
    ]


def test_html_spans_groups_with_their_scope_and_its_cells_add_up() -> None:
    text = table(grid(), format="html-fragment")
    spans: list[list[int]] = []

    class Rows(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "tr":
                spans.append([])
            elif tag in ("td", "th"):
                spans[-1].append(int(dict(attrs).get("colspan") or 1))

    Rows().feed(text)

    assert '<th class="group" scope="colgroup" colspan="2">knn</th>' in text
    assert '<th class="label" scope="col" rowspan="2">method</th>' in text
    assert '<colgroup span="1"></colgroup>\n<colgroup span="2"></colgroup>\n<colgroup span="2">' in text
    assert [sum(line) for line in spans] == [5, 4, 5, 5]  # the label goes through both lines of headings


def test_a_fragment_is_no_page_and_its_rules_are_for_its_class() -> None:
    text = table(grid(), format="html-fragment")
    rules = re.findall(r"^(\S.*) \{", text.split("</style>")[0], re.MULTILINE)

    assert not re.search(r"<(html|head|body|!doctype|title)", text)
    assert all(part.strip().startswith(".bench-table") for rule in rules for part in rule.split(","))
    assert ".bench-table .column, .bench-table .number { text-align: right }" in text


# ---- latex


def test_numbers_are_aligned_at_their_points_with_room_for_what_follows() -> None:
    text = table(grid(), format="latex")

    assert r"{lS[table-format=2.2,detect-weight=true,table-space-text-post={\,$\pm$ 0.07}]S[" in text
    assert r"a & 7.05{\,$\pm$ 0.07} &" in text
    assert r"b & \bfseries 60.30{\,$\pm$ 0.07} &" in text


def test_what_is_no_number_is_in_braces_and_a_column_without_numbers_is_plain() -> None:
    records = [make("a", -1.5, evaluator="x"), make("b", evaluator="x", status="failed", reason="r")]
    records += [make("a", evaluator="y", status="failed", reason="r")]
    text = table(records, format="latex")

    assert r"\begin{tabular}{lS[table-format=-1.2,detect-weight=true]r}" in text
    assert r"a & -1.50 & failed {[}1{]} \\" in text
    assert r"b & {failed {[}1{]}} & -- \\" in text


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_column_with_a_score_that_is_no_number_is_plain(value: float) -> None:
    text = table([make("a", 1.0), make("b", value)], format="latex")

    assert r"\begin{tabular}{lr}" in text


def test_a_table_is_never_wider_than_the_line() -> None:
    text = table(grid(), format="latex")

    assert text.splitlines()[0] == "% needs \\usepackage{booktabs,graphicx,siunitx}"
    assert FIT + "\n\\begin{tabular}" in text
    assert "\\end{tabular}}\n" in text
    assert FIT == r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def test_a_label_is_what_the_paper_refers_to() -> None:
    shown = Presentation(label="tab:main_results")

    latex, page = (table(grid(), format=form, presentation=shown) for form in ("latex", "html"))

    assert "}\n\\label{tab:main_results}\n\\resizebox" in latex
    assert '<table class="bench-table" id="tab:main_results">' in page
    assert "\\label" not in table(grid(), format="latex")
    assert r"\label{a-b-}" in table(grid(), format="latex", presentation=Presentation(label="a\\b}"))


# ---- words


def test_a_caption_is_in_words() -> None:
    training = {"epochs": 3, "batch_size": 256, "queue_size": 8}
    settings = {"train.batch_size": 256, "train.queue_size": 8}
    text = caption(table([make(label_frac=0.1, config={"training": training}, settings=settings)]))

    assert text == (
        "top1 in percent, seed 0, 95 % interval in brackets (Wilson over test images); backbone resnet18, "
        "data set digits, evaluated by knn, "
        "10 % of the labels, batches of 256 images, train queue size 8, pretrained for 3 epochs."
    )


def test_one_epoch_is_no_epochs_and_many_values_only_differ() -> None:
    one, *many = (
        make(f"m{n}", config={"training": {"epochs": n}}, settings={"train.epochs": n}) for n in range(1, 7)
    )

    assert "pretrained for 1 epoch." in caption(table([one]))
    assert "number of epochs differs." in caption(table(many))


# ---- names that markup or a terminal would take for something else


@pytest.mark.parametrize("form", ["github", "plain", "latex", "html", "html-fragment"])
def test_a_name_steers_no_terminal_and_no_page(form: str) -> None:
    records = [make(ODD, 1.0), make("b", status="failed", reason=ODD)]
    text = table(records, format=form)

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "x1b" in text
    assert text.encode()


def test_latex_of_odd_names_has_balanced_braces_and_as_many_cells_in_each_row() -> None:
    text = table([make(ODD, 1.0), make("b", status="failed", reason=ODD)], format="latex")
    bare = re.sub(r"\\[{}&%$#_\\]", "", text)
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()

    assert bare.count("{") == bare.count("}")
    assert [len(re.findall(r"(?<!\\)&", line)) for line in body] == [1, 1]


def test_html_of_odd_names_has_none_of_their_tags() -> None:
    assert "<b>" not in table([make(ODD, 1.0)], format="html")


# ---- files


def binary(name: str, records: list[dict[str, Any]], **options: Any) -> bytes:
    form = load_built_in(name)
    assert isinstance(form, BinaryFormat)
    return form.encode(build_table(records, **options))


def test_parquet_has_what_csv_has_with_types() -> None:
    records = [*grid(), make("c", status="failed", reason="boom"), *sweep("method.x", 1, 0.5, method="d")]
    records += sweep("method.y", "text", 3, method="e")
    found = pyarrow.parquet.read_table(io.BytesIO(binary("parquet", records)))
    rows = tidy(records)

    assert found.column_names == list(rows[0])
    assert found.column("mean").to_pylist() == [row["mean"] for row in rows]
    assert str(found.schema.field("n").type) == "int64"
    assert str(found.schema.field("best").type) == "bool"
    assert str(found.schema.field("method.x").type) == "double"
    assert set(found.column("method.y").to_pylist()) == {None, "text", "3"}
    assert "failed: boom" in found.column("reason").to_pylist()


def test_a_workbook_has_the_table_and_its_cells_as_numbers() -> None:
    records = [*grid(), make("=1+1", float("nan"), evaluator="knn"), make(ODD, 3.0, evaluator="knn")]
    book = openpyxl.load_workbook(io.BytesIO(binary("xlsx", records)))
    shown, long = ([[cell.value for cell in row] for row in book[name].rows] for name in ("table", "cells"))

    assert shown[0][0].startswith("top1 in percent")
    assert shown[2][1] == "knn"
    assert [str(merged) for merged in book["table"].merged_cells.ranges] == ["B3:C3", "D3:E3"]
    assert shown[3] == ["method", "10 %", "100 %", "10 %", "100 %"]
    assert shown[5][:2] == ["b", "60.30 ± 0.07 (n=2)"]
    assert long[0][:6] == list(tidy(records)[0])[:6]
    assert 60.3 in [row[long[0].index("mean")] for row in long]
    assert "nan" in [row[long[0].index("mean")] for row in long]
    assert "=1+1" in [row[0] for row in long]
    assert book["cells"]["A2"].data_type == "s"


@pytest.mark.parametrize("name", ["parquet", "xlsx"])
def test_the_same_table_is_the_same_bytes_whenever_it_is_made(name: str) -> None:
    content = binary(name, grid())

    assert binary(name, grid()) == content
    if name == "xlsx":
        archive = zipfile.ZipFile(io.BytesIO(content))
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
        assert b"1980-01-01T00:00:00Z" in archive.read("docProps/core.xml")


@pytest.mark.parametrize(("name", "module"), [("parquet", "pyarrow"), ("xlsx", "xlsxwriter")])
def test_what_is_not_installed_is_one_line_that_names_the_extra(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"^--format {name}: it needs {module}, .* Run `pip install 'ssl-bench\[{name}\]'`\.$"

    with pytest.raises(UsageError, match=message):
        binary(name, grid())


def test_a_file_is_no_text() -> None:
    with pytest.raises(UsageError, match=r"^--format: this one is a file and no text\. Use --output FILE\.$"):
        table(grid(), format="parquet")
