"""Read class.txt: the names of a folder's classes, or their order, one a line.

    tench                  a class folder: its line is its label
    n01440764 tench        a class folder and the name of its class
    0 tench                a label and its class folder
    tench                  the name of class folder 0, on the first line, if the folders are numbers

The forms are told apart by which of their words are class folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.api import BadData

from .tree import compose

FILES = ("class.txt", "classes.txt")
SHOWN = 5  # folders in an error

Pairs = list[tuple[str, str]]  # class folder and name, in the order of the labels


def read_class_list(
    root: Path, train: str, folders: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return the class folders in the order of their labels, the classes' names and the file's text.

    Args:
        root: of the data.
        train: the training split's folder under the root.
        folders: the class folders, sorted; that is their order if there is no class.txt.

    Raises:
        BadData: there are two such files, or one that does not fit the folders.
    """
    candidates = dict.fromkeys((root / folder / name) for folder in ("", train) for name in FILES)
    present = [path for path in candidates if path.is_file()]
    if not present:
        return tuple(folders), tuple(folders), ""
    if len(present) > 1:
        raise BadData(f"image_folder: there are {present[0]} and {present[1]}. Keep one of them.")
    path = present[0]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"image_folder: {path} cannot be read ({error}). Save it as UTF-8 text.") from None
    lines = [compose(line.strip()) for line in text.splitlines() if line.strip()]
    pairs = _by_label(lines, folders) or _by_number(lines, folders) or _by_folder(lines, folders, path)
    _refuse_repeated(pairs, path)
    return tuple(folder for folder, _ in pairs), tuple(name for _, name in pairs), text


def _by_folder(lines: Sequence[str], folders: Sequence[str], path: Path) -> Pairs:
    known = set(folders)
    pairs = [_pair(line, known) for line in lines]
    unknown = [folder for folder, _ in pairs if folder not in known]
    if unknown:
        raise BadData(
            f"image_folder: {path} names {unknown[0]!r}, which is no class folder. {_remedy(folders)}"
        )
    absent = sorted(known - {folder for folder, _ in pairs})
    if absent:
        raise BadData(f"image_folder: {path} does not name the class folder {absent[0]!r}. Add a line.")
    return pairs


def _pair(line: str, known: set[str]) -> tuple[str, str]:
    """Return the folder and the name of a line; a folder whose name has spaces comes first."""
    first, *rest = line.split(maxsplit=1)
    if line in known or not rest or first not in known:
        return line, line
    return first, rest[0]


def _by_label(lines: Sequence[str], folders: Sequence[str]) -> Pairs:
    """Return the pairs if every line is a label, counted from 0 or 1, and a class folder."""
    split = [line.split(maxsplit=1) for line in lines]
    if any(len(parts) == 1 or not parts[0].isdecimal() or parts[1] not in folders for parts in split):
        return []
    by_label = {int(label): folder for label, folder in split}
    counted = sorted(by_label) in (list(range(len(lines))), list(range(1, len(lines) + 1)))
    complete = len(by_label) == len(lines) and set(by_label.values()) == set(folders)
    return [(by_label[label], by_label[label]) for label in sorted(by_label)] if counted and complete else []


def _by_number(lines: Sequence[str], folders: Sequence[str]) -> Pairs:
    """Return the pairs if the class folders are 0 to n - 1 and there are n other lines, their names."""
    if not all(folder.isdecimal() for folder in folders) or len(lines) != len(folders):
        return []
    numbered = sorted(folders, key=int)
    counted = [int(folder) for folder in numbered] == list(range(len(folders)))
    named = any(_pair(line, set(folders))[0] in folders for line in lines)
    return list(zip(numbered, lines, strict=True)) if counted and not named else []


def _refuse_repeated(pairs: Pairs, path: Path) -> None:
    for column in zip(*pairs, strict=True):
        repeated = [value for value in column if column.count(value) > 1]
        if repeated:
            raise BadData(f"image_folder: {path} has {repeated[0]!r} twice. Give each class one line.")


def _remedy(folders: Sequence[str]) -> str:
    some = ", ".join(folders[:SHOWN]) + (", ..." if len(folders) > SHOWN else "")
    return f"Write one class folder a line, or a class folder and a name; there are {some}."
