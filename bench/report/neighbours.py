"""The nearest neighbours of test images under each method: what it takes for alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.report.drawing import escape, shorten, write_document, write_text
from bench.report.figure import Figure
from bench.report.projection import Floats, choose_rows, to_unit_rows
from bench.report.styles import PAPER, series_colour
from bench.report.thumbnails import Collage, Pixels
from bench.splits.order import Index, Labels

SIDE = Collage.SIDE
STEP, BELOW = SIDE + 5, 25  # from a picture to the next, and what is free below a block
NAMES, QUERY = 95, 60  # room for the names of methods, and for the image whose neighbours are shown
SHOWN, QUERIES = 7, 4  # neighbours of an image, and images
RIGHT, WRONG = 2, 1  # series: green and vermilion, which Okabe and Ito chose to be told apart by everyone
TICK, CROSS = "M2.5 6l2.5 3l4.5 -6", "M3 3l6 6M9 3l-6 6"  # within 12 by 12


def find_neighbours(features: NDArray[Any], queries: Index, count: int = SHOWN) -> Index:
    """Return the rows most alike to some rows by cosine, themselves left out; of equal ones the first.

    Args:
        features: (n, dim).
        queries: (m,), rows of `features`.
        count: neighbours, at most n - 1.

    Returns:
        (m, count), the nearest first.
    """
    unit: Floats = to_unit_rows(features)
    likeness = unit[queries] @ unit.T
    likeness[np.arange(len(queries)), queries] = -np.inf
    return np.argsort(-likeness, axis=1, kind="stable")[:, : min(count, len(unit) - 1)]


def draw_neighbours(
    name: str,
    title: str,
    methods: Sequence[tuple[str, Index]],
    queries: Index,
    pictures: Mapping[int, Pixels],
    labels: Labels,
    classes: Sequence[str],
) -> Figure:
    """Return a block for each test image: a row a method with its nearest neighbours.

    Args:
        name: of the figure.
        title: of the figure.
        methods: of each, the rows of its neighbours, (m, k).
        queries: (m,), rows of the test split.
        pictures: of the queries and their neighbours, by row: (channels, h, w), uint8.
        labels: (n,), int64, of the test split.
        classes: the classes' names, in the order of their labels.
    """
    count = methods[0][1].shape[1]
    block = len(methods) * STEP + BELOW
    collage, drawn = Collage(name, max(pictures[int(queries[0])].shape[-2:])), []
    for number, query in enumerate(queries):
        top = number * block
        collage.add(0, top, pictures[int(query)])
        drawn.append(write_text(0, top + SIDE + 13, shorten(classes[labels[query]], QUERY - 6)))
        for line, (method, near) in enumerate(methods):
            y = top + line * STEP
            drawn.append(write_text(QUERY, y + SIDE / 2 + 4, shorten(method, NAMES - 10)))
            for place, row in enumerate(near[number].tolist()):
                x = QUERY + NAMES + place * STEP
                collage.add(x, y, pictures[row])
                drawn.append(_mark(x, y, classes[labels[row]], is_right=bool(labels[row] == labels[query])))
    size = (QUERY + NAMES + count * STEP, len(queries) * block)
    caption = (
        f"The {count} test images whose features are most alike by cosine to those of the image on the left, "
        "the nearest first. A tick and a solid frame: the same class. A cross and a dashed frame: another."
    )
    columns = ("method", "row of the test split", "class", "of the same class", "neighbours")
    rows = tuple(
        (method, int(query), classes[labels[query]], int((labels[row] == labels[query]).sum()),
         ", ".join(f"{classes[labels[one]]} ({one})" for one in row))
        for method, near in methods
        for query, row in zip(queries, near, strict=True)
    )  # fmt: skip
    svg = write_document(name, title, size, [collage.draw(*size), *drawn])
    return Figure(name, title, caption, svg, columns, rows)


def choose_queries(labels: Labels) -> Index:
    """Return the rows of a few images, of as many classes: the first that a map would show."""
    return choose_rows(labels, QUERIES)


def _mark(x: int, y: int, name: str, *, is_right: bool) -> str:
    """Return the frame of a picture and the mark in its corner."""
    colour = series_colour(RIGHT if is_right else WRONG)
    dashes = "" if is_right else ' stroke-dasharray="4 3"'
    frame = f'<rect x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" fill="none"{dashes}/>'
    badge = f'<path d="M{x} {y}h12v12h-12z" fill="{PAPER}" stroke="none"/>'
    sign = f'<path transform="translate({x} {y})" d="{TICK if is_right else CROSS}" fill="none"/>'
    said = f"<title>{escape(name)}, {'the same class' if is_right else 'another class'}</title>"
    return f'<g stroke="{colour}" stroke-width="2">{said}{badge}{frame}{sign}</g>'
