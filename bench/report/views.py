"""The views that each method sees of an image, drawn by the recipes that its record has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.augmentation.view import View
from bench.config import build
from bench.report.drawing import SMALL, TITLE_HEIGHT, shorten, write_document, write_text
from bench.report.figure import Figure
from bench.report.thumbnails import Collage
from bench.reporting.captions import join_words

if TYPE_CHECKING:
    from torch import Tensor

STEP, BETWEEN = Collage.SIDE + 5, 15  # from a picture to the next, and between two recipes
HEAD = 45  # a method's name and the headings of its views
DRAWS = 3  # of a recipe
SEED = 0
FIELDS = tuple(field.name for field in fields(View) if field.name != "size")


@dataclass(frozen=True)
class Recipe:
    """Views of a method that are drawn alike.

    Args:
        view: how.
        numbers: of the views that are.
    """

    view: View
    numbers: tuple[int, ...]


def read_views(record: Mapping[str, Any]) -> tuple[Recipe, ...]:
    """Return the recipes of a record's views; none where nothing was trained.

    Raises:
        UsageError: it has a setting that this bench does not know.
    """
    numbers: dict[View, list[int]] = {}
    for number, values in enumerate((record.get("config") or {}).get("views") or (), 1):
        numbers.setdefault(build(View, values, "views"), []).append(number)
    return tuple(Recipe(view, tuple(which)) for view, which in numbers.items())


def draw_method_views(
    name: str,
    title: str,
    methods: Sequence[tuple[str, tuple[Recipe, ...], int]],
    pixels: Tensor,
) -> Figure:
    """Return a block a method: a row an image, with some draws of each of its recipes.

    Args:
        name: of the figure.
        title: of the figure.
        methods: of each, its name, its recipes and the image size of its run, in pixels.
        pixels: (n, channels, h, w), uint8: the images that are drawn.
    """
    alike: dict[tuple[tuple[Recipe, ...], int], list[str]] = {}
    for method, recipes, image_size in methods:
        alike.setdefault((recipes, image_size), []).append(method)
    collage, drawn, width, y = Collage(name, max(pixels.shape[-2:])), [], 0, 0
    for (recipes, image_size), names in alike.items():
        heading = shorten(", ".join(names), 600)
        drawn.append(write_text(0, y + TITLE_HEIGHT - 7, heading, more=' font-weight="bold"'))
        for x, label, columns in _lay_out(recipes, image_size, pixels):
            drawn.append(write_text(x, y + HEAD - 7, label, size=SMALL))
            for place, column in enumerate(columns):
                for row, image in enumerate(column):
                    collage.add(x + place * STEP, y + HEAD + row * STEP, image)
            width = max(width, x + max(len(columns) * STEP, 80))
        y += HEAD + len(pixels) * STEP + 5
    caption = (
        f"Test images as they are and {DRAWS} draws of each recipe of views, at the same size. What would "
        "change a label is left out, as in the training."
    )
    rows = tuple(
        (
            method,
            _name(recipe),
            recipe.view.side(image_size),
            *(getattr(recipe.view, field) for field in FIELDS),
        )
        for method, recipes, image_size in methods
        for recipe in recipes
    )
    headings = ("method", "views", "side (pixels)", *FIELDS)
    svg = write_document(name, title, (width, y), [collage.draw(width, y), *drawn])
    return Figure(name, title, caption, svg, headings, rows)


def _lay_out(
    recipes: Sequence[Recipe], image_size: int, pixels: Tensor
) -> Iterator[tuple[int, str, NDArray[np.uint8]]]:
    """Yield of the images and each recipe their place, heading and pictures (columns, n, 3, side, side)."""
    from bench.augmentation.sample_views import draw_views, to_colour

    yield 0, "image", to_colour(pixels)[None].numpy()
    x = STEP + BETWEEN
    numbered = [(recipe.numbers[0], recipe.view) for recipe in recipes]
    for recipe, draws in zip(recipes, draw_views(pixels, numbered, image_size, DRAWS, SEED), strict=True):
        side = recipe.view.side(image_size)
        yield x, f"{_name(recipe)}, {side}x{side}", (draws * 255).round().byte().numpy()
        x += DRAWS * STEP + BETWEEN


def _name(recipe: Recipe) -> str:
    first, *more = recipe.numbers
    if not more:
        return f"view {first}"
    if len(more) > 1 and more[-1] - first == len(more):
        return f"views {first} to {more[-1]}"
    return f"views {join_words([str(number) for number in recipe.numbers])}"
