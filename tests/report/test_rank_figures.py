"""The figures of a ranking are SVG that anything can read, and say what the ranking says."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from made_blocks import grid

from bench.report.rank_figures import draw_profiles, draw_ranking, draw_ranks
from bench.reporting.blocks import gather_blocks
from bench.reporting.ranking import Ranking, rank

ODD = "<a>&|$\\_\x07\x1b[2J"
REFERENCES = ("random", "supervised")
SVG = "{http://www.w3.org/2000/svg}"


def ranking_of(methods: dict[str, float], datasets: int = 6, **options: object) -> Ranking:
    (block,) = gather_blocks(grid(methods, datasets, **options), references=REFERENCES, metric="top1")  # type: ignore[arg-type]
    return rank(block, REFERENCES)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314


@pytest.mark.parametrize("draw", [draw_ranks, draw_profiles])
def test_a_figure_is_one_svg_with_a_title_and_holds_any_name(draw: object) -> None:
    figure = draw(ranking_of({ODD: 70.0, "b" * 200: 60.0, "": 50.0}))  # type: ignore[operator]
    root = ET.fromstring(figure.svg)  # noqa: S314

    assert root.tag == f"{SVG}svg"
    assert root.get("viewBox")
    assert root.find(f"{SVG}title") is not None
    assert "script" not in figure.svg
    assert any("<a>&|$\\_" in text for text in texts(figure.svg))
    assert all(len(row) == len(figure.columns) for row in figure.rows)


def test_names_stand_in_the_order_of_their_ranks_with_each_rank() -> None:
    figure = draw_ranks(ranking_of({"b": 60.0, "a": 70.0, "c": 50.0}))

    assert figure.rows == (("a", 1.0), ("b", 2.0), ("c", 3.0))
    assert {"a 1.00", "b 2.00", "c 3.00"} <= set(texts(figure.svg))
    sides = re.findall(r'text-anchor="(\w+)"[^>]*>([abc]) ', figure.svg)
    assert sides == [("end", "a"), ("end", "b"), ("start", "c")]


@pytest.mark.parametrize(("datasets", "bars"), [(3, 1), (8, 0)])
def test_a_bar_joins_what_is_not_told_apart(datasets: int, bars: int) -> None:
    figure = draw_ranks(ranking_of({"a": 70.0, "b": 60.0, "c": 50.0}, datasets))

    assert figure.svg.count('stroke-width="4"') == bars


def test_the_critical_difference_is_drawn_to_scale_or_said_to_be_off_it() -> None:
    ranking = ranking_of({"a": 70.0, "b": 60.0, "c": 50.0}, 20)
    svg = draw_ranks(ranking).svg
    (start, end), *_ = re.findall(r'd="M([0-9.]+) 24.0 L([0-9.]+) 24.0"', svg)
    left, right = re.findall(r'd="M([0-9.]+) 58.0 L([0-9.]+) 58.0"', svg)[0]

    assert (float(end) - float(start)) / (float(right) - float(left)) == pytest.approx(
        ranking.critical_difference / 2, abs=0.001
    )
    assert any(
        "more than the axis is long" in text
        for text in texts(draw_ranks(ranking_of({"a": 1, "b": 0}, 2)).svg)
    )


def test_a_profile_falls_from_all_runs_to_none_and_is_its_table() -> None:
    figure = draw_profiles(ranking_of({"a": 70.0, "b": 60.0}))
    shares = [row[1] for row in figure.rows]

    assert figure.columns == ("normalised score", "a", "b")
    assert shares[0] == 1
    assert shares[-1] == 0
    assert shares == sorted(shares, reverse=True)
    (points, *_) = re.findall(r'<polyline points="([^"]+)"', figure.svg)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert heights == sorted(heights)  # downwards, as the share falls


def test_bands_are_drawn_where_there_are_seeds_and_named() -> None:
    several = draw_profiles(ranking_of({"a": 70.0, "b": 60.0}))
    single = draw_profiles(ranking_of({"a": 70.0, "b": 60.0}, seeds=(0,)))

    assert several.svg.count("<polygon") == 2
    assert "95 % over seeds" in several.caption
    assert single.svg.count("<polygon") == 0
    assert "over seeds" not in single.caption


def test_names_of_figures_are_their_own_and_there_is_no_profile_without_a_scale() -> None:
    with_scale = ranking_of({"a": 70.0, "b": 60.0})
    without = ranking_of({"a": 70.0, "b": 60.0}, references=False)

    assert [figure.name for figure in draw_ranking([with_scale])] == ["ranks", "profiles"]
    assert [figure.name for figure in draw_ranking([with_scale, without])] == [
        "ranks-1",
        "profiles-1",
        "ranks-2",
    ]
