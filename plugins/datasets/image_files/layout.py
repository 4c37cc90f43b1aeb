"""Find the images of a folder: its splits, its classes and their names, without decoding an image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData, BadValue, stratified_holdout

from .class_list import read_class_list
from .groups import number_files, read_groups
from .lists import ENDINGS as LIST_ENDINGS
from .lists import UNLABELED, read_list
from .splits import LABELLED, WORDS, Reading, Source, describe_absence, read_splits
from .tree import Folder, Listed

TEST_SHARE = 0.2  # our choice
SPLIT_SEED = 0
SHOWN = 5  # names in an error

Listing = dict[str, dict[str, Listed]]  # by split, the images of each class; under "" those of none


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

    def joined(self, other: Files) -> Files:
        """Return these files and, behind them, others; without groups."""
        return Files(
            self.paths + other.paths,
            self.sizes + other.sizes,
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.stamps, other.stamps]),
        )


@dataclass(frozen=True)
class Layout:
    """What a folder of images holds.

    Args:
        root: that the paths are under; of a list, its folder.
        classes: names in the order of their labels; none where there are no labels.
        splits: the files by split: `train` and `test` always. Without labels they are all images, and some
            of these; labels are -1.
        unlabeled: images to pretrain on beside `train`.
        folders: where each split was found, under the root; `test` is absent if it was drawn.
        class_list: the text of class.txt, empty if there is none.
        notes: what a reader of a record must know of how the splits were made.
        left_out: what is no part of it, for whoever starts a run.
        grouped: what images of a group share, as groups.csv is headed; empty if there is none.
        is_listed: labels or splits are those of a list, and not in the paths.
        has_unlabeled: there are images without labels beside those with, whether or not they are used.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, Files]
    unlabeled: Files | None
    folders: Mapping[str, str]
    class_list: str
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    grouped: str = ""
    is_listed: bool = False
    has_unlabeled: bool = False


@dataclass(frozen=True)
class Told:
    """What the settings say of a layout.

    Args:
        splits: `train=FOLDER` and so on; empty to find out.
        columns: `file=HEADING` and so on, of a list.
        classes: that are used; others may be empty. Empty for all.
        unlabeled: what has no label is pretrained on.
    """

    splits: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    unlabeled: bool = True


def scan(given: Path, told: Told = Told()) -> Layout:
    """Return what a folder, or a list of files, holds.

    Raises:
        BadData: there is no such folder, no image in it, it has two readings, a class folder is empty, the
            splits have different classes, or class.txt, groups.csv or a list does not fit the files.
        BadValue: what was told fits nothing.
    """
    root, reading = _read(given, told)
    is_listed = any(isinstance(source, Path) for source in reading.sources.values())
    if told.columns and not is_listed:
        raise BadValue(
            f"image_folder.columns: no list of files is read in {given}, whose folders say what there is. "
            "Leave dataset.columns out, or set dataset.root to a list."
        )
    listing, notes, left_out = _list_sources(root, reading, told)
    if not reading.labelled or set(listing) == {UNLABELED}:
        return _lay_out_unlabelled(root, reading, listing, notes, left_out)
    unlabeled = listing.pop(UNLABELED, {})
    _refuse_unusable(root, reading, listing, told.classes)
    train = reading.sources["train"]
    folder = "" if isinstance(train, Path) else train.path
    found = dict.fromkeys(name for split in LABELLED for name in listing.get(split, {}) if name)
    order = sorted(found, key=_natural_order(found)) if is_listed else list(found)
    keys, names, text = read_class_list(root, folder, order)
    splits = {split: _files(images, keys) for split, images in listing.items()}
    grouped, groups = read_groups(root)
    if grouped:
        numbers = number_files(groups, {split: files.paths for split, files in splits.items()}, root)
        splits = {split: replace(files, groups=numbers[split]) for split, files in splits.items()}
    if "test" not in splits:
        splits |= _draw_test_split(splits["train"], names, told.classes)
        share = f"about a fifth of each class, by whole {grouped}" if grouped else "a fifth of each class"
        notes = (*notes, f"the test split is {share}, drawn with seed {SPLIT_SEED}")
    extra = _unlabelled_files(unlabeled) if unlabeled and told.unlabeled else None
    if extra is not None:
        notes = (*notes, f"pretraining uses the {len(extra):,} images without labels, too")
    folders = {} if is_listed else {s: f.path for s, f in reading.sources.items() if isinstance(f, Folder)}
    if extra is None:
        folders.pop(UNLABELED, None)
    return Layout(
        root,
        names,
        splits,
        extra,
        folders,
        text,
        notes,
        left_out,
        grouped,
        is_listed,
        has_unlabeled=bool(unlabeled),
    )


