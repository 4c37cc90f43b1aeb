"""Read a list of files and labels: CSV, TSV, JSON Lines or Parquet, a row an image.

    filename,label,split
    images/0.png,cat,train

A column is found by its heading, or told by `dataset.columns=[file=image_id,label=dx]`. A file is named by
its path below the folder of the list, or by its own name if no other has it, with its ending or without. A
row without a label is an image to pretrain on. Without a column of splits they are drawn.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bench.api import BadData, BadValue, suggest

from .groups import FILE as GROUPS
from .tree import Folder, Listed, compose

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
HEADINGS = {  # of columns, in small letters and without _, - and spaces; our choice
    "file": ("file", "filename", "filepath", "path", "image", "imagefile", "imagename", "imagepath",
             "imageid", "img", "imgpath"),
    "label": ("label", "labels", "class", "classname", "category", "categoryname", "target"),
    "split": ("split", "set", "subset", "partition", "phase"),
}  # fmt: skip
NEEDED = ("file", "label")
SHOWN = 5  # headings in an error
AT_ONCE = 4_096  # rows of a Parquet file that are in memory
UNLABELED = "unlabeled"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ListedImages:
    """The images that a list names.

    Args:
        splits: by split, or "" where the list has none, the images of each class; those without a label are
            in the split `unlabeled`, under "".
        unnamed: how many images below its folder it does not name.
    """

    splits: Mapping[str, Mapping[str, Listed]]
    unnamed: int


def find_lists(folder: Path) -> list[Path]:
    """Return the lists of images in a folder: what has an ending of one and a file and a label a row."""
    with os.scandir(folder) as entries:
        named = sorted(entry.name for entry in entries if entry.name.lower().endswith(ENDINGS))
    return [folder / name for name in named if name != GROUPS and _is_list(folder / name)]


def _is_list(path: Path) -> bool:
    try:
        headings = _read_headings(path) if path.is_file() else []
        return all(len(_find_headings(headings, part)) == 1 for part in NEEDED)
    except BadData:
        return False


def read_list(path: Path, root: Path, told: Sequence[str], kinds: Mapping[str, str]) -> ListedImages:
    """Return the images that a list names, as they are found below a folder.

    Args:
        path: of the list.
        root: of the data; a file is named by its path below the list's own folder.
        told: `file=HEADING`, `label=HEADING` or `split=HEADING`, of columns that have other headings.
        kinds: the split that each word means.

    Raises:
        BadData: it cannot be read, it names a file that is not there or twice, or a split that is none.
        BadValue: there is no such column.
    """
    columns = _choose_columns(path, told)
    below = path.parent.relative_to(root).as_posix()
    every = Folder(root, "" if below == "." else below).list_images()
    files = _Index(every, path)
    splits: dict[str, dict[str, Listed]] = {}
    named: dict[str, int] = {}
    for line, row in enumerate(_read_rows(path), 2):
        found = files.find(_text(row.get(columns["file"])), line)
        if found[0] in named:
            raise BadData(
                f"image_folder: {path} names {found[0]} in rows {named[found[0]]} and {line}. "
                "Keep one of them."
            )
        named[found[0]] = line
        label = compose(_text(row.get(columns["label"]))) if "label" in columns else ""
        word = _text(row.get(columns["split"])) if "split" in columns else ""
        split = _name_split(word, kinds, path, line) if "split" in columns else ""
        splits.setdefault(split if label else UNLABELED, {}).setdefault(label, []).append(found)
    for classes in splits.values():
        for images in classes.values():
            images.sort()
    return ListedImages(splits, len(every) - len(named))


class _Index:
    """Images by as much of the end of their path as a list may name them by."""

    def __init__(self, images: Listed, path: Path) -> None:
        self.path = path
        self.whole = {file[0]: file for file in images}
        self.stems = _group(images, lambda name: name.rpartition(".")[0] or name)
        self.names = _group(images, lambda name: name.rpartition("/")[2])
        self.bare = _group(images, lambda name: Path(name).stem)

    def find(self, name: str, line: int) -> tuple[str, int, int]:
        """Return the image that a row names.

        Raises:
            BadData: there is none, or there are several.
        """
        name = compose(name.replace("\\", "/").removeprefix("./"))
        below = self.path.parent.name
        for known in (name, name.removeprefix(f"{below}/")):
            if known in self.whole:
                return self.whole[known]
        end = name.rpartition("/")[2]
        for found in (self.stems.get(name), self.names.get(end), self.bare.get(end)):
            if found and len(found) == 1:
                return found[0]
            if found:
                raise BadData(
                    f"image_folder: row {line} of {self.path} names {name!r}, which may be {found[0][0]} or "
                    f"{found[1][0]}. Write its path below {self.path.parent}."
                )
        raise BadData(
            f"image_folder: row {line} of {self.path} names {name!r}, which is no image below "
            f"{self.path.parent}. Take the row out, or set dataset.columns=[file=HEADING] if the files are "
            "in another column."
        )


def _group(images: Listed, key: Any) -> dict[str, Listed]:
    grouped: dict[str, Listed] = {}
    for file in images:
        grouped.setdefault(compose(key(file[0])), []).append(file)
    return grouped


def _name_split(word: str, kinds: Mapping[str, str], path: Path, line: int) -> str:
    kind = kinds.get(_fold(word), "")
    if not kind:
        raise BadData(
            f"image_folder: row {line} of {path} is of the split {word!r}. "
            "Write train, val, test or unlabeled."
        )
    return kind


def _choose_columns(path: Path, told: Sequence[str]) -> dict[str, str]:
    """Return the heading of each part of a row: as it was told, or by its usual names."""
    headings = _read_headings(path)
    columns = {}
    for pair in told:
        part, _, heading = pair.partition("=")
        if part not in HEADINGS or not heading:
            raise BadValue(f"image_folder.columns: {pair!r} is not file=, label= or split= and a heading.")
        if heading not in headings:
            raise BadValue(
                f"image_folder.columns: {path} has no column {heading!r}.{suggest(heading, headings)}"
            )
        columns[part] = heading
    for part in HEADINGS:
        found = [] if part in columns else _find_headings(headings, part)
        if len(found) > 1:
            raise BadData(
                f"image_folder: {path} may have its {part} in {found[0]!r} or in {found[1]!r}. "
                f"Set dataset.columns=[{part}={found[0]}]."
            )
        if not found and part == "file" and part not in columns:
            some = ", ".join(headings[:SHOWN])
            raise BadData(
                f"image_folder: {path} has no column of files; there are {some}. "
                "Set dataset.columns=[file=HEADING,label=HEADING]."
            )
        columns |= {part: found[0]} if found else {}
    return columns


def _find_headings(headings: Sequence[str], part: str) -> list[str]:
    return [heading for heading in headings if _fold(heading) in HEADINGS[part]]


def _fold(heading: str) -> str:
    return heading.strip().lower().translate({ord(sign): None for sign in "_- "})


def _read_headings(path: Path) -> list[str]:
    if path.suffix.lower() == ".parquet":
        return list(_open_parquet(path).schema_arrow.names)
    if path.suffix.lower() in (".csv", ".tsv"):
        return next(_read_lines(path), [])
    return list(next(iter(_read_json(path)), {}))


def _read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a list, by heading."""
    if path.suffix.lower() == ".parquet":
        yield from _read_parquet(path)
    elif path.suffix.lower() in (".csv", ".tsv"):
        lines = _read_lines(path)
        headings = next(lines, [])
        yield from (dict(zip(headings, line, strict=False)) for line in lines if line)
    else:
        yield from _read_json(path)


