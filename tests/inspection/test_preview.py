"""`bench preview`: real images and their views, in one picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from bench.augmentation.clean import resize
from bench.augmentation.contact_sheet import BETWEEN_VIEWS, GAP, MARGIN
from bench.cli.main import main
from bench.config import NoSettings
from bench.contracts.dataset import Images
from bench.inspection.preview import select_few
from bench.planning.cells import PluginChoice
from bench.planning.open_datasets import Datasets
from bench.planning.plugin_choices import PluginChoices
from bench.registry.registry import Registry
from bench.splits.selection import Selection

SIDE, FACTOR = 16, 6  # of digits: the smallest image, and what makes it readable
STEP = SIDE * FACTOR + GAP

Picture = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of three red and two blue images of 24x24 pixels."""
    for name, colour, count in (
        ("red", (200, 30, 30), 3),
        ("a class with quite a long name", (20, 20, 180), 2),
    ):
        for number in range(count):
            path = tmp_path / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (24, 24), colour).save(path)
    return tmp_path / "photos"


def preview(*args: str) -> Result:
    return CliRunner().invoke(main, ["preview", *args])


def draw(*args: str) -> Picture:
    result = preview(*args)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "preview.png\n"
    return np.asarray(Image.open("preview.png"))


def tiles(picture: Picture, rows: int, draws: int) -> Picture:
    """Return the enlarged images of a picture of two views: (rows, 1 + 2 * draws, side, side, 3)."""
    top = len(picture) - MARGIN - rows * STEP
    ends = [
        picture.shape[1] - MARGIN - column * STEP - column // draws * BETWEEN_VIEWS
        for column in range(2 * draws + 1)
    ]
    return np.stack(
        [
            [picture[top + r * STEP :, end - STEP :][: STEP - GAP, : STEP - GAP] for end in reversed(ends)]
            for r in range(rows)
        ]
    )


def last_tiles(picture: Picture, rows: int, side: int, row_side: int) -> list[Picture]:
    """Return the last column: images of `side` pixels, each in the middle of a row of `row_side` pixels."""
    row_height = row_side * FACTOR + GAP
    top = len(picture) - MARGIN - rows * row_height + (row_side - side) * FACTOR // 2
    left = picture.shape[1] - MARGIN - GAP - side * FACTOR
    return [picture[top + row * row_height :, left:][: side * FACTOR, : side * FACTOR] for row in range(rows)]


@pytest.fixture(scope="module")
def digits() -> Images:
    registry = Registry.load()
    datasets = Datasets(registry)
    images: Images = datasets.open(
        PluginChoices(registry, datasets).choose("datasets", "digits", "dataset", {})
    ).load("train")
    return images


def label_of(images: Images, tile: Picture) -> int:
    """Return the label of the image that `tile` shows."""
    clean = (resize(images.pixels, SIDE)[:, 0] * 255).round().to(torch.uint8).numpy()
    (label,) = set(images.labels[(clean == tile[::FACTOR, ::FACTOR, 0]).all(axis=(1, 2))].tolist())
    return int(label)


def test_the_first_column_has_training_images_of_different_classes_in_order(digits: Images) -> None:
    shown = tiles(draw("--count", "6", "--draws", "2"), 6, 2)
    labels = [label_of(digits, row[0]) for row in shown]

    assert labels == sorted(set(labels))


def test_images_are_enlarged_pixel_by_pixel() -> None:
    shown = tiles(draw("--count", "2", "--draws", "1"), 2, 1)
    small = shown[:, :, ::FACTOR, ::FACTOR]

    assert np.array_equal(small.repeat(FACTOR, axis=2).repeat(FACTOR, axis=3), shown)
    assert small.std() > 0


def test_every_draw_of_a_view_is_another() -> None:
    shown = tiles(draw("--count", "3", "--draws", "3"), 3, 3)

    assert all(len({tile.tobytes() for tile in row}) >= 6 for row in shown)


def test_views_without_operations_are_the_images() -> None:
    shown = tiles(draw("--count", "3", "--draws", "2", "--set", "views.ops=[]"), 3, 2)

    assert all(len({tile.tobytes() for tile in row}) == 1 for row in shown)