def _natural_order(labels: Collection[str]) -> Any:
    """Return what sorts the labels of a list: numbers by their value."""
    return int if all(label.isdecimal() for label in labels) else str


def _read(given: Path, told: Told) -> tuple[Path, Reading]:
    """Return the root of the data and what it was taken for."""
    if given.is_file() and given.suffix.lower() in LIST_ENDINGS:
        if told.splits:
            raise BadValue(
                "image_folder.splits: dataset.root is a list already. Set dataset.root to its folder."
            )
        return given.parent, Reading({"train": given})
    if not given.is_dir():
        kind = "it is a file" if given.exists() else "it is not there"
        raise BadData(
            f"image_folder: {given} is no folder, {kind}. Set dataset.root to a folder of images, or to "
            f"a list of files and labels ({', '.join(LIST_ENDINGS)})."
        )
    return given, read_splits(Folder(given), told.splits)


def _list_sources(
    root: Path, reading: Reading, told: Told
) -> tuple[Listing, tuple[str, ...], tuple[str, ...]]:
    """Return the images of each split by class, notes, and what was left out."""
    listing: Listing = {}
    notes, left_out = list(reading.notes), [f"{name}, beside the splits" for name in reading.left_out]
    stray = unnamed = 0
    for split, source in reading.sources.items():
        if isinstance(source, Path):
            listed = read_list(source, root, told.columns, WORDS)
            _merge_listed(listing, split, listed.splits, source)
            unnamed += listed.unnamed
            continue
        rest = source.sum_up()
        apart = [
            one.path for kind, one in reading.sources.items() if kind != split and isinstance(one, Folder)
        ]
        classes = {} if split == UNLABELED or not reading.labelled else _list_classes(source, apart)
        listing[split] = classes or {"": [f for f in source.list_images() if not _is_below(f[0], apart)]}
        if classes:
            stray += len(source.images)
        notes += [f"left out: {text}" for text in [rest.describe_undecodable()] if text]
        left_out += [text for text in [rest.describe_others(), ", ".join(rest.generated)] if text]
    if stray:
        notes.append(f"images outside of any class folder that were left out: {stray}")
    if unnamed and len(reading.sources) == 1:
        notes.append(f"images that the list does not name and that were left out: {unnamed}")
    return listing, tuple(dict.fromkeys(notes)), tuple(dict.fromkeys(left_out))


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders if folder)


def _merge_listed(
    listing: Listing, split: str, listed: Mapping[str, Mapping[str, Listed]], source: Path
) -> None:
    """Add what a list has to the images of each split; where it has no splits, to those of its own."""
    for own, classes in listed.items():
        into = listing.setdefault(own or split, {})
        for name, images in classes.items():
            if into.get(name):
                raise BadData(f"image_folder: {source} and another list both have {own or split}. Keep one.")
            into[name] = images


def _list_classes(source: Folder, apart: Collection[str]) -> dict[str, Listed]:
    """Return the images of each class folder, by its name."""
    listing: dict[str, Listed] = {}
    paths: dict[str, str] = {}
    for folder in source.folders:
        if folder.path in apart:
            continue
        if folder.name in listing:
            raise BadData(
                f"image_folder: {source.place} has two folders {folder.name}, in two forms of Unicode "
                f"({paths[folder.name]!a} and {folder.path!a}). Put their images into one."
            )
        listing[folder.name], paths[folder.name] = folder.list_images(), folder.path
    return listing


