"""No text breaks out of the HTML that it is written into."""

from __future__ import annotations

import json

import pytest
from report_pages import parse, rows_of

from bench.report.markup import escape, escape_json, format_number, to_name, write_prose, write_table

HOSTILE = [
    "</script><script>alert(1)</script>",
    '" onload="x',
    "'a' & <b>",
    "a\x00\x1b[31mb",
    "\u202egnp",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_stays_a_text(text: str) -> None:
    node = parse(f'<p title="{escape(text)}">{escape(text)}</p>').one("p")

    assert node.attributes["title"] == node.text
    assert not node.children
    assert not {"\x00", "\x1b", "\u202e", "\ud800"} & set(node.text)
    escape(text).encode()


def test_json_in_an_attribute_comes_back_as_it_was() -> None:
    values = ["</td>", '"', "a'b & c", "é", None, 1.5]
    (node,) = parse(f'<p data-values="{escape_json(values)}"></p>').children

    assert json.loads(node.attributes["data-values"] or "") == values


def test_prose_has_code_between_backticks_and_nothing_else() -> None:
    node = parse(f"<p>{write_prose('run `bench <run>` & <b>see</b>')}</p>").one("p")

    assert node.one("code").text == "bench <run>"
    assert [child.tag for child in node.children] == ["code"]


def test_a_name_has_letters_digits_and_hyphens_alone() -> None:
    assert to_name("Curve", "h_std", "a/b <c>") == "curve-h-std-a-b-c"
    assert to_name("é") == "unnamed"


def test_a_number_has_four_digits_unless_it_is_whole() -> None:
    numbers = (None, 12, 3.0, 2.0**60, 71.2345, 1e-7, "text")

    assert [format_number(value) for value in numbers] == [
        "–",
        "12",
        "3",
        "1.153e+18",
        "71.23",
        "1e-07",
        "text",
    ]


def test_a_table_heads_its_columns_and_its_rows() -> None:
    table = parse(write_table(("a<", "b"), [("x&", 1.5)], "What it is")).one("table")

    assert rows_of(table) == [["a<", "b"], ["x&", "1.5"]]
    assert [head.attributes["scope"] for head in table.all("th")] == ["col", "col", "row"]
    assert table.one("caption").text == "What it is"