@pytest.mark.parametrize("side", [8, 12, 24])
def test_a_view_of_another_size_is_drawn_at_its_own(digits: Images, side: int) -> None:
    picture = draw("--count", "3", "--draws", "2", "--set", "views.ops=[]", "--set", f"views.size={side}")
    shown = last_tiles(picture, 3, side, row_side=max(SIDE, side))
    clean = (resize(digits.pixels, side)[:, 0] * 255).numpy()

    for tile in shown:
        small = tile[::FACTOR, ::FACTOR, 0]
        assert np.array_equal(small.repeat(FACTOR, axis=0).repeat(FACTOR, axis=1), tile[:, :, 0])
        assert (abs(clean - small) < 0.51).all(axis=(1, 2)).any()


def test_small_views_make_a_picture_narrower_and_no_row_lower() -> None:
    images = ("--count", "3", "--draws", "2")
    own, small = draw(*images), draw(*images, "--set", "views.size=8")

    assert own.shape[0] == small.shape[0]
    assert own.shape[1] - small.shape[1] == 2 * 2 * (SIDE - 8) * FACTOR


def test_the_heading_of_a_small_view_has_room() -> None:
    narrow = ("--count", "1", "--draws", "1", "--set", "views.size=8")
    picture = draw(*narrow, "--set", "views.ops=[]")
    text_rows = picture[MARGIN + 17 : len(picture) - MARGIN - STEP]
    right_of_heading = text_rows[:, -MARGIN:]

    assert (right_of_heading == 255).all()


def test_a_seed_gives_one_picture_and_another_seed_other_images() -> None:
    first, again, other = (draw("--count", "3", "--seed", seed) for seed in "001")

    assert np.array_equal(first, again)
    assert not np.array_equal(tiles(first, 3, 4)[:, 0], tiles(other, 3, 4)[:, 0])


def test_more_images_than_there_are_is_all_of_them_in_colour(photos: Path) -> None:
    settings = ["--set", f"dataset.root={photos}", "--set", "views.ops=[]", "--image-size", "96"]
    picture = draw("--dataset", "image_folder", "--count", "9", "--draws", "1", *settings)
    shown = tiles(picture, 3, 1)[:, 0]  # one of each class is to test on

    assert [tuple(tile[48, 48].tolist()) for tile in shown] == [(20, 20, 180), (200, 30, 30), (200, 30, 30)]


def test_photos_without_labels_are_drawn_without_names(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    for number in range(5):
        Image.new("RGB", (24, 24), (40 * number, 0, 0)).save(tmp_path / "flat" / f"{number}.png")
    settings = ["--set", "dataset.root=flat", "--set", "views.ops=[]", "--image-size", "96"]
    shown = tiles(draw("--dataset", "image_folder", "--count", "3", "--draws", "1", *settings), 3, 1)[:, 0]

    assert len({int(tile[48, 48, 0]) for tile in shown}) == 3


def test_few_images_of_many_are_decoded() -> None:
    data = PluginChoice(kind="datasets", name="many", config=Selection(), identity={})
    chosen = replace(data, config=Selection(max_train=500))
    other = replace(data, config=NoSettings())

    assert select_few(data, classes=10, count=8).config.max_train == 32
    assert select_few(data, classes=1000, count=8).config.max_train == 1000
    assert (select_few(chosen, 10, 8), select_few(other, 10, 8)) == (chosen, other)


def test_the_suffix_is_the_format() -> None:
    assert preview("--count", "1", "--draws", "1", "--output", "views.JPG").stdout == "views.JPG\n"
    assert Path("views.JPG").read_bytes().startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--output", "views.txt"], "--output views.txt: no picture can be written as '.txt'. Use .png."),
        (["--output", "views"], "--output views: it has no suffix. Use .png."),
        (["--output", "gone/views.png"], "--output: gone/views.png cannot be written (No such file"),
        (["--output", "views.xbm"], "--output views.xbm: XBM cannot hold it (cannot write mode RGB as XBM)."),
        (["--method", "random"], "preview: random trains nothing, so it has no views."),
        (["--method", "simclr,vicreg"], "--method: 2 values are given, simclr, vicreg. Name one."),
        (["--set", "views.jitter=0,1"], "--set views.jitter: 2 values are given, 0, 1. Name one."),
        (["--dataset", "cifar10"], "cifar10: data/cifar-10-batches-py is not there or not complete."),
        (["--count", "0"], "Invalid value for '--count'"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(args: list[str], message: str) -> None:
    result = preview("--draws", "1", *args)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1
    assert not list(Path().iterdir())
