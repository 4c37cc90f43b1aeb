"""What a folder of images is taken for: splits, classes, neither, or nothing that can be told."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from archives import draw, fill
from bench_plugins.datasets.image_folder import ALL, Config, ImageFolder

from bench.api import BadData, BadValue, DataLocation

TWO = ("ant", "bee")


def opened(root: Path, **settings: Any) -> ImageFolder:
    return ImageFolder(
        "image_folder", Config(**settings), DataLocation(root=root, data_dir=root.parent / "d")
    )


def refused(root: Path, message: str, kind: type[Exception] = BadData, **settings: Any) -> None:
    with pytest.raises(kind, match=message) as caught:
        opened(root, **settings)
    assert "\n" not in str(caught.value)


def photos(folder: Path, count: int = 6, first: int = 100) -> Path:
    """Write images without class folders, each of another shade."""
    for number in range(count):
        draw(folder / f"{number}.png", first + number)
    return folder


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("TRAIN", "Test"), ("training_set", "test_set"), ("train-images", "testdata")],
)
def test_splits_are_known_by_their_usual_names(tmp_path: Path, train: str, test: str) -> None:
    fill(tmp_path / train, TWO)
    fill(tmp_path / test, TWO, 2)
    data = opened(tmp_path)

    assert data.info.classes == TWO
    assert (data.labels("train"), data.labels("test")) == ([0] * 5 + [1] * 5, [0, 0, 1, 1])


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train", TWO)
    fill(tmp_path / "Training", TWO)

    refused(
        tmp_path, r"has both Training and train\. Keep one of them, or set dataset\.splits=\[train=FOLDER"
    )


def test_a_class_may_be_called_as_a_split_is(tmp_path: Path) -> None:
    fill(tmp_path, ("bus", "car", "train"))

    assert opened(tmp_path).info.classes == ("bus", "car", "train")


def test_a_class_called_train_that_has_folders_in_it_has_two_readings(tmp_path: Path) -> None:
    fill(tmp_path, ("bus", "car"))
    fill(tmp_path / "train", ("diesel", "steam"), 4)

    refused(tmp_path, r"may be a split, with classes diesel, steam, or a class beside bus, car\. Set dataset")
    assert opened(tmp_path, splits=("train=.",)).info.classes == ("bus", "car", "train")
    assert opened(tmp_path, splits=("train=train",)).info.classes == ("diesel", "steam")


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_without_class_folders_is_refused_with_what_to_do(tmp_path: Path, split: str) -> None:
    fill(tmp_path / "train", TWO)
    photos(tmp_path / split)

    refused(
        tmp_path, rf"6 images lie in .*{split} without class folders, e\.g\. {split}/0\.png\. Write a list"
    )
    assert opened(tmp_path, splits=("train=train",)).splits == ("train", "test")


def test_splits_inside_of_each_class_are_not_mixed(tmp_path: Path) -> None:
    for name in TWO:
        fill(tmp_path / name, ("train", "test"))

    refused(tmp_path, "each class folder in .* has splits in it, as ant/train")
    assert opened(tmp_path, splits=("train=.",)).info.classes == TWO


def test_one_name_in_two_forms_of_unicode_is_one_class(tmp_path: Path) -> None:
    fill(tmp_path / "train", ("ant", unicodedata.normalize("NFC", "café")))
    fill(tmp_path / "test", ("ant", unicodedata.normalize("NFD", "café")))
    data = opened(tmp_path)

    assert data.info.classes == ("ant", unicodedata.normalize("NFC", "café"))
    assert data.labels("test") == [0] * 5 + [1] * 5
    wanted = (unicodedata.normalize("NFD", "café"), "ant")
    assert opened(tmp_path, classes=wanted).labels("test") == [1] * 5 + [0] * 5


def test_two_folders_of_one_name_in_two_forms_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, ("ant", unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")))

    refused(tmp_path, r"two folders café, in two forms of Unicode \('cafe\\u0301' and 'caf\\xe9'\)")


@pytest.mark.parametrize(
    "name", ["__MACOSX", "@eaDir", "lost+found", "Thumbnails", ".ipynb_checkpoints", "__pycache__"]
)
def test_folders_of_other_tools_are_no_classes(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "photos", TWO)
    plain = opened(tmp_path / "photos").fingerprint()
    fill(tmp_path / "photos", (name,))
    photos(tmp_path / "photos" / "ant" / name)
    data = opened(tmp_path / "photos")

    assert (data.info.classes, data.fingerprint()) == (TWO, plain)
    assert name.startswith(".") or name in data.found


@pytest.mark.parametrize("place", ["", "album", "train"])
def test_photos_without_classes_are_pretrained_on(tmp_path: Path, place: str) -> None:
    photos(tmp_path / "photos" / place, 10)
    data = opened(tmp_path / "photos")

    assert (data.splits, data.pretrain, data.info.classes) == (("train", "test"), "train", ())
    assert data.labels("train") == [-1] * 10
    assert data.labels("test") == [-1] * 2
    assert data.load("train").pixels[:, 0, 0, 0].tolist() == list(range(100, 110))
    assert data.info.notes[0].startswith("there are no labels: all images are pretrained on")


def test_photos_without_classes_can_be_limited_in_number(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 10)

    assert opened(tmp_path / "photos", max_train=4).labels("train") == [-1] * 4
    refused(tmp_path / "photos", "has no classes to choose of", classes=("ant", "bee"))


def test_images_beside_the_splits_without_a_label_are_pretrained_on(tmp_path: Path) -> None:
    root = tmp_path / "animals"
    fill(root / "train", TWO)
    fill(root / "test", TWO, 2)
    alone = opened(root).fingerprint()
    photos(root / "unlabeled")
    data = opened(root)

    assert (data.splits, data.pretrain) == (("train", "test"), ALL)
    assert data.labels(ALL) == data.load(ALL).labels.tolist() == [0] * 5 + [1] * 5 + [-1] * 6
    assert len(data.load("train")) == 10
    assert "pretraining uses the 6 images without labels, too" in data.info.notes
    assert data.fingerprint() != alone
    assert opened(root, unlabeled=False).pretrain == "train"
    assert "changes nothing" not in opened(root, unlabeled=False).found
    assert opened(root, unlabeled=False).fingerprint() == alone


def test_images_without_a_label_are_streamed_with_the_others(tmp_path: Path) -> None:
    fill(tmp_path / "animals" / "train", TWO)
    fill(tmp_path / "animals" / "test", TWO, 2)
    photos(tmp_path / "animals" / "unlabelled")
    stream = opened(tmp_path / "animals", stream=True).stream(ALL)

    assert stream is not None
    assert [path.parent.name for path in stream.files] == ["ant"] * 5 + ["bee"] * 5 + ["unlabelled"] * 6


def test_splits_can_be_told(tmp_path: Path) -> None:
    fill(tmp_path / "2023", TWO)
    fill(tmp_path / "2024", TWO, 2)
    photos(tmp_path / "rest")
    data = opened(tmp_path, splits=("train=2023", "test=2024", "unlabeled=rest"))

    assert (len(data.labels("test")), len(data.labels(ALL))) == (4, 16)
    refused(
        tmp_path, "'tain=2023' is not SPLIT=FOLDER. Did you mean 'train'", BadValue, splits=("tain=2023",)
    )
    refused(
        tmp_path, "train is '2025', but .* is neither a folder nor a list", BadValue, splits=("train=2025",)
    )
    refused(tmp_path, "there is no train beside test", BadValue, splits=("test=2024",))


def test_a_folder_says_in_one_line_what_it_was_taken_for(tmp_path: Path) -> None:
    fill(tmp_path / "animals" / "Training", TWO)
    fill(tmp_path / "animals" / "Testing", TWO, 2)
    (tmp_path / "animals" / "docs").mkdir()
    (tmp_path / "animals" / "Training" / "ant" / "notes.txt").write_text("no image")
    data = opened(tmp_path / "animals")

    assert data.title == "animals"
    assert data.found == (
        "train 10, test 4 images, 2 classes (ant, bee), 8x8, grey; left out: docs, beside the splits; "
        "1 file that is no image (1 .txt)"
    )


def test_an_image_in_two_splits_or_classes_is_said(tmp_path: Path) -> None:
    fill(tmp_path / "animals" / "train", TWO)
    photos(tmp_path / "animals" / "test" / "ant", 2)
    photos(tmp_path / "animals" / "test" / "bee", 2, 200)
    draw(tmp_path / "animals" / "test" / "ant" / "again.png", 0)
    (tmp_path / "animals" / "train" / "bee" / "link.png").symlink_to(
        tmp_path / "animals" / "train" / "ant" / "1.png"
    )

    assert opened(tmp_path / "animals").info.notes == (
        "1 image is in two splits, e.g. train/ant/0.png is test/ant/again.png",
        "1 image is in two classes, e.g. train/bee/link.png is train/ant/1.png",
    )


def test_what_is_left_out_in_vain_is_said(tmp_path: Path) -> None:
    fill(tmp_path / "train", TWO)

    assert opened(tmp_path).found.endswith("8x8, grey")
    assert opened(tmp_path, unlabeled=False).found.endswith(
        "; dataset.unlabeled=false changes nothing, for no image lies beside those with labels"
    )
