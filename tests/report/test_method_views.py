from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from stored_results import make_record
from svg_elements import elements, texts

from bench.augmentation.sample_views import draw_views
from bench.augmentation.view import View
from bench.config import key_fields
from bench.errors import UsageError
from bench.report.views import Recipe, draw_method_views, read_views

WEAK, SMALL = View(jitter=0.0), View(size=16)


def record(*views: View) -> dict:
    made = make_record()
    return {**made, "config": {**made["config"], "views": [key_fields(view) for view in views]}}


def pixels(channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, channels, 32, 32), dtype=torch.uint8, generator=generator)


def test_views_of_a_record_are_read_as_recipes_and_alike_ones_are_one() -> None:
    assert read_views(record(WEAK, View(), WEAK, SMALL)) == (
        Recipe(WEAK, (1, 3)),
        Recipe(View(), (2,)),
        Recipe(SMALL, (4,)),
    )


def test_a_record_without_views_has_no_recipes() -> None:
    assert read_views(record()) == ()
    assert read_views({"config": None}) == ()


def test_a_setting_of_a_newer_bench_is_refused() -> None:
    made = record(View())
    made["config"]["views"][0]["mixup"] = 0.5

    with pytest.raises(UsageError, match="no setting is named 'mixup'"):
        read_views(made)


def test_the_pictures_are_the_draws_of_the_recipe() -> None:
    images = pixels()
    figure = draw_method_views("views-x", "t", [("simclr", (Recipe(View(), (1, 2)),), 32)], images)
    (draws,) = draw_views(images, [(1, View())], 32, 3, 0)
    uri = next(one.attrib["href"] for one in elements(figure.svg, "image"))
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), dtype=float)
    square = sheet[36:68, 48:80]  # the first draw of the first image, at (60, 45) of the figure
    wanted = (255 * draws[0, 0]).permute(1, 2, 0).numpy()

    assert np.abs(square - wanted).mean() < 12  # a JPEG of noise
    assert np.abs(square - (255 * draws[1, 0]).permute(1, 2, 0).numpy()).mean() > 24


def test_recipes_are_headed_by_their_views_and_sizes_and_listed_with_all_that_is_set() -> None:
    recipes = (Recipe(View(), (1, 2)), Recipe(SMALL, (3, 4, 5, 6)), Recipe(WEAK, (7,)))
    figure = draw_method_views("views-x", "t", [("swav", recipes, 32)], pixels())
    row = dict(zip(figure.columns, figure.rows[2], strict=True))

    assert {"image", "views 1 and 2, 32x32", "views 3 to 6, 16x16", "view 7, 32x32"} <= set(texts(figure.svg))
    assert (row["views"], row["side (pixels)"], row["jitter"], row["flip"]) == ("view 7", 32, 0.0, 0.5)


def test_methods_of_the_same_recipes_are_drawn_once_and_listed_each() -> None:
    recipes = (Recipe(View(), (1, 2)),)
    both = [("simclr", recipes, 32), ("dcl", recipes, 32)]
    figure = draw_method_views("views-x", "t", both, pixels())

    assert texts(figure.svg).count("views 1 and 2, 32x32") == 1
    assert "simclr, dcl" in texts(figure.svg)
    assert [row[0] for row in figure.rows] == ["simclr", "dcl"]


def test_grey_images_are_drawn_too() -> None:
    figure = draw_method_views("views-x", "t", [("simclr", (Recipe(WEAK, (1,)),), 32)], pixels(channels=1))

    assert len(list(elements(figure.svg, "image"))) == 1
