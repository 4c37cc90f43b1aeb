"""Folders of tiny images, in every layout that is accepted and in those that are not."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from archives import draw, fill
from bench_plugins.datasets.image_folder import Config, ImageFolder
from PIL import Image

from bench.api import BadData, BadValue, DataLocation, UsageError

CLASSES = ("ant", "bee", "cow")


def opened(root: Path, **settings: Any) -> ImageFolder:
    return ImageFolder("image_folder", Config(**settings), DataLocation(root=root))


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Return a folder with train and test, three classes each."""
    fill(tmp_path / "animals" / "train")
    fill(tmp_path / "animals" / "test", count=2)
    return tmp_path / "animals"


def refused(root: Path, message: str, **settings: Any) -> None:
    with pytest.raises(BadData, match=message) as caught:
        opened(root, **settings)
    assert "\n" not in str(caught.value)


def test_train_and_test_folders_are_the_splits(animals: Path) -> None:
    data = opened(animals)
    train = data.load("train")

    assert data.splits == ("train", "test")
    assert (data.info.classes, data.info.channels, data.info.size) == (CLASSES, 1, 8)
    assert train.labels.tolist() == data.labels("train") == [0] * 5 + [1] * 5 + [2] * 5
    assert train.pixels[:, 0, 0, 0].tolist() == [10 * c + i for c in range(3) for i in range(5)]
    assert data.labels("test") == data.load("test").labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.info.notes == ("6 images are in two splits, e.g. train/ant/0.png is test/ant/0.png",)


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_a_val_folder_beside_test_is_a_split_of_its_own(animals: Path, val: str) -> None:
    fill(animals / val, count=1)

    assert opened(animals).splits == ("train", "val", "test")
    assert opened(animals).labels("val") == [0, 1, 2]


def test_val_is_the_test_split_if_there_is_no_test(animals: Path) -> None:
    (animals / "test").rename(animals / "val")
    data = opened(animals)

    assert data.splits == ("train", "test")
    assert len(data.labels("test")) == 6
    assert data.info.notes[0] == "there is no test folder: val is the test split"


@pytest.mark.parametrize("inner", ["", "train"])
def test_without_test_a_fifth_of_each_class_is_drawn(tmp_path: Path, inner: str) -> None:
    fill(tmp_path / "flat" / inner, count=10)
    data, again = opened(tmp_path / "flat"), opened(tmp_path / "flat")
    shades = [data.load(split).pixels[:, 0, 0, 0].tolist() for split in data.splits]

    assert data.labels("test") == [0, 0, 1, 1, 2, 2]
    assert sorted(shades[0] + shades[1]) == list(range(30))
    assert again.load("test").pixels.equal(data.load("test").pixels)
    assert data.info.notes == ("the test split is a fifth of each class, drawn with seed 0",)


def test_a_drawn_test_split_has_a_fifth_of_each_class_and_so_of_all(tmp_path: Path) -> None:
    counts = {"ant": 7, "bee": 12, "cow": 63, "dog": 2}
    for name, count in counts.items():
        fill(tmp_path, [name], count)
    data = opened(tmp_path)
    test, train = data.labels("test"), data.labels("train")

    assert [test.count(label) for label in range(4)] == [1, 2, 13, 1]
    assert [train.count(label) for label in range(4)] == [6, 10, 50, 1]
    assert len(data.load("test")) == 17


def test_a_class_of_one_image_cannot_be_split(tmp_path: Path) -> None:
    draw(fill(tmp_path) / "dodo" / "only.png")

    refused(tmp_path, "the class 'dodo' has one image, to train and to test takes two")


def test_images_are_found_in_nested_folders_and_whatever_the_case_of_their_ending(tmp_path: Path) -> None:
    fill(tmp_path)
    draw(tmp_path / "ant" / "deep" / "er" / "x.PNG")
    Image.new("RGB", (8, 8)).save(tmp_path / "bee" / "y.JpEg", "JPEG")
    data = opened(tmp_path)

    assert len(data.labels("train")) + len(data.labels("test")) == 17
    assert data.info.channels == 3


def test_what_is_no_image_is_ignored(animals: Path) -> None:
    before = opened(animals).fingerprint()
    fill(animals / "__MACOSX")
    for path in (".hidden/0.png", "train/.git/0.png", "train/ant/._0.png", "train/__MACOSX/0.png"):
        draw(animals / path)
    for path in ("train/ant/Thumbs.db", "train/ant/notes.txt", "README.md", "train/ant/.DS_Store"):
        (animals / path).write_text("no image")

    assert opened(animals).fingerprint() == before
    assert opened(animals).info.classes == CLASSES