def _read_lines(path: Path) -> Iterator[list[str]]:
    mark = "\t" if path.suffix.lower() == ".tsv" else None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = "".join(islice(file, 1))
            file.seek(0)
            yield from csv.reader(
                file, delimiter=mark or (";" if first.count(";") > first.count(",") else ",")
            )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"image_folder: {path} cannot be read ({error}). Save it as UTF-8 text.") from None


def _read_json(path: Path) -> Iterable[Row]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                row = json.loads(line) if line.strip() else None
                if row is not None and not isinstance(row, dict):
                    raise BadData(
                        f"image_folder: line {number} of {path} is no object of JSON. Write one a line."
                    )
                if row is not None:
                    yield row
    except (OSError, ValueError, RecursionError) as error:
        raise BadData(
            f"image_folder: {path} cannot be read ({error}). Write an object of JSON a line."
        ) from None


def _read_parquet(path: Path) -> Iterator[Row]:
    file = _open_parquet(path)
    import pyarrow.lib

    try:
        for batch in file.iter_batches(AT_ONCE):
            yield from batch.to_pylist()
    except (OSError, ValueError, pyarrow.lib.ArrowException) as error:
        raise BadData(f"image_folder: {path} cannot be read ({' '.join(str(error).split())}).") from None


def _open_parquet(path: Path) -> Any:
    try:
        import pyarrow.lib
        import pyarrow.parquet
    except ImportError:
        raise BadData(
            f"image_folder: to read {path} takes pyarrow. Run pip install pyarrow, or save it as CSV."
        ) from None
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.lib.ArrowException) as error:
        raise BadData(f"image_folder: {path} cannot be read ({' '.join(str(error).split())}).") from None


def _text(value: Any) -> str:
    """Return what a row says as text: a label 3.0, as a column with gaps has it, is 3."""
    if value is None or value != value:  # not a number: nothing is there  # noqa: PLR0124
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
