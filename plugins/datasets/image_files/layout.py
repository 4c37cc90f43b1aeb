"""Find the images of a folder: its splits, its classes and their names, without opening an image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData, stamp_of, stratified_holdout

from .class_list import read_class_list
from .groups import number_files, read_groups

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
VAL_FOLDERS = ("val", "valid", "validation")
SPLIT_FOLDERS = ("train", *VAL_FOLDERS, "test")
IGNORED = frozenset({"__MACOSX", "lost+found"})  # beside all that starts with a dot
TEST_SHARE = 0.2  # our choice
SPLIT_SEED = 0
SHOWN = 5  # names in an error

Listed = list[tuple[str, int, int]]  # path under the root, with slashes, bytes and stamp: 0 of a broken link


@dataclass(frozen=True)
class Paths(Sequence[Path]):
    """Files below a folder, each made a `Path` when it is asked for: a million would fill memory.

    Args:
        root: the folder.
        names: under the root, with slashes.
    """

    root: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        """Return the path at an index, or the paths of a slice."""
        if isinstance(index, slice):
            return Paths(self.root, self.names[index])
        return self.root / self.names[index]


@dataclass(frozen=True)
class Files:
    """The image files of one split.

    Args:
        paths: under the root, with slashes, sorted within a class.
        sizes: bytes of each; 0 for an empty file or a link to nothing.
        labels: (n,), int64.
        stamps: (n,), int64, of each file as it was found: `bench.api.file_stamp`.
        groups: (n,), int64, of images that stay together; none where each stands alone.
    """

    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    labels: NDArray[np.int64]
    stamps: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, index: NDArray[np.int64]) -> Files:
        """Return the files at `index`, (m,)."""
        rows = index.tolist()
        return Files(
            tuple(self.paths[i] for i in rows),
            tuple(self.sizes[i] for i in rows),
            self.labels[index],
            self.stamps[index],
            None if self.groups is None else self.groups[index],
        )


@dataclass(frozen=True)
class Layout:
    """What a folder of images holds.

    Args:
        classes: names in the order of their labels.
        splits: the files by split: `train` and `test` always.
        folders: where each split was found, under the root; `test` is absent if it was drawn.
        class_list: the text of class.txt, empty if there is none.
        notes: what a reader of a record must know of how the splits were made.
        grouped: what images of a group share, as groups.csv is headed; empty if there is none.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Files]
    folders: Mapping[str, str]
    class_list: str
    notes: tuple[str, ...]
    grouped: str = ""


def scan(root: Path) -> Layout:
    """Return what `root` holds.

    Raises:
        BadData: there is no such folder, no image or one class in it, a class folder is empty, the
            splits have different classes, or class.txt or groups.csv does not fit the folders.
    """
    if not root.is_dir():
        kind = "it is a file" if root.exists() else "it is not there"
        raise BadData(f"image_folder: {root} is no folder, {kind}. Set dataset.root to a folder of images.")
    folders, notes = _split_folders(root)
    listing = {split: _list_classes(root, folder) for split, folder in folders.items()}
    _refuse_unusable(root, folders, listing)
    stray = sum(len(images.pop("", [])) for images in listing.values())
    if stray:
        notes = (*notes, f"images outside of any class folder that were left out: {stray}")
    keys, names, text = read_class_list(root, folders["train"], sorted(listing["train"]))
    splits = {split: _files(images, keys) for split, images in listing.items()}
    grouped, groups = read_groups(root)
    if grouped:
        numbers = number_files(groups, {split: files.paths for split, files in splits.items()}, root)
        splits = {split: replace(files, groups=numbers[split]) for split, files in splits.items()}
    if "test" not in splits:
        splits |= _draw_test_split(splits["train"], names)
        share = f"about a fifth of each class, by whole {grouped}" if grouped else "a fifth of each class"
        notes = (*notes, f"the test split is {share}, drawn with seed {SPLIT_SEED}")
    return Layout(names, splits, folders, text, notes, grouped)


