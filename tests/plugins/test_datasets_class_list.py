"""class.txt in all its forms, and in those that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from bench_plugins.datasets.image_files.class_list import read_class_list

from bench.api import BadData

FOLDERS = ("ant", "bee", "cow")


@pytest.mark.parametrize("place", ["class.txt", "classes.txt", "train/class.txt"])
def test_a_list_of_folders_orders_them(tmp_path: Path, place: str) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / place).write_text("cow\n\nant\r\n bee \n", encoding="utf-8-sig")
    folders, names, _ = read_class_list(tmp_path, "train", FOLDERS)

    assert folders == names == ("cow", "ant", "bee")


def test_without_a_list_the_folders_keep_their_order(tmp_path: Path) -> None:
    assert read_class_list(tmp_path, "", FOLDERS) == (FOLDERS, FOLDERS, "")


@pytest.mark.parametrize(
    ("text", "folders", "names"),
    [
        ("n02 great white shark\nn01 tench, Tinca\n", ("n02", "n01"), ("great white shark", "tench, Tinca")),
        ("n01\ttench, Tinca tinca\nn02\tshark\n", ("n01", "n02"), ("tench, Tinca tinca", "shark")),
        ("0 plane\n1 car\n", ("0", "1"), ("plane", "car")),
        ("1 car\n0 plane\n", ("1", "0"), ("car", "plane")),
        ("1 ant\n0 bee\n", ("bee", "ant"), ("bee", "ant")),
        ("1 bee\n2 ant\n", ("bee", "ant"), ("bee", "ant")),
        ("great dane\ngreat\n", ("great dane", "great"), ("great dane", "great")),
    ],
)
def test_a_list_names_the_classes(
    tmp_path: Path, text: str, folders: Sequence[str], names: Sequence[str]
) -> None:
    (tmp_path / "class.txt").write_text(text)

    assert read_class_list(tmp_path, "", sorted(folders)) == (folders, names, text)


def test_a_list_of_names_names_numbered_folders_by_number(tmp_path: Path) -> None:
    names = tuple(f"thing {letter}" for letter in "abcdefghijk")
    (tmp_path / "class.txt").write_text("\n".join(names))
    numbers = tuple(map(str, range(11)))
    by_letter = sorted(numbers)  # 10 comes before 2

    assert read_class_list(tmp_path, "", by_letter)[:2] == (numbers, names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ant\nbee\ncow\nzebra\n",
            r"class.txt names 'zebra', which is no class folder.* there are ant, bee, cow",
        ),
        ("ant\nbee\n", r"class.txt does not name the class folder 'cow'"),
        ("", r"class.txt does not name the class folder 'ant'"),
        ("ant\nbee\ncow\nant\n", r"class.txt has 'ant' twice"),
        ("ant x\nbee x\ncow y\n", r"class.txt has 'x' twice"),
        ("0 ant\n1 bee\n3 cow\n", r"class.txt names '0 ant', which is no class folder"),
    ],
)
def test_a_list_that_does_not_fit_says_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "class.txt").write_text(text)

    with pytest.raises(BadData, match=message):
        read_class_list(tmp_path, "", FOLDERS)


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "class.txt").write_bytes(b"\xff\xfe\x00ant")

    with pytest.raises(BadData, match=r"class.txt cannot be read .* Save it as UTF-8 text"):
        read_class_list(tmp_path, "", FOLDERS)


def test_two_lists_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for place in ("class.txt", "train/classes.txt"):
        (tmp_path / place).write_text("ant\nbee\ncow\n")

    with pytest.raises(BadData, match=r"class.txt and .*train/classes.txt. Keep one of them"):
        read_class_list(tmp_path, "train", FOLDERS)
