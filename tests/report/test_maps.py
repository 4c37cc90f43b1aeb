from __future__ import annotations

import numpy as np
import pytest
from svg_elements import elements, texts

from bench.report.maps import MapFigure, draw_maps
from bench.report.projection import Projection

ROWS = np.arange(0, 80, 2)
LABELS = np.arange(40) % 3
CLASSES = ("cat", 'a<b & "c"', "dog")


def projection(seed: int = 0) -> Projection:
    points = np.random.default_rng(seed).normal(size=(40, 2)).astype(np.float32)
    return Projection(points, 0.91234, 71.5, 65.25)


def figure(**changes: object) -> MapFigure:
    made = {"rows": ROWS, "labels": LABELS, "classes": CLASSES, "sheet": "digits", **changes}
    methods = [("simclr", projection()), ("<byol>", projection(1))]
    return draw_maps("tsne-x", "t", "tsne", methods, **made)  # type: ignore[arg-type]


def read_points(path: object) -> list[tuple[float, float]]:
    pairs = [text.split("h")[0].split() for text in path.attrib["d"][1:].split("M")]  # type: ignore[attr-defined]
    return [(float(x), float(y)) for x, y in pairs]


def test_every_image_is_a_point_of_its_class_that_knows_its_thumbnail() -> None:
    paths = [one for one in elements(figure().svg, "path") if "data-at" in one.attrib]
    first = paths[:3]

    assert len(paths) == 6
    assert [one.attrib["data-class"] for one in first] == list(CLASSES)
    for label, path in enumerate(first):
        at = [int(place) for place in path.attrib["data-at"].split()]

        assert at == np.flatnonzero(label == LABELS).tolist()
        assert len(read_points(path)) == len(at)


def test_a_panel_keeps_the_shape_of_its_map_and_all_points_within_it() -> None:
    paths = [one for one in elements(figure().svg, "path") if "data-at" in one.attrib][:3]
    drawn = np.empty((40, 2))
    for path in paths:
        drawn[[int(at) for at in path.attrib["data-at"].split()]] = read_points(path)
    points = projection().points
    scale = 244 / np.ptp(points, axis=0).max()

    assert drawn.min() >= 7.9
    assert drawn.max() <= 252.1
    assert drawn[:, 0] - drawn[0, 0] == pytest.approx(scale * (points[:, 0] - points[0, 0]), abs=0.11)
    assert drawn[:, 1] - drawn[0, 1] == pytest.approx(-scale * (points[:, 1] - points[0, 1]), abs=0.11)


def test_below_each_map_stands_how_far_to_believe_it() -> None:
    written = texts(figure().svg)

    assert written.count("trustworthiness 0.912, kNN 71.5 %, on the map 65.2 %") == 2
    assert figure().rows[1] == ("<byol>", 40, 0.9123, 71.5, 65.25)


def test_its_second_table_has_the_place_of_every_image() -> None:
    made = figure()
    last = made.points[-1]

    assert len(made.points) == 80
    assert made.point_columns == ("method", "row of the test split", "class", "x", "y")
    assert last[:3] == ("<byol>", 78, CLASSES[LABELS[39]])
    assert last[3:] == pytest.approx(projection(1).points[39], abs=1e-4)


def test_classes_are_named_on_the_map_unless_there_are_very_many() -> None:
    many = figure(labels=np.arange(40), classes=tuple(f"class {n}" for n in range(40)))

    assert set(CLASSES) <= set(texts(figure().svg))
    assert not [text for text in texts(many.svg) if text.startswith("class")]
    assert "repeat after 16 classes" in many.caption


def test_classes_after_the_eighth_are_rings() -> None:
    made = figure(labels=np.arange(40) % 9, classes=tuple(f"class {n}" for n in range(9)))
    paths = list(elements(made.svg, "path"))
    panel = paths[: len(paths) // 2]
    holes = [one for one in panel if one.attrib["stroke"].startswith("var(--paper")]

    assert [one.attrib["data-class"] for one in panel if one not in holes] == [f"class {n}" for n in range(9)]
    assert [one.attrib["d"] for one in holes] == [panel[8].attrib["d"]]


def test_a_thousand_images_take_a_few_kilobytes_a_method() -> None:
    points = Projection(np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32), 0.9, 70.0, 60.0)
    made = draw_maps(
        "tsne-x", "t", "tsne", [("a", points)], np.arange(1000), np.arange(1000) % 10, tuple("abcdefghij")
    )

    assert len(made.svg) < 26_000
