"""A drawing is one element that stands by itself, and its marks lie where their numbers say."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from bench.report.styles import LABELLED, OKABE_ITO, UNTRAINED, Palette
from bench.report.svg import (
    LEFT,
    LONGEST,
    PLOT_BOTTOM,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Line,
    Spot,
    draw_lines,
    draw_spots,
)

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = re.compile(r"-?[0-9]+")


def draw(*lines: Line, x: Axis | None = None) -> ET.Element:
    return ET.fromstring(draw_lines("A <title> & more", lines, x or Axis("x"), Axis("y")))  # noqa: S314


def line(name: str = "a", **changes: object) -> Line:
    style = Palette().style_of(name)
    return Line(name, style, **{"points": [(1.0, 0.0), (2.0, 10.0), (3.0, 5.0)], **changes})


def corners(path: str) -> list[tuple[int, int]]:
    """Return the absolute places of a path of relative lines."""
    places = [tuple(map(int, NUMBER.findall(part))) for part in re.split("[Ml]", path.rstrip("z"))[1:]]
    (x, y), steps = places[0], places[1]
    result = [(x, y)]
    for dx, dy in zip(steps[::2], steps[1::2], strict=True):
        x, y = x + dx, y + dy
        result.append((x, y))
    return result


def test_a_drawing_is_well_formed_and_has_a_title_and_a_view_box() -> None:
    root = draw(line("<script>&"))

    assert root.tag == f"{SVG}svg"
    assert root[0].tag == f"{SVG}title"
    assert root[0].text == "A <title> & more"
    assert root.attrib["viewBox"].startswith(f"0 0 {WIDTH} ")
    assert root.attrib["role"] == "img"
    assert "<script>&" in [text.text for text in root.iter(f"{SVG}text")]
    assert not list(root.iter(f"{SVG}script"))


def test_a_line_goes_through_its_points_in_proportion() -> None:
    (path,) = [
        p.attrib["d"]
        for p in draw(line()).iter(f"{SVG}path")
        if p.get("stroke-width") == "4" and "l" in p.attrib["d"]
    ]
    (x1, y1), (x2, y2), (x3, y3) = corners(path)

    assert x2 - x1 == pytest.approx(x3 - x2, abs=1)
    assert (y1 - y3) * 2 == pytest.approx(y1 - y2, abs=2)
    assert all(LEFT <= x <= WIDTH - RIGHT for x in (x1, x3))
    assert TOP <= y2 < y3 < y1 <= PLOT_BOTTOM


def test_a_band_is_between_its_ends_and_each_seed_is_a_line_of_its_own() -> None:
    band = [(1.0, -2.0, 2.0), (2.0, 8.0, 12.0)]
    singles = [[(1.0, -2.0), (2.0, 8.0)], [(1.0, 2.0), (2.0, 12.0)]]
    root = draw(line(points=[(1.0, 0.0), (2.0, 10.0)], band=band, singles=singles))
    (area,) = [path.attrib["d"] for path in root.iter(f"{SVG}path") if path.get("fill-opacity")]
    (seeds,) = [path.attrib["d"] for path in root.iter(f"{SVG}path") if path.get("class") == "single"]
    (top_left, top_right, bottom_right, bottom_left) = corners(area)

    assert top_left[0] == bottom_left[0] < top_right[0] == bottom_right[0]
    assert top_left[1] < bottom_left[1]
    assert top_right[1] < bottom_right[1]
    assert seeds.count("M") == 2


def test_the_band_of_a_single_point_is_a_bar() -> None:
    root = draw(line(points=[(1.0, 5.0)], band=[(1.0, 4.0, 6.0)]), line("b"))
    (bar,) = [path.attrib["d"] for path in root.iter(f"{SVG}path") if "V" in path.attrib["d"]]
    _, low, high = map(int, NUMBER.findall(bar))

    assert low > high


def test_an_axis_that_counts_has_whole_ticks() -> None:
    texts = [text.text for text in draw(line(), x=Axis("epoch", is_whole=True)).iter(f"{SVG}text")]

    assert {"1", "2", "3"} <= set(texts)
    assert "1.5" not in texts


def test_ticks_that_are_asked_for_are_written_as_asked() -> None:
    axis = Axis("labels", is_log=True, ticks={1.0: "one <", 2.0: "two", 3.0: "three"})

    assert {"one <", "two", "three"} <= {text.text for text in draw(line(), x=axis).iter(f"{SVG}text")}


def test_long_names_are_cut_in_the_legend_and_fill_rows() -> None:
    root = draw(*(line(f"name {'x' * 90} the end {n}") for n in range(5)))
    names = [text for text in root.iter(f"{SVG}text") if (text.text or "").startswith("name")]

    assert len(names) == 5
    assert all(len(name.text or "") == LONGEST for name in names)
    assert [(name.text or "")[-9:] for name in names] == [f"the end {n}" for n in range(5)]
    assert len({name.attrib["y"] for name in names}) == 5
    assert max(int(name.attrib["y"]) for name in names) < int(root.attrib["viewBox"].split()[-1])


def test_filled_spots_have_their_colour_and_others_that_of_the_paper() -> None:
    style = Palette().style_of("a")
    spots = [
        Spot("a", style, 1.0, 2.0, (2.0, 2.0), is_filled=True),
        Spot("b", style, 2.0, 1.0, (0.5, 1.2), is_filled=False),
    ]
    text = draw_spots("t", spots, [(1.0, 2.0)], Axis("x"), Axis("y"))
    legend = text.index(">a</text>")

    assert f'fill="{style.colour}"' in text[:legend]
    assert text[:legend].count('fill="var(--paper,#fff)"') == 2  # the paper itself, and the spot
    ET.fromstring(text)  # noqa: S314


def test_the_front_rises_in_steps() -> None:
    style = Palette().style_of("a")
    spots = [Spot("a", style, x, y, (y, y), is_filled=True) for x, y in ((1.0, 1.0), (2.0, 2.0))]
    (front,) = re.findall(
        r'class="front" d="([^"]+)"', draw_spots("t", spots, [(1, 1), (2, 2)], Axis("x"), Axis("y"))
    )
    (x, y), (to_x, to_y) = [list(map(int, NUMBER.findall(part))) for part in re.split("H", front)]

    assert to_x > x
    assert to_y < y


def test_a_name_has_one_style_and_thirty_two_names_have_thirty_two() -> None:
    palette = Palette()
    styles = [palette.style_of(f"m{n}") for n in range(32)]

    assert palette.style_of("m3") is styles[3]
    assert len({(style.colour, style.dash) for style in styles}) == 32
    assert len({(style.dash, style.marker) for style in styles}) == 32
    assert len({(style.colour, style.marker) for style in styles}) == 32
    assert [style.colour for style in styles[:8]] == [f"var(--s{n + 1},{c})" for n, c in enumerate(OKABE_ITO)]


def test_what_others_are_measured_by_has_the_colour_of_the_text() -> None:
    palette = Palette()
    labelled, untrained = palette.style_of("supervised", LABELLED), palette.style_of("random", UNTRAINED)

    assert labelled.colour == untrained.colour == "var(--ink,#222)"
    assert len({labelled.dash, untrained.dash, ""}) == 3
    assert labelled.marker != untrained.marker
    assert palette.style_of("simclr").colour.startswith("var(--s1")
