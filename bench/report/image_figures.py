"""Draw the figures of features and of images of one test set: maps, neighbours and views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import UsageError
from bench.report.maps import NAMES, MapFigure, draw_maps
from bench.report.neighbours import choose_queries, draw_neighbours, find_neighbours
from bench.report.projection import SEED, Projection, choose_rows, why_no_map
from bench.report.rows import Row, TestSet
from bench.report.stored import NotStored, Stored
from bench.report.thumbnails import Sheet, make_sheet
from bench.report.views import Recipe, draw_method_views, read_views
from bench.splits.order import Index, Labels
from bench.storage.data_names import is_transfer

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from bench.contracts.dataset import Images
    from bench.report.figure import Figure

THUMBNAIL = 24  # pixels of a side, of the image that a map shows under the pointer
VIEWED = 4  # images of the figure of views


@dataclass(frozen=True)
class SetImages:
    """One test set, and what is there to draw of it.

    Args:
        test_set: the rows.
        slug: of the figures' names.
        stored: where features are.
        images: of the test split; none where there are none.
        tell: notes what could not be drawn.
    """

    test_set: TestSet
    slug: str
    stored: Stored
    images: Images | None
    tell: Callable[[str], None]

    @cached_property
    def labels(self) -> Labels:
        """The classes of the test images, (n,); none where no row has features."""
        return self.with_features[0][1] if self.with_features else np.empty(0, dtype=np.int64)

    @cached_property
    def with_features(self) -> tuple[tuple[Row, Labels], ...]:
        """The rows whose first seed has features of these test images, each with its labels."""
        found: list[tuple[Row, Labels]] = []
        for row in self.test_set.rows:
            try:
                labels = self.stored.labels(row.records[0])
                features = self.stored.features(row.records[0])
            except NotStored as error:
                self.tell(f"{self.test_set.name}: {error}")
                continue
            if not _are_of(labels, features, len(self.test_set.classes)):
                other = f"the features of {row.name} are not of the record's test images"
                self.tell(f"{self.test_set.name}: {other}")
                continue
            if found and not np.array_equal(labels, found[0][1]):
                other = f"{row.name} has features of other images than {found[0][0].name}"
                self.tell(f"{self.test_set.name}: {other}")
            else:
                found.append((row, labels))
        return tuple(found)

    def take(self, rows: Index) -> Tensor:
        """Return some test images, (m, channels, h, w); there are images."""
        import torch

        if self.images is None:
            raise NotStored("there are no images")
        return self.images.take(torch.from_numpy(np.asarray(rows, dtype=np.int64))).pixels


def _are_of(labels: Labels, features: NDArray[np.float32], classes: int) -> bool:
    """Tell whether labels and features are of the same images, and of the classes of the record."""
    shapes = labels.ndim == 1 and features.ndim == 2 and len(labels) == len(features) > 0
    kinds = labels.dtype.kind == "i" and features.dtype.kind == "f"
    return shapes and kinds and int(labels.min()) >= 0 and int(labels.max()) < classes


def draw_set_maps(images: SetImages, most: int, kind: str) -> tuple[list[MapFigure], list[Sheet]]:
    """Return the maps of features, and the sheet of their thumbnails where there are images.

    Args:
        images: the test set.
        most: images of a map.
        kind: of map.
    """
    name, slug = images.test_set.name, images.slug
    if not images.with_features:
        return [], []
    rows = choose_rows(images.labels, most)
    projections = list(_project(images, rows, kind))
    if not projections:
        return [], []
    sheets = [make_sheet(slug, images.take(rows).numpy(), THUMBNAIL)] if images.images else []
    figure = draw_maps(
        f"{kind}-{slug}",
        f"{NAMES[kind]} of the features on {name}",
        kind,
        projections,
        rows,
        images.labels[rows],
        images.test_set.classes,
        slug if sheets else "",
    )
    return [figure], sheets


def _project(images: SetImages, rows: Index, kind: str) -> Iterator[tuple[str, Projection]]:
    """Yield the map of each row whose features have one; the rows of one backbone share it."""
    for row, _ in images.with_features:
        features = images.stored.features(row.records[0])
        reason = why_no_map(features[rows])
        if reason:
            images.tell(f"{images.test_set.name}: no map of {row.name}: {reason}")
        else:
            yield row.name, images.stored.map(row.records[0], rows, kind, SEED)


def draw_set_neighbours(images: SetImages) -> Iterator[Figure]:
    """Yield the figure of nearest neighbours, if there are images and features."""
    name = images.test_set.name
    if images.images is None or not images.with_features or len(images.labels) < 2:
        return
    queries = choose_queries(images.labels)
    near = []
    for row, _ in images.with_features:
        features = images.stored.features(row.records[0])
        if np.isfinite(features).all():
            near.append((row.name, find_neighbours(features, queries)))
        else:
            images.tell(f"{name}: no neighbours of {row.name}: some features are no finite numbers")
    if not near:
        return
    shown = np.unique(np.concatenate([queries, *(found.ravel() for _, found in near)]))
    pictures = dict(zip(shown.tolist(), images.take(shown).numpy(), strict=True))
    title = f"Nearest neighbours on {name}"
    yield draw_neighbours(
        f"neighbours-{images.slug}", title, near, queries, pictures, images.labels, images.test_set.classes
    )


def draw_set_views(images: SetImages) -> Iterator[Figure]:
    """Yield the figure of the views of methods that were trained on this data set, if there are images."""
    if images.images is None:
        return
    methods = [found for row in images.test_set.rows if (found := _find_views(images, row))]
    if methods:
        pixels = images.take(choose_rows(images.images.labels.numpy(), VIEWED))
        title = f"Views of {images.test_set.name}"
        yield draw_method_views(f"views-{images.slug}", title, methods, pixels)


def _find_views(images: SetImages, row: Row) -> tuple[str, tuple[Recipe, ...], int] | None:
    """Return the name, the recipes and the image size of a row; none where it saw no views of this data."""
    record = row.records[0]
    training = (record.get("config") or {}).get("training") or {}
    if is_transfer(record) or not training.get("image_size"):
        return None
    try:
        recipes = read_views(record)
    except UsageError as error:
        images.tell(f"{images.test_set.name}: no views of {row.name}: {error}")
        return None
    return (row.name, recipes, training["image_size"]) if recipes else None
