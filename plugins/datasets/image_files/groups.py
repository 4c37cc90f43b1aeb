"""Read groups.csv: which images of a folder belong together, a line an image.

    file,patient
    train/benign/001.png,p17
    train/benign/002.png,p17

The file is beside the splits. The first column is headed `file` and has paths under the root, with slashes.
The heading of the second says what a group is, and stands in the records.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData

FILE = "groups.csv"
FIRST_LINE = 2  # behind the headings


def read_groups(root: Path) -> tuple[str, dict[str, str]]:
    """Return what a group is, and the group of each file by its path; both empty without a groups.csv.

    Raises:
        BadData: it cannot be read, or is no table of two columns that has each file once.
    """
    path = root / FILE
    if not path.is_file():
        return "", {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"image_folder: {path} cannot be read ({error}). Save it as UTF-8 text.") from None
    headings = [heading.strip() for heading in rows[0]] if rows else []
    if len(headings) != 2 or headings[0] != "file" or not headings[1]:
        raise BadData(
            f"image_folder: {path} is headed {','.join(headings)!r}. Head its two columns 'file,group', or "
            "with what a group is instead of group."
        )
    return headings[1], _read_rows(path, rows[1:])


def _read_rows(path: Path, rows: Sequence[Sequence[str]]) -> dict[str, str]:
    groups: dict[str, str] = {}
    for line, row in enumerate(rows, FIRST_LINE):
        if not row:
            continue
        if len(row) != 2 or not all(value.strip() for value in row):
            raise BadData(
                f"image_folder: line {line} of {path} is {','.join(row)!r}. Write a file and its group."
            )
        file, group = row[0].strip(), row[1].strip()
        if file in groups:
            raise BadData(f"image_folder: {path} has {file} twice. Give each file one line.")
        groups[file] = group
    return groups


def number_files(
    groups: Mapping[str, str], splits: Mapping[str, Sequence[str]], root: Path
) -> dict[str, NDArray[np.int64]]:
    """Return the group of each file of each split, numbered in the order of the paths.

    Args:
        groups: the group of each file.
        splits: the paths of the files of each split.
        root: of the data.

    Raises:
        BadData: a file has no group, a line is of no file, or a group is in two splits.
    """
    path = root / FILE
    every = sorted(file for files in splits.values() for file in files)
    missing = next((file for file in every if file not in groups), None)
    if missing is not None:
        raise BadData(f"image_folder: {path} does not name {missing}. Give each image a line.")
    unknown = min(groups.keys() - set(every), default=None)
    if unknown is not None:
        raise BadData(
            f"image_folder: {path} names {unknown}, which is no image in a class folder. Remove the line, or "
            "write the path under the root."
        )
    _refuse_parted(groups, splits, path)
    numbers: dict[str, int] = {}
    for file in every:
        numbers.setdefault(groups[file], len(numbers))
    return {
        split: np.array([numbers[groups[file]] for file in files], dtype=np.int64)
        for split, files in splits.items()
    }


def _refuse_parted(groups: Mapping[str, str], splits: Mapping[str, Sequence[str]], path: Path) -> None:
    split_of: dict[str, str] = {}
    for split, files in splits.items():
        for group in sorted({groups[file] for file in files}):
            if group in split_of:
                raise BadData(
                    f"image_folder: {path} has group {group} in {split_of[group]} and in {split}. Move its "
                    "images to one split, or remove the file to leave the splits as they are."
                )
            split_of[group] = split
