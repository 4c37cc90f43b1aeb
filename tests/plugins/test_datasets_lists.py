"""Lists of files and labels, in the formats and with the headings that people have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from archives import draw
from bench_plugins.datasets.image_folder import ALL, Config, ImageFolder
from photos import photos

from bench.api import BadData, BadValue, DataLocation

ROWS = [
    (f"images/{number}.png", "ab"[number % 2], "test" if number >= 6 else "train") for number in range(10)
]


def opened(root: Path, **settings: Any) -> ImageFolder:
    return ImageFolder("image_folder", Config(**settings), DataLocation(root=root))


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Return a folder of ten images of ten shades, in no class folders."""
    for number in range(10):
        draw(tmp_path / "listed" / "images" / f"{number}.png", number)
    return tmp_path / "listed"


def write(path: Path, rows: Any = ROWS, headings: tuple[str, ...] = ("filename", "label", "split")) -> Path:
    frame = pd.DataFrame(rows, columns=list(headings))
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")))
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("by", ["folder", "file"])
def test_a_list_is_a_dataset(listed: Path, ending: str, by: str) -> None:
    path = write(listed / f"labels.{ending}")
    data = opened(path if by == "file" else listed)

    assert (data.info.classes, data.splits) == (("a", "b"), ("train", "test"))
    assert data.load("train").labels.tolist() == data.labels("train") == [0, 0, 0, 1, 1, 1]
    assert data.load("train").pixels[:, 0, 0, 0].tolist() == [0, 2, 4, 1, 3, 5]
    assert data.load("test").pixels[:, 0, 0, 0].tolist() == [6, 8, 7, 9]
    assert data.title == ("labels" if by == "file" else "listed")


@pytest.mark.parametrize("form", ["{}.png", "{}", "images/{}", "listed/images/{}.png", "./images/{}.png"])
def test_a_file_is_named_by_as_much_as_tells_it(listed: Path, form: str) -> None:
    write(
        listed / "labels.csv",
        [(form.format(number), "ab"[number % 2]) for number in range(10)],
        ("id_of", "y"),
    )
    data = opened(listed / "labels.csv", columns=("file=id_of", "label=y"))

    shades = [shade for split in data.splits for shade in data.load(split).pixels[:, 0, 0, 0].tolist()]

    assert sorted(shades) == list(range(10))
    assert sorted(data.labels("train") + data.labels("test")) == [0] * 5 + [1] * 5
    assert data.info.notes == ("the test split is a fifth of each class, drawn with seed 0",)


def test_labels_that_are_numbers_are_in_their_order(listed: Path) -> None:
    write(listed / "labels.csv", [(f"{n}.png", n % 5 * 3) for n in range(10)], ("image", "target"))

    assert opened(listed).info.classes == ("0", "3", "6", "9", "12")


def test_a_row_without_a_label_is_pretrained_on(listed: Path) -> None:
    rows = [*((f"{n}.png", "ab"[n % 2]) for n in range(8)), ("8.png", None), ("9.png", None)]
    write(listed / "labels.csv", rows, ("file", "class"))
    data = opened(listed)

    assert data.pretrain == ALL
    assert data.labels(ALL)[-2:] == [-1, -1]
    assert len(data.labels("train")) + len(data.labels("test")) == 8


def test_each_split_may_have_its_list(listed: Path) -> None:
    for split in ("train", "test"):
        write(listed / f"{split}.csv", [row[:2] for row in ROWS if row[2] == split], ("path", "label"))

    assert (len(opened(listed).labels("train")), len(opened(listed).labels("test"))) == (6, 4)
    told = opened(listed, splits=("train=train.csv", "test=test.csv"))
    assert told.fingerprint() == opened(listed).fingerprint()


def test_a_flat_split_beside_class_folders_is_told_by_a_list(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / "train" / "ab"[number % 2] / f"{number}.png", number)
        draw(tmp_path / "test" / f"t{number}.png", 50 + number)
    write(tmp_path / "test.csv", [(f"test/t{n}.png", "ab"[n % 2]) for n in range(4)], ("file", "label"))

    assert opened(tmp_path, splits=("train=train", "test=test.csv")).labels("test") == [0, 0, 1, 1]


def test_the_fingerprint_changes_with_labels_and_splits(listed: Path) -> None:
    path = write(listed / "labels.csv")
    before = opened(listed).fingerprint()
    write(path, [(ROWS[0][0], "b", "train"), *ROWS[1:]])
    other = opened(listed).fingerprint()
    write(path, [*ROWS[:-1], (*ROWS[-1][:2], "train")])

    assert len({before, other, opened(listed).fingerprint()}) == 3
    write(path.rename(listed / "names.csv"))
    assert opened(listed).fingerprint() == before


@pytest.mark.parametrize(
    ("rows", "headings", "message"),
    [
        (
            [("no.png", "a", "train")],
            ("file", "label", "split"),
            r"row 2 of .* names 'no.png', which is no image",
        ),
        ([("0.png", "a", "train")] * 2, ("file", "label", "split"), r"0.png in rows 2 and 3\. Keep one"),
        ([("0.png", "a", "later")], ("file", "label", "split"), r"of the split 'later'\. Write train, val"),
        (
            [("0.png", "0.png", "a")],
            ("file", "path", "label"),
            r"its file in 'file' or in 'path'\. Set dataset",
        ),
        (
            [("0.png", "a", "train")],
            ("x", "y", "z"),
            r"has no column of files; there are x, y, z\. Set dataset",
        ),
        ([("0.png", "a", "test")], ("file", "label", "split"), "no image under .* is of the split train"),
    ],
)
def test_a_list_that_fits_nothing_is_refused_in_one_line(
    listed: Path, rows: list[Any], headings: tuple[str, ...], message: str
) -> None:
    path = write(listed / "labels.csv", rows, headings)

    with pytest.raises(BadData, match=message) as caught:
        opened(path)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_is_refused(listed: Path) -> None:
    with pytest.raises(BadValue, match=r"has no column 'labels'\. Did you mean 'label'"):
        opened(write(listed / "labels.csv"), columns=("label=labels",))


def test_a_name_of_two_files_is_refused(listed: Path) -> None:
    draw(listed / "more" / "0.png", 3)

    with pytest.raises(
        BadData, match=r"names '0.png', which may be images/0.png or more/0.png\. Write its path"
    ):
        opened(write(listed / "labels.csv", [("0.png", "a")], ("file", "label")))


def test_files_that_are_in_no_row_are_counted(listed: Path) -> None:
    write(listed / "labels.csv", ROWS[:-1])

    assert "images that the list does not name and that were left out: 1" in opened(listed).info.notes


def test_columns_of_no_list_are_refused(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", {"train": 4, "test": 2})

    with pytest.raises(BadValue, match=r"^image_folder\.columns: no list of files is read in .*photos"):
        opened(folder, columns=("label=y",))