def _lay_out_unlabelled(
    root: Path, reading: Reading, listing: Listing, notes: tuple[str, ...], left_out: tuple[str, ...]
) -> Layout:
    """Return the layout of images without labels: all of them to train on, and a fifth of them to look at."""
    every = [file for classes in listing.values() for images in classes.values() for file in images]
    train = _unlabelled_files({"": sorted(set(every))})
    if not len(train):
        raise BadData(describe_absence(Folder(root)))
    _, test = stratified_holdout(np.zeros(len(train), dtype=np.int64), TEST_SHARE, SPLIT_SEED)
    said = (
        "there are no labels: all images are pretrained on, and what looks at test images looks at a fifth "
        f"of them, drawn with seed {SPLIT_SEED}"
    )
    folders = {s: f.path for s, f in reading.sources.items() if isinstance(f, Folder)}
    splits = {"train": train, "test": train.take(test) if len(test) else train}
    return Layout(root, (), splits, None, {"unlabeled": "", **folders}, "", (*notes, said), left_out)


def _unlabelled_files(classes: Mapping[str, Listed]) -> Files:
    files = _files({"": [file for images in classes.values() for file in images]}, ("",))
    return replace(files, labels=np.full(len(files), -1, dtype=np.int64))


def _refuse_unusable(root: Path, reading: Reading, listing: Listing, chosen: Collection[str]) -> None:
    """Refuse classes that cannot be used; those that are not chosen need no image."""
    for split, classes in listing.items():
        for name, images in classes.items():
            if name and not images and (not chosen or name in chosen):
                source = reading.sources[split]
                place = f"{source.place}/{name}" if isinstance(source, Folder) else f"{name} of {source}"
                others = ",".join(sorted(key for key, files in classes.items() if key and files))
                raise BadData(
                    f"image_folder: the class folder {place} has no image. Fill it or remove it, or set "
                    f"dataset.classes=[{others}]."
                )
    if "train" not in listing:
        raise BadData(f"image_folder: no image under {root} is of the split train. Write some as train.")
    train = set(listing["train"])
    if len(train) == 1:
        raise BadData(
            f"image_folder: there is one class, {train.pop()}. Add a second, or leave the labels out."
        )
    for split, classes in listing.items():
        _refuse_other_classes(train, set(classes), reading.sources.get(split), split, set(chosen))


def _refuse_other_classes(
    train: set[str], other: set[str], source: Source | None, split: str, chosen: set[str]
) -> None:
    folder = source.path if isinstance(source, Folder) else split
    used = chosen or train | other
    unknown, absent = sorted((other - train) & used), sorted((train - other) & used)
    if unknown:
        raise BadData(
            f"image_folder: {folder} has classes that train has not: {_some(unknown)}. "
            "Give both the same class folders, or choose some with dataset.classes."
        )
    if absent:
        raise BadData(
            f"image_folder: {folder} has not all classes of train, it lacks: {_some(absent)}. "
            "Give both the same class folders, or choose some with dataset.classes."
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _files(images: Mapping[str, Listed], keys: Sequence[str]) -> Files:
    listed = [file for key in keys for file in images.get(key, ())]
    labels = np.repeat(np.arange(len(keys)), [len(images.get(key, ())) for key in keys])
    paths, sizes = tuple(path for path, _, _ in listed), tuple(size for _, size, _ in listed)
    return Files(paths, sizes, labels, np.array([stamp for _, _, stamp in listed], dtype=np.int64))


def _draw_test_split(files: Files, names: Sequence[str], chosen: Collection[str]) -> dict[str, Files]:
    """Return the files in two splits, each with every class that is used."""
    used = np.array([not chosen or name in chosen for name in names])
    single = np.flatnonzero(used & (np.bincount(files.labels, minlength=len(names)) == 1))
    if len(single):
        raise BadData(
            f"image_folder: the class {names[single[0]]!r} has one image, to train and to test takes two. "
            "Add an image, or a folder test."
        )
    train, test = stratified_holdout(files.labels, TEST_SHARE, SPLIT_SEED, files.groups)
    absent = np.flatnonzero(used & (np.bincount(files.labels[test], minlength=len(names)) == 0))
    if len(absent):  # with groups only
        raise BadData(
            f"image_folder: no group of {names[absent[0]]!r} can be tested on, for each class has to keep "
            "one to train on. Add images of another group, or a folder test."
        )
    return {"train": files.take(train), "test": files.take(test)}
