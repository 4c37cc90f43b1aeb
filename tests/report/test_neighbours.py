from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from svg_elements import elements, texts

from bench.report.neighbours import choose_queries, draw_neighbours, find_neighbours

CLASSES = ("cat", "<dog> & co")


def test_neighbours_are_those_of_a_plain_loop_by_cosine_without_the_image_itself() -> None:
    x = np.random.default_rng(0).normal(size=(30, 5))
    queries = np.array([3, 17])
    found = find_neighbours(x, queries, 6)

    for query, near in zip(queries, found, strict=True):
        cosine = [a @ x[query] / np.linalg.norm(a) for a in x]
        wanted = [row for row in sorted(range(30), key=lambda row: -cosine[row]) if row != query][:6]

        assert near.tolist() == wanted


def test_of_equally_near_neighbours_the_first_is_taken() -> None:
    assert find_neighbours(np.ones((5, 2)), np.array([1]), 3).tolist() == [[0, 2, 3]]


def test_there_are_no_more_neighbours_than_other_images() -> None:
    assert find_neighbours(np.eye(3), np.array([0])).shape == (1, 2)


def test_queries_are_of_as_many_classes_as_there_are_rows_to_show() -> None:
    labels = np.arange(100) % 10

    assert len(set(labels[choose_queries(labels)])) == 4


@pytest.mark.parametrize(("side", "pixels"), [(8, 32), (32, 32), (224, 48)])
def test_right_and_wrong_neighbours_differ_in_mark_and_frame_and_are_where_their_images_are(
    side: int, pixels: int
) -> None:
    labels = np.array([0, 0, 1])
    shades = {0: 0, 1: 90, 2: 200}
    pictures = {row: np.full((3, side, side), shade, dtype=np.uint8) for row, shade in shades.items()}
    near = [("simclr", np.array([[1, 2]]))]
    figure = draw_neighbours("neighbours-x", "t", near, np.array([0]), pictures, labels, CLASSES)
    frames = list(elements(figure.svg, "rect"))
    signs = [one.attrib["d"] for one in elements(figure.svg, "path") if "transform" in one.attrib]
    uri = next(one.attrib["href"] for one in elements(figure.svg, "image"))
    sheet = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))

    assert ["stroke-dasharray" in one.attrib for one in frames] == [False, True]
    assert len(set(signs)) == 2
    for frame, shade in zip(frames, (90, 200), strict=True):
        for inside in (4, 36):  # of 40
            x, y = (round((float(frame.attrib[axis]) + inside) * pixels / 40) for axis in ("x", "y"))

            assert sheet.getpixel((x, y)) == pytest.approx((shade,) * 3, abs=4)


def test_its_table_says_how_many_are_right_and_which_they_are() -> None:
    pictures = {row: np.zeros((1, 8, 8), dtype=np.uint8) for row in range(3)}
    near = [("a<b", np.array([[1, 2]]))]
    figure = draw_neighbours("neighbours-x", "t", near, np.array([0]), pictures, np.array([0, 0, 1]), CLASSES)

    assert figure.rows == (("a<b", 0, "cat", 1, "cat (1), <dog> & co (2)"),)
    assert "a<b" in texts(figure.svg)
    assert "<dog> & co, another class" in {one.text for one in elements(figure.svg, "title")}
