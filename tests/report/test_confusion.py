from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, recall_score
from svg_elements import elements, texts

from bench.report.answers import Answers, count_confusion
from bench.report.confusion import draw_confusion, draw_recall
from bench.storage.predictions import Predictions

NAMES = ("cat", "<dog> & co", "$fish|\\", "bird")


def answer(name: str = "simclr", classes: int = 4, seeds: int = 2, images: int = 200) -> Answers:
    draws = np.random.default_rng(len(name) + classes)
    labels = draws.integers(0, classes, images).astype(np.int32)
    labels[:classes] = np.arange(classes)
    guesses = [draws.integers(0, classes, images).astype(np.int32) for _ in range(seeds)]
    made = [np.where(draws.random(images) < 0.6, labels, guess).astype(np.int32) for guess in guesses]
    return Answers(name, tuple(Predictions(labels, one) for one in made))


def test_confusions_are_those_of_scikit_learn_summed_over_seeds() -> None:
    one = answer()
    wanted = sum(confusion_matrix(seed.labels, seed.predicted) for seed in one.seeds)

    assert (count_confusion(one, 4) == wanted).all()


def test_the_table_of_a_matrix_has_its_counts_and_the_recall_of_scikit_learn() -> None:
    one = answer(seeds=1)
    figure = draw_confusion("confusion-x", "t", [one], NAMES)
    recall = recall_score(one.seeds[0].labels, one.seeds[0].predicted, average=None)

    assert figure.columns == ("method", "class", "images", "recall (%)", *(f"as {name}" for name in NAMES))
    assert [row[4:] for row in figure.rows] == [tuple(row) for row in count_confusion(one, 4).tolist()]
    assert [row[3] for row in figure.rows] == pytest.approx(100 * recall, abs=0.005)


def test_each_cell_is_shaded_by_the_share_of_its_row() -> None:
    one = answer()
    counts = count_confusion(one, 4)
    cells = elements(draw_confusion("confusion-x", "t", [one], NAMES).svg, "path")
    shades = [float(cell.attrib["fill-opacity"]) for cell in cells if "fill-opacity" in cell.attrib]

    assert shades == pytest.approx((counts / counts.sum(1, keepdims=True)).ravel(), abs=0.001)


def test_a_confusion_that_happened_once_is_drawn_and_one_that_did_not_is_not() -> None:
    labels = np.array([0, 0, 1, 2], dtype=np.int32)
    one = Answers("simclr", (Predictions(labels, np.array([0, 2, 1, 2], dtype=np.int32)),))
    figure = draw_confusion("confusion-x", "t", [one], ("a", "b", "c"))
    shades = [cell.attrib["fill-opacity"] for cell in elements(figure.svg, "path")]
    numbers = [text for text in texts(figure.svg) if text.isdigit()]

    assert shades == ["0.500", "0.500", "1.000", "1.000"]
    assert sorted(numbers) == ["100", "100", "50", "50"]


def test_numbers_are_read_on_dark_cells_as_on_light_ones() -> None:
    labels = np.array([0] * 10 + [1] * 10, dtype=np.int32)
    predicted = np.array([0] * 9 + [1] + [1] * 10, dtype=np.int32)
    figure = draw_confusion("confusion-x", "t", [Answers("a", (Predictions(labels, predicted),))], ("a", "b"))
    colours = {
        text.text: group.attrib["fill"]
        for group in elements(figure.svg, "g")
        if "fill" in group.attrib
        for text in group
        if text.text
    }

    assert colours == {"90": "var(--paper,#fff)", "100": "var(--paper,#fff)", "10": "var(--ink,#222)"}


def test_names_of_classes_and_methods_are_written_as_they_are() -> None:
    figure = draw_confusion("confusion-x", "<t> & co", [answer("a<b&c"), answer("plain")], NAMES)
    written = {element.text for element in elements(figure.svg)}

    assert {"<t> & co", "<dog> & co", "$fish|\\"} <= written
    assert any(text and text.startswith("a<b&c, ") for text in written)


def test_a_hundred_classes_are_a_picture_and_their_most_frequent_confusions() -> None:
    one = answer(classes=100, images=3000)
    figure = draw_confusion("confusion-x", "t", [one], tuple(map(str, range(100))))
    counts = count_confusion(one, 100)
    wrong = [(int(counts[i, j]), i, j) for i in range(100) for j in range(100) if i != j and counts[i, j]]
    most = sorted(wrong, key=lambda pair: (-pair[0], pair[1], pair[2]))[:20]

    assert [(row[3], int(row[1]), int(row[2])) for row in figure.rows] == most
    assert figure.rows[0][4] == pytest.approx(100 * most[0][0] / counts[most[0][1]].sum(), abs=0.005)
    assert len(figure.svg) < 30_000


def test_recall_is_drawn_where_its_axis_has_it_hardest_class_last() -> None:
    many = [answer("simclr"), answer("byol"), answer("a third one")]
    figure = draw_recall("recall-x", "t", many, NAMES)
    means = [np.mean(row[1:]) for row in figure.rows]
    marks = next(one for one in elements(figure.svg, "g") if one[0].tag.endswith("title"))
    ticks = [int(text.rstrip(" %")) for text in texts(figure.svg) if text.rstrip(" %").isdigit()]
    drawn = float(marks[1].attrib["cx"])

    assert means == sorted(means, reverse=True)
    assert ticks[0] <= min(min(row[1:]) for row in figure.rows)
    assert drawn == pytest.approx(420 * (figure.rows[0][1] - ticks[0]) / (100 - ticks[0]), abs=0.1)


def test_methods_that_recognise_a_class_alike_have_marks_that_do_not_hide_each_other() -> None:
    one = answer("a")
    figure = draw_recall("recall-x", "t", [one, Answers("b", one.seeds), Answers("c", one.seeds)], NAMES)
    marks = next(one for one in elements(figure.svg, "g") if one[0].tag.endswith("title"))
    circle, square, diamond = marks[1], marks[2], marks[3]
    heights = [float(circle.attrib["cy"]), float(square.attrib["y"]) + float(square.attrib["height"]) / 2]
    heights.append(float(diamond.attrib["points"].split()[1].split(",")[1]))

    assert np.diff(heights) == pytest.approx([4, 4])


def test_a_class_without_an_image_has_no_recall_and_is_not_drawn() -> None:
    labels = np.array([0, 0, 2], dtype=np.int32)
    one = Answers("simclr", (Predictions(labels, labels),))

    assert [row[0] for row in draw_recall("recall-x", "t", [one], ("a", "b", "c")).rows] == ["a", "c"]
    assert draw_confusion("confusion-x", "t", [one], ("a", "b", "c")).rows[1][3] is None


def test_of_very_many_classes_the_easiest_and_the_hardest_are_drawn_and_all_are_in_the_table() -> None:
    one = answer(classes=100, images=3000)
    figure = draw_recall("recall-x", "t", [one], tuple(f"class {n}" for n in range(100)))
    drawn = [text for text in texts(figure.svg) if text.startswith("class")]

    assert drawn == [row[0] for row in (*figure.rows[:20], *figure.rows[-20:])]
    assert len(figure.rows) == 100
    assert "easiest" in figure.caption


def test_one_class_is_a_matrix_of_one_cell() -> None:
    labels = np.zeros(3, dtype=np.int32)
    one = Answers("simclr", (Predictions(labels, labels),))

    assert draw_confusion("confusion-x", "t", [one], ("only",)).rows == (("simclr", "only", 3, 100.0, 3),)
    assert not math.isnan(draw_recall("recall-x", "t", [one], ("only",)).rows[0][1])
