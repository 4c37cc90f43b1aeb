from __future__ import annotations

import pytest
from svg_elements import parse

from bench.report.drawing import (
    escape,
    lay_out_panels,
    measure,
    resolve_colours,
    shorten,
    write_document,
    write_legend,
    write_mark,
    write_text,
)
from bench.report.styles import OKABE_ITO, series_colour

NASTY = "a<b & c|d $e\\f \"g\" 'h' \x00\x07\x1b[31m \ud800 \uffff\nnew\tline"


def test_any_text_becomes_xml_that_reads_as_it_was_but_for_what_no_xml_holds() -> None:
    element = parse(write_text(0, 0, NASTY))

    assert element.text == "a<b & c|d $e\\f \"g\" 'h' \ufffd\ufffd\ufffd[31m \ufffd \ufffd new line"


def test_a_document_has_a_title_a_viewbox_and_an_id_of_its_own() -> None:
    svg = write_document("some-name", NASTY, (100, 50.5), ["<g/>"])
    root = parse(svg)
    title = root[0]

    assert root.attrib["viewBox"] == "-10 -10 120 70.5"
    assert title.tag.endswith("}title")
    assert title.text == parse(f"<t>{escape(NASTY)}</t>").text
    assert root.attrib["aria-labelledby"] == title.attrib["id"] == "some-name-title"
    assert root.attrib["role"] == "img"


def test_colours_begin_again_after_eight() -> None:
    assert [series_colour(i) for i in (0, 7, 8)] == [
        "var(--s1,#0072b2)",
        "var(--s8,#999999)",
        series_colour(0),
    ]
    assert len(set(OKABE_ITO)) == 8


def test_marks_of_neighbouring_series_differ_in_shape() -> None:
    outlines = [write_mark(0, 0, index).split(" fill=")[0] for index in range(4)]

    assert len(set(outlines)) == 4


def test_without_variables_the_fallback_of_each_colour_is_left() -> None:
    svg = f'<rect fill="{series_colour(1)}" stroke="var(--grid, #ccc)"/>'

    assert resolve_colours(svg) == '<rect fill="#d55e00" stroke="#ccc"/>'


@pytest.mark.parametrize("width", [20, 60, 100, 1000])
def test_a_shortened_text_is_no_wider_than_asked(width: int) -> None:
    text = shorten("a rather long name of a class", width)

    assert measure(text) <= width
    assert text == "a rather long name of a class" or text.endswith("...")


def test_panels_are_in_rows_and_none_is_outside_of_the_size() -> None:
    body, (width, height) = lay_out_panels([(f"p{n}", "<g/>") for n in range(5)], 100, 80)
    moved = [one.attrib["transform"] for one in parse(f"<g>{body}</g>")]
    places = [tuple(float(v) for v in one[len("translate(") : -1].split()) for one in moved]

    assert len({y for _, y in places}) == 2
    assert all(x + 100 <= width and y + 80 <= height for x, y in places)


def test_a_legend_wraps_where_it_would_be_wider_than_asked() -> None:
    names = [f"method number {n}" for n in range(8)]
    body, height = write_legend(names, 250)
    written = [one for one in parse(f"<g>{body}</g>") if one.text]

    assert [one.text for one in written] == names
    assert all(float(one.attrib["x"]) + measure(one.text) <= 250 for one in written)
    assert max(float(one.attrib["y"]) for one in written) <= height
