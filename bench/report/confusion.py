"""Confusion matrices, and the recall of each class: where methods err, and not only how often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bench.report.answers import Answers, Counts, count_confusion, recall_of
from bench.report.drawing import (
    GAP,
    SMALL,
    escape,
    lay_out_panels,
    measure,
    shorten,
    write_document,
    write_legend,
    write_mark,
    write_text,
)
from bench.report.figure import Figure
from bench.report.styles import GRID, INK, PAPER, series_colour
from bench.report.thumbnails import heat_map_uri

MOST_NAMED = 20  # classes: with more a cell has no room for its number, and an axis none for its names
SIDE = 230  # of a matrix
MOST_LABELS = 90  # room for the names of classes
PAIRS = 20  # confusions that are listed of each method where matrices are not
DARK = 0.55  # a share from which text is written in the colour of the paper
ROW, MARK_STEP = 13, 4  # height of a class with one mark, and what each further mark adds


def draw_confusion(name: str, title: str, answers: Sequence[Answers], classes: Sequence[str]) -> Figure:
    """Return a matrix a method: a row a class, a column what its images were taken for.

    Args:
        name: of the figure.
        title: of the figure.
        answers: of each method, all on the same test images.
        classes: the classes' names, in the order of their labels.
    """
    counts = {one.name: count_confusion(one, len(classes)) for one in answers}
    is_named = len(classes) <= MOST_NAMED
    room = min(MOST_LABELS, 12 + max(measure(one, SMALL) for one in classes)) if is_named else 0
    panels = [
        (f"{one.name}, {one.accuracy:.1f} %", _draw_matrix(counts[one.name], classes, room))
        for one in answers
    ]
    body, size = lay_out_panels(panels, SIDE + room, SIDE + room)
    caption = (
        "Rows are classes, columns what their images were taken for, in the same order; shading is by the "
        "share of a row. Counts are summed over seeds."
    )
    if is_named:
        caption += " Numbers in the cells are percent."
        columns = ("method", "class", "images", "recall (%)", *(f"as {one}" for one in classes))
        rows = tuple(_list_matrices(counts, classes))
    else:
        caption += f" The numbers are of the {PAIRS} most frequent confusions of each method."
        columns = ("method", "class", "taken for", "images", "of the class (%)")
        rows = tuple(_list_pairs(counts, classes))
    return Figure(name, title, caption, write_document(name, title, size, [body]), columns, rows)


def _draw_matrix(counts: Counts, classes: Sequence[str], room: float) -> str:
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    frame = f'width="{SIDE}" height="{SIDE}"'
    if len(classes) > MOST_NAMED:
        border = f'<rect {frame} fill="none" stroke="{GRID}"/>'
        return f'<image {frame} preserveAspectRatio="none" href="{heat_map_uri(shares)}"/>{border}'
    side = SIDE / len(classes)
    parts = [f'<rect x="{room:g}" {frame} fill="none" stroke="{GRID}"/>']
    for place, name in enumerate(classes):
        middle = (place + 0.5) * side
        label = shorten(name, room - 6, SMALL)
        parts.append(write_text(room - 5, middle + 3, label, anchor="end", size=SMALL))
        turned = f'transform="translate({room + middle + 3:.1f} {SIDE + 5}) rotate(-90)"'
        parts.append(f"<g {turned}>{write_text(0, 0, label, anchor='end', size=SMALL)}</g>")
    cells = [(row, column) for row, column in np.argwhere(counts).tolist()]
    parts.append(f'<g fill="{series_colour(0)}">')
    for row, column in cells:
        corner = f"M{room + column * side:.1f} {row * side:.1f}"
        square = f"{corner}h{side:.1f}v{side:.1f}h-{side:.1f}z"
        parts.append(f'<path d="{square}" fill-opacity="{shares[row, column]:.3f}"/>')
    parts.append("</g>")
    size = SMALL if side >= 14 else SMALL - 2
    for colour, is_dark in ((INK, False), (PAPER, True)):
        parts.append(f'<g fill="{colour}" font-size="{size}" text-anchor="middle">')
        for row, column in cells:
            percent = f"{100 * shares[row, column]:.0f}"
            if percent != "0" and bool(shares[row, column] > DARK) is is_dark:
                x, y = room + (column + 0.5) * side, (row + 0.5) * side + 3
                parts.append(f'<text x="{x:.1f}" y="{y:.1f}">{percent}</text>')
        parts.append("</g>")
    return "".join(parts)


def _list_matrices(counts: dict[str, Counts], classes: Sequence[str]) -> Iterator[tuple[object, ...]]:
    for method, matrix in counts.items():
        recall = recall_of(matrix)
        for label, name in enumerate(classes):
            row = matrix[label]
            yield (method, name, int(row.sum()), _round(recall[label]), *map(int, row))


def _list_pairs(counts: dict[str, Counts], classes: Sequence[str]) -> Iterator[tuple[object, ...]]:
    for method, matrix in counts.items():
        wrong = matrix.copy()
        np.fill_diagonal(wrong, 0)
        for place in np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]:
            label, taken = divmod(int(place), len(classes))
            if count := int(wrong[label, taken]):
                share = 100 * count / matrix[label].sum()
                yield (method, classes[label], classes[taken], count, _round(share))


def draw_recall(name: str, title: str, answers: Sequence[Answers], classes: Sequence[str]) -> Figure:
    """Return a line a class with a mark a method: the hardest classes at the bottom.

    Args:
        name: of the figure.
        title: of the figure.
        answers: of each method, all on the same test images.
        classes: the classes' names, in the order of their labels.
    """
    recall = np.stack(
        [recall_of(count_confusion(one, len(classes))) for one in answers]
    )  # (methods, classes)
    known = np.flatnonzero(~np.isnan(recall).any(0))
    order = known[np.argsort(-recall[:, known].mean(0), kind="stable")]
    shown, left_out = order, ""
    if len(order) > 2 * MOST_NAMED:
        shown = np.concatenate([order[:MOST_NAMED], order[-MOST_NAMED:]])
        left_out = (
            f" Of {len(order)} classes the {MOST_NAMED} easiest and the {MOST_NAMED} hardest are drawn."
        )
    names = [one.name for one in answers]
    body, size = _draw_lines(recall, shown, names, classes)
    caption = f"The share of each class's test images that are recognised, over seeds.{left_out}"
    rows = tuple((classes[label], *(_round(value) for value in recall[:, label])) for label in order)
    columns = ("class", *(f"{one}, recall (%)" for one in names))
    return Figure(name, title, caption, write_document(name, title, size, [body]), columns, rows)


def _draw_lines(
    recall: np.ndarray, shown: np.ndarray, names: Sequence[str], classes: Sequence[str]
) -> tuple[str, tuple[float, float]]:
    left = min(140, max((measure(classes[label]) for label in shown), default=10) + 10)
    step = ROW + MARK_STEP * len(names)
    width, height = 420, step * len(shown)
    least = min(80, 10 * (recall[:, shown].min(initial=100) // 10))
    legend, top = write_legend(names, left + width)
    parts = [legend, f'<g transform="translate({left:g} {top + 4:g})">']
    for tick in range(int(least), 101, 10):
        x = _across(tick, least, width)
        parts.append(f'<path d="M{x:g} 0V{height}" stroke="{GRID}" stroke-width="0.7"/>')
        label = f"{tick} %" if tick == 100 else tick
        parts.append(write_text(x, height + 13, label, anchor="middle", size=SMALL))
    for place, label in enumerate(shown):
        y = (place + 0.5) * step
        parts.append(write_text(-8, y + 4, shorten(classes[label], left - 8), anchor="end"))
        parts.append(f'<path d="M0 {y + step / 2:g}H{width}" stroke="{GRID}" stroke-width="0.4"/>')
        first = y - MARK_STEP * (len(names) - 1) / 2  # marks of equal values would hide each other
        marks = "".join(
            write_mark(_across(value, least, width), first + MARK_STEP * index, index)
            for index, value in enumerate(recall[:, label])
        )
        listed = ", ".join(f"{one} {value:.1f} %" for one, value in zip(names, recall[:, label], strict=True))
        parts.append(f"<g><title>{escape(f'{classes[label]}: {listed}')}</title>{marks}</g>")
    parts.append("</g>")
    return "".join(parts), (left + width + GAP, top + height + 22)


def _across(share: float, least: float, width: float) -> float:
    """Return where a share is on an axis from `least` to 100 %."""
    return round(float(width * (share - least) / (100 - least)), 1)


def _round(value: float) -> float | None:
    """Return a share to two digits; none where there is none."""
    return None if np.isnan(value) else round(float(value), 2)
