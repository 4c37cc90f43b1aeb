"""Draw all figures of stored predictions, features and images; say of each that cannot be drawn why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import BadValue
from bench.report.answers import Answers
from bench.report.calibration import draw_calibration
from bench.report.confusion import draw_confusion, draw_recall
from bench.report.figure import Figure
from bench.report.image_figures import SetImages, draw_set_maps, draw_set_neighbours, draw_set_views
from bench.report.projection import FEWEST, MOST, check_kind
from bench.report.rows import Record, Task, TestSet, choose_test_sets
from bench.report.stored import LoadImages, NotStored, Stored
from bench.report.thumbnails import Sheet

if TYPE_CHECKING:
    from bench.contracts.dataset import Images

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to draw beside the figures of predictions.

    Args:
        map_points: test images on each map of features, at most; 0 draws no maps. A thousand take
            about 10 seconds of one processor a method, and five thousand about 100.
        map_kind: `tsne`, `umap`, `pacmap` or `opentsne`.

    Raises:
        UsageError: a value cannot be used.
    """

    map_points: int = 0
    map_kind: str = "tsne"

    def __post_init__(self) -> None:
        if self.map_points and not FEWEST <= self.map_points <= MOST:
            raise BadValue(f"--maps: {self.map_points} images. Use {FEWEST} to {MOST}, or 0 for no maps.")
        check_kind(self.map_kind)


@dataclass
class Pictures:
    """Figures, what they share, and what is missing of them.

    Args:
        figures: in the order they are to be read.
        sheets: of thumbnails, which a page holds once each.
        missing: sentences about what could not be drawn.
    """

    figures: list[Figure] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def tell(self, sentence: str) -> None:
        """Note once what could not be drawn."""
        sentence = f"{sentence.rstrip('.')}."
        if sentence not in self.missing:
            self.missing.append(sentence)


def draw_pictures(
    records: Iterable[Record], folders: Sequence[Path], load_images: LoadImages | None, wanted: Wanted
) -> Pictures:
    """Return the figures of some results folders.

    Args:
        records: of the folders.
        folders: the results folders.
        load_images: returns the test images of a record; none draws no figure of images.
        wanted: which figures.
    """
    stored, pictures, slugs = Stored(folders), Pictures(), set[str]()
    for test_set in choose_test_sets(records):
        slug = _choose_slug(test_set.name, slugs)
        count, most = test_set.task.count, len(test_set.rows)
        if count > most:
            pictures.tell(f"{test_set.name}: of {count} rows the {most} most accurate are drawn")
        pictures.figures += _draw_answers(test_set, slug, stored, pictures.tell)
        images = SetImages(test_set, slug, stored, _load(test_set, load_images, pictures.tell), pictures.tell)
        if wanted.map_points:
            figures, sheets = draw_set_maps(images, wanted.map_points, wanted.map_kind)
            pictures.figures += figures
            pictures.sheets += sheets
        pictures.figures += [*draw_set_neighbours(images), *draw_set_views(images)]
    return pictures


def _choose_slug(name: str, taken: set[str]) -> str:
    """Return the part of figures' names that says the test set, and is no other's."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "data"
    own = next(one for one in (slug, *(f"{slug}-{n}" for n in range(2, len(taken) + 3))) if one not in taken)
    taken.add(own)
    return own


def _load(test_set: TestSet, load_images: LoadImages | None, tell: Tell) -> Images | None:
    try:
        return load_images(test_set.rows[0].records[0]) if load_images else None
    except NotStored as error:
        tell(f"{test_set.name}: {error}")
        return None


def _draw_answers(test_set: TestSet, slug: str, stored: Stored, tell: Tell) -> Iterator[Figure]:
    """Yield the figures of predictions."""
    name, classes, task = test_set.name, test_set.classes, test_set.task
    answers = list(_read_answers(name, task, stored, tell))
    if answers:
        yield draw_confusion(f"confusion-{slug}", f"Confusion on {name} ({task.name})", answers, classes)
        title = f"Recall of each class of {name} ({task.name})"
        yield draw_recall(f"recall-{slug}", title, answers, classes)
    calibrated = test_set.calibrated
    if calibrated is None:
        tell(f"{name}: no evaluator says probabilities, so there is no calibration to draw")
        return
    if calibrated != task:
        answers = list(_read_answers(name, calibrated, stored, tell))
    sure = [one for one in answers if one.confidences]
    if sure:
        yield draw_calibration(f"calibration-{slug}", f"Calibration on {name} ({calibrated.name})", sure)
    elif answers:
        tell(f"{name}: the predictions of {calibrated.name} were stored without confidences: run it again")


def _read_answers(name: str, task: Task, stored: Stored, tell: Tell) -> Iterator[Answers]:
    """Yield the answers of each row whose seeds all have left them, to the same test images."""
    labels = None
    for row in task.rows:
        try:
            seeds = tuple(stored.predictions(record) for record in row.records)
        except NotStored as error:
            tell(f"{name}: {error}")
            continue
        labels = seeds[0].labels if labels is None else labels
        if not all(np.array_equal(seed.labels, labels) for seed in seeds):
            tell(f"{name}: {row.name} was tested on other images than the rows above it")
            continue
        errors = tuple(one["metrics"]["ece"]["value"] for one in row.records if "ece" in one["metrics"])
        yield Answers(row.name, seeds, errors if len(errors) == len(seeds) else ())