def test_images_beside_the_class_folders_are_left_out_and_counted(animals: Path) -> None:
    draw(animals / "train" / "stray.png")
    data = opened(animals)

    assert len(data.labels("train")) == 15
    assert data.info.notes[0] == "images outside of any class folder that were left out: 1"


def test_links_are_followed_and_circles_left(animals: Path, tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", ["dog"], 3)
    for split in ("train", "test"):
        (animals / split / "dog").symlink_to(tmp_path / "elsewhere" / "dog")
    (animals / "train" / "ant" / "up").symlink_to(animals / "train" / "ant")
    (animals / "train" / "bee" / "top").symlink_to(animals)
    (animals / "train" / "cow" / "self").symlink_to(animals / "train" / "cow" / "self")

    assert opened(animals).labels("train") == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 3


def test_a_link_to_nothing_is_an_image_that_cannot_be_decoded(animals: Path) -> None:
    (animals / "train" / "ant" / "gone.png").symlink_to(animals / "nowhere.png")

    refused(animals, r"an image cannot be decoded: train/ant/gone.png \(empty, or a link to nothing\)")
    assert len(opened(animals, on_error="skip").labels("train")) == 15


def test_no_folder_was_given() -> None:
    with pytest.raises(
        BadData, match=re.escape("image_folder: no folder was given. Set dataset.root=FOLDER.")
    ):
        ImageFolder("image_folder", Config(), DataLocation())


def test_a_missing_folder_and_a_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    refused(tmp_path / "none", "none is no folder, it is not there. Set dataset.root")
    refused(tmp_path / "file", "file is no folder, it is a file")


def test_a_folder_without_images_says_what_was_sought_and_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/x.csv", "a/y.csv", "z.txt"):
        (tmp_path / name).write_text("")

    refused(tmp_path, r"no images under .*; found 3 files that are no images \(2 \.csv, 1 \.txt\)\. Set")


def test_an_empty_class_folder_is_named(animals: Path) -> None:
    (animals / "train" / "emu").mkdir()

    refused(animals, r"train/emu has no image. Fill it or remove it, or set dataset.classes=\[ant,bee,cow\]")


def test_an_empty_class_folder_may_be_left_out(animals: Path) -> None:
    for split in ("train", "test"):
        (animals / split / "emu").mkdir()

    assert opened(animals, classes=("ant", "cow")).labels("test") == [0, 0, 1, 1]


def test_a_folder_around_the_splits_is_recognised(animals: Path) -> None:
    refused(
        animals.parent, rf"the only folder of images there.* Set dataset.root={animals}, or dataset.splits"
    )


def test_test_without_train_is_refused(animals: Path) -> None:
    shutil.rmtree(animals / "train")

    refused(animals, "animals has test, but no train")


def test_two_val_folders_are_refused(animals: Path) -> None:
    fill(animals / "val")
    fill(animals / "valid")

    refused(animals, "has both val and valid")


def test_classes_that_only_one_split_has_are_named(animals: Path) -> None:
    draw(animals / "test" / "emu" / "0.png")
    refused(animals, "test has classes that train has not: emu")
    (animals / "test" / "emu").rename(animals / "train" / "emu")

    refused(animals, "test has not all classes of train, it lacks: emu")


def test_a_class_list_orders_and_names_the_labels(animals: Path) -> None:
    (animals / "train" / "class.txt").write_text("cow Bos taurus\nant\nbee\n")
    data = opened(animals)

    assert data.info.classes == ("Bos taurus", "ant", "bee")
    assert data.load("test").pixels[:, 0, 0, 0].tolist() == [20, 21, 0, 1, 10, 11]
    assert data.labels("test") == [0, 0, 1, 1, 2, 2]


def test_a_class_list_that_does_not_fit_is_refused_at_once(animals: Path) -> None:
    (animals / "class.txt").write_text("ant\nbee\n")

    refused(animals, "class.txt does not name the class folder 'cow'")


def test_an_empty_image_is_found_before_anything_is_decoded(animals: Path) -> None:
    (animals / "test" / "bee" / "0.png").write_bytes(b"")

    refused(animals, r"an image cannot be decoded: test/bee/0.png \(empty")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:45])  # behind the header, within the pixels