def _split_folders(root: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the folder of each split under the root, and what to note of them."""
    present = {entry.name.lower(): entry.name for entry in _entries(root) if _is_folder(entry)}
    vals = [present[name] for name in VAL_FOLDERS if name in present]
    if len(vals) > 1:
        raise BadData(f"image_folder: {root} has both {vals[0]} and {vals[1]}. Keep one of them.")
    if "train" not in present:
        others = [present[name] for name in SPLIT_FOLDERS if name in present]
        if others:
            raise BadData(f"image_folder: {root} has {others[0]}, but no train. Add the folder train.")
        return {"train": ""}, ()
    folders = {"train": present["train"]}
    if "test" in present:
        return folders | ({"val": vals[0]} if vals else {}) | {"test": present["test"]}, ()
    if vals:  # as ImageNet is published
        return folders | {"test": vals[0]}, (f"there is no test folder: {vals[0]} is the test split",)
    return folders, ()


def _list_classes(root: Path, folder: str) -> dict[str, Listed]:
    """Return the images of each class folder, and under "" those beside the class folders."""
    top = root / folder
    prefix = f"{folder}/" if folder else ""
    above = frozenset({_identity(root), _identity(top)})
    listing: dict[str, Listed] = {"": []}
    for entry in _entries(top):
        if _is_folder(entry):
            below = above | {_identity(entry.path)}
            listing[entry.name] = sorted(_images(entry.path, f"{prefix}{entry.name}/", below))
        elif _is_image(entry.name):
            listing[""].append((prefix + entry.name, *_size_and_stamp(entry)))
    return listing


def _images(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, int, int]]:
    for entry in _entries(folder):
        if _is_folder(entry):
            here = _identity(entry.path)
            if here not in above:  # else a link leads back to a folder that it lies in
                yield from _images(entry.path, f"{prefix}{entry.name}/", above | {here})
        elif _is_image(entry.name):
            yield prefix + entry.name, *_size_and_stamp(entry)


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [e for e in entries if not e.name.startswith(".") and e.name not in IGNORED]
    except OSError as error:
        raise BadData(f"image_folder: {folder} cannot be read ({error.strerror}).") from None


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _size_and_stamp(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        # not `entry.stat()`, which has no inode on Windows; and making a Path takes longer than the call
        status = os.stat(entry.path)  # noqa: PTH116
    except OSError:  # a link to nothing
        return 0, 0
    return status.st_size, stamp_of(status)


def _identity(folder: str | Path) -> tuple[int, int]:
    status = Path(folder).stat()
    return status.st_dev, status.st_ino


def _refuse_unusable(
    root: Path, folders: Mapping[str, str], listing: Mapping[str, Mapping[str, Listed]]
) -> None:
    if not any(images for name, images in listing["train"].items() if name):
        raise BadData(_describe_absence(root, folders["train"], listing["train"][""]))
    for split, classes in listing.items():
        for name, images in classes.items():
            if name and not images:
                folder = root / folders[split] / name
                raise BadData(f"image_folder: the class folder {folder} has no image. Fill it or remove it.")
    train = set(listing["train"]) - {""}
    if len(train) == 1:
        inner = root / folders["train"] / train.pop()
        raise BadData(
            f"image_folder: {inner} is the only class folder. Add a second class{_suggest_root(inner)}."
        )
    for split in listing:
        _refuse_other_classes(train, set(listing[split]) - {""}, folders[split])


def _refuse_other_classes(train: Collection[str], other: Collection[str], folder: str) -> None:
    unknown, absent = sorted(set(other) - set(train)), sorted(set(train) - set(other))
    if unknown:
        raise BadData(
            f"image_folder: {folder} has classes that train has not: {_some(unknown)}. "
            "Give both the same class folders."
        )
    if absent:
        raise BadData(
            f"image_folder: {folder} has not all classes of train, it lacks: {_some(absent)}. "
            "Give both the same class folders."
        )


def _describe_absence(root: Path, folder: str, beside: Listed) -> str:
    """Return the error about a folder without images in class folders: what was sought and found."""
    top = root / folder
    endings = Counter(
        Path(name).suffix.lower() or "no ending" for _, _, names in os.walk(top) for name in names
    )
    present = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(SHOWN)) or "no file"
    if beside:
        count = f"{len(beside)} images" if len(beside) > 1 else "1 image"
        present = f"{count} beside class folders, e.g. {beside[0][0]}"
    sought = "<class>/*, ending in " + " ".join(ENDINGS)
    return (
        f"image_folder: there are no images in class folders under {top}. Looked for {sought}; "
        f"found {present}. Set dataset.root to the folder that holds the class folders or train."
    )


def _suggest_root(folder: Path) -> str:
    inside = sorted(e.name for e in _entries(folder) if _is_folder(e))
    return f", or set dataset.root={folder}" if inside else ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _files(images: Mapping[str, Listed], keys: Sequence[str]) -> Files:
    listed = [file for key in keys for file in images[key]]
    labels = np.repeat(np.arange(len(keys)), [len(images[key]) for key in keys])
    paths, sizes = tuple(path for path, _, _ in listed), tuple(size for _, size, _ in listed)
    return Files(paths, sizes, labels, np.array([stamp for _, _, stamp in listed], dtype=np.int64))


def _draw_test_split(files: Files, names: Sequence[str]) -> dict[str, Files]:
    """Return the files in two splits, each with every class."""
    single = np.flatnonzero(np.bincount(files.labels) == 1)
    if len(single):
        raise BadData(
            f"image_folder: the class {names[single[0]]!r} has one image, to train and to test takes two. "
            "Add an image, or a folder test."
        )
    train, test = stratified_holdout(files.labels, TEST_SHARE, SPLIT_SEED, files.groups)
    absent = np.flatnonzero(np.bincount(files.labels[test], minlength=len(names)) == 0)
    if len(absent):  # with groups only
        raise BadData(
            f"image_folder: no group of {names[absent[0]]!r} can be tested on, for each class has to keep "
            "one to train on. Add images of another group, or a folder test."
        )
    return {"train": files.take(train), "test": files.take(test)}
