"""Maps of features: a panel a method, the same test images in each, with how far the map can be believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.report.drawing import SMALL, escape, lay_out_panels, shorten, write_document, write_text
from bench.report.figure import Figure
from bench.report.projection import NEIGHBOURS, Floats, Projection
from bench.report.styles import GRID, OKABE_ITO, PAPER, series_colour
from bench.splits.order import Index, Labels

SIDE, BELOW = 260, 26  # of a panel, and room for its numbers
EDGE = 8  # that no point is drawn in
MOST_NAMED = 20  # classes that have their names on the map
DOT, HOLE = 4.2, 1.8  # width of a point, and of what is left out of it after eight classes
NAMES = {"tsne": "t-SNE", "umap": "UMAP", "pacmap": "PaCMAP", "opentsne": "openTSNE"}


@dataclass(frozen=True)
class MapFigure(Figure):
    """A figure whose table is about its panels, and which has the place of every point beside it.

    Args:
        point_columns: headings of `points`.
        points: a row for each point of each panel.
    """

    point_columns: tuple[str, ...] = ()
    points: tuple[tuple[Any, ...], ...] = ()


def draw_maps(
    name: str,
    title: str,
    kind: str,
    projections: Sequence[tuple[str, Projection]],
    rows: Index,
    labels: Labels,
    classes: Sequence[str],
    sheet: str = "",
) -> MapFigure:
    """Return a map of each method's features.

    Args:
        name: of the figure.
        title: of the figure.
        kind: of map.
        projections: of each method, all of the same images.
        rows: (n,), which of the test split these are.
        labels: (n,), int64, their classes.
        classes: the classes' names, in the order of their labels.
        sheet: the name of the sheet of their thumbnails, in the order of `rows`; none where there is none.
    """
    places = [(method, _fit(projection.points)) for method, projection in projections]
    panels = [
        (method, _draw_panel(place, labels, classes) + _write_numbers(projection))
        for (method, place), (_, projection) in zip(places, projections, strict=True)
    ]
    body, size = lay_out_panels(panels, SIDE, SIDE + BELOW)
    body = f'<g class="maps" data-sheet="{escape(sheet)}">{body}</g>'
    repeated = f" Colours and rings repeat after {2 * len(OKABE_ITO)} classes." if len(classes) > 16 else ""
    caption = (
        f"{NAMES[kind]} of the frozen features of the same {len(rows)} test images, as many of each class. "
        "Distances and sizes of groups on such a map mean little. How far it can be believed tell its "
        f"trustworthiness (1 is best) and the accuracy of the {NEIGHBOURS} nearest neighbours among these "
        f"images, by the features and on the map.{repeated}"
    )
    columns = ("method", "images", "trustworthiness", "kNN of features (%)", "kNN of the map (%)")
    numbers = tuple(
        (method, len(rows), round(p.trustworthiness, 4), round(p.knn_features, 2), round(p.knn_map, 2))
        for method, p in projections
    )
    points = tuple(
        (method, int(row), classes[label], round(float(x), 4), round(float(y), 4))
        for method, p in projections
        for row, label, (x, y) in zip(rows, labels, p.points, strict=True)
    )
    svg = write_document(name, title, size, [body])
    headings = ("method", "row of the test split", "class", "x", "y")
    return MapFigure(name, title, caption, svg, columns, numbers, headings, points)


def _fit(points: Floats) -> Floats:
    """Return points moved into the panel, as wide as high."""
    low, high = points.min(0), points.max(0)
    scale = (SIDE - 2 * EDGE) / max(float((high - low).max()), 1e-12)
    moved = (points - (low + high) / 2) * scale
    return np.asarray(moved * np.array([1, -1]) + SIDE / 2)  # of an SVG, y grows downwards


def _draw_panel(places: Floats, labels: Labels, classes: Sequence[str]) -> str:
    """Return the points, a path a class: a tenth of the size of an element a point."""
    parts = [f'<g class="map"><rect width="{SIDE}" height="{SIDE}" fill="none" stroke="{GRID}"/>']
    present = np.unique(labels)
    for label in present:
        at = np.flatnonzero(labels == label)
        drawn = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places[at])
        style = f'stroke="{series_colour(int(label))}" stroke-width="{DOT}" stroke-linecap="round"'
        data = f'data-class="{escape(classes[label])}" data-at="{" ".join(map(str, at))}"'
        parts.append(f'<path d="{drawn}" fill="none" {style} stroke-opacity="0.8" {data}/>')
        if label // len(OKABE_ITO) % 2:
            hole = f'stroke="{PAPER}" stroke-width="{HOLE}" stroke-linecap="round"'
            parts.append(f'<path d="{drawn}" fill="none" {hole}/>')
    if len(present) <= MOST_NAMED:
        parts += _name_classes(places, labels, classes)
    return "".join([*parts, "</g>"])


def _name_classes(places: Floats, labels: Labels, classes: Sequence[str]) -> Iterator[str]:
    """Yield each class's name on the middle of its points, below those that are there already."""
    halo = f' font-weight="bold" stroke="{PAPER}" stroke-width="3" paint-order="stroke"'
    middles = {int(label): np.median(places[labels == label], axis=0) for label in np.unique(labels)}
    taken: list[tuple[float, float]] = []
    for label in sorted(middles, key=lambda label: float(middles[label][1])):
        x, y = (float(value) for value in middles[label])
        while any(abs(x - other_x) < 45 and abs(y - other_y) < SMALL for other_x, other_y in taken):
            y += SMALL
        taken.append((x, y))
        text = shorten(classes[label], 80, SMALL)
        yield write_text(round(x, 1), round(y + 3, 1), text, anchor="middle", size=SMALL, more=halo)


def _write_numbers(projection: Projection) -> str:
    said = (
        f"trustworthiness {projection.trustworthiness:.3f}, "
        f"kNN {projection.knn_features:.1f} %, on the map {projection.knn_map:.1f} %"
    )
    return write_text(0, SIDE + 14, said, size=SMALL)