def test_all_damaged_images_are_counted_and_some_named(animals: Path) -> None:
    for i in range(4):
        cut_short(animals / "train" / "bee" / f"{i}.png")
    data = opened(animals)

    with pytest.raises(
        BadData, match=r"4 images cannot be decoded: train/bee/0.png \(.*\) and 1 more\. .*on_error=skip"
    ):
        data.load("train")
    assert len(data.load("test")) == 6


def test_skipped_images_are_counted_and_labels_agree_with_load(animals: Path) -> None:
    cut_short(animals / "train" / "bee" / "0.png")
    (animals / "train" / "cow" / "3.png").write_bytes(b"")
    (animals / "train" / "cow" / "4.png").write_text("no image")
    data = opened(animals, on_error="skip")

    assert data.labels("train") == [0] * 5 + [1] * 4 + [2] * 3
    assert data.load("train").labels.tolist() == data.labels("train")
    assert data.load("train").pixels[5:9, 0, 0, 0].tolist() == [11, 12, 13, 14]
    assert data.info.notes[-1] == "images left out because they cannot be decoded: 3 of train, 0 of test"
    assert data.found.startswith("train 12, test 6 images, 3 classes (ant, bee, cow)")
    assert data.found.endswith("; left out: 3 that cannot be decoded")


def test_a_class_of_which_every_image_is_skipped_is_an_error(animals: Path) -> None:
    for i in range(2):
        (animals / "test" / "cow" / f"{i}.png").write_bytes(b"")

    with pytest.raises(BadData, match="no image of 'cow' in test can be decoded"):
        opened(animals, on_error="skip").labels("test")


def test_images_of_mixed_sizes_come_out_as_one(tmp_path: Path) -> None:
    for c in CLASSES:
        for i, size in enumerate([(10, 20), (12, 12), (40, 30), (9, 50)]):
            draw(tmp_path / c / f"{i}.png", 7, size)

    assert opened(tmp_path).info.size == 10
    assert opened(tmp_path).load("train").pixels.shape == (9, 1, 10, 10)
    assert opened(tmp_path, size=16).load("test").pixels.shape == (3, 1, 16, 16)
    assert opened(tmp_path, size=16).info.size == 16


def test_a_selection_changes_labels_but_neither_channels_nor_size(animals: Path) -> None:
    Image.new("RGB", (8, 8)).save(animals / "train" / "bee" / "0.png")
    data = opened(animals, classes=("cow", "ant"), max_train=4)

    assert (data.info.classes, data.info.channels) == (("cow", "ant"), 3)
    assert sorted(data.labels("train")) == [0, 0, 1, 1]
    assert data.load("test").pixels[:, 0, 0, 0].tolist() == [0, 1, 20, 21]
    assert data.labels("test") == [1, 1, 0, 0]


def test_a_selection_that_cannot_work_is_refused_at_once(animals: Path) -> None:
    with pytest.raises(UsageError, match=r"image_folder: no class is named 'bea'\. Did you mean 'bee'"):
        opened(animals, classes=("ant", "bea"))
    with pytest.raises(BadValue, match=r"image_folder\.max_train: 2 images cannot show 3 classes"):
        opened(animals, max_train=2)


def test_the_fingerprint_of_an_ordinary_folder_is_what_it_was(tmp_path: Path) -> None:
    """The digest is that of the code before folders were read by rules on the whole tree."""
    for number, place in enumerate(("train/a", "train/b", "test/a", "test/b")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "0.pgm").write_bytes(b"P5 8 8 255\n" + bytes([number]) * 64)

    assert opened(tmp_path).fingerprint() == "54fcd4dd0db2c4efb2dc"


def test_the_fingerprint_stays_when_the_folder_moves(animals: Path) -> None:
    before = opened(animals).fingerprint()
    moved = animals.rename(animals.parent / "moved")
    os.utime(moved / "train" / "ant" / "0.png", (0, 0))

    assert opened(moved).fingerprint() == before
    assert opened(moved, max_train=5, size=16).fingerprint() == before


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "redrawn", "listed", "regrouped"])
def test_the_fingerprint_changes_with_the_data(animals: Path, change: str) -> None:
    before = opened(animals).fingerprint()
    first = animals / "train" / "ant" / "0.png"
    {
        "added": lambda: draw(animals / "train" / "ant" / "9.png"),
        "removed": first.unlink,
        "renamed": lambda: first.rename(first.with_name("z.png")),
        "redrawn": lambda: draw(first, 1),
        "listed": lambda: (animals / "class.txt").write_text("cow\nbee\nant\n"),
        "regrouped": lambda: (animals / "test").rename(animals / "val"),
    }[change]()

    assert opened(animals).fingerprint() != before
