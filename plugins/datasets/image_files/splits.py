"""Decide what the folders in a folder are: splits, classes, or neither. One set of rules, on the whole tree.

    train/<class>/*, test/<class>/*     splits, by their names: Training, valid, test_set, ...
    <class>/*                           no split: one is drawn
    *, or one class                     no labels: images to pretrain on
    a list of files and labels          where there are no class folders

What has two readings is refused, and `dataset.splits` says which it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.api import BadData, BadValue, suggest

from .lists import ENDINGS as LIST_ENDINGS
from .lists import UNLABELED, find_lists
from .tree import Folder

KINDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "validate", "dev", "development"),
    "test": ("test", "testing"),
    UNLABELED: ("unlabeled", "unlabelled", "unsupervised"),
}
WORDS = {  # what a split's folder may be called: our choice
    word + ending: kind
    for kind, words in KINDS.items()
    for word in words
    for ending in ("", "set", "data", "images", "split")
}
LABELLED = ("train", "val", "test")
SHOWN = 3  # names in an error

Source = Folder | Path  # of a split: a folder, or a list of files


@dataclass(frozen=True)
class Reading:
    """What a folder of images was taken for.

    Args:
        sources: where the images of each split are: `train` always, or `unlabeled` alone.
        labelled: they have labels, by class folders or a list.
        left_out: folders and files that are no part of it, by name.
        notes: what a reader of a record must know.
    """

    sources: Mapping[str, Source]
    labelled: bool = True
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def name_split(name: str) -> str:
    """Return the split that a folder's name means; empty if it means none."""
    return WORDS.get("".join(letter for letter in name.lower() if letter not in "_- "), "")


def read_splits(top: Folder, told: Sequence[str]) -> Reading:
    """Return what the folders in `top` are.

    Args:
        top: the root of the data.
        told: `train=FOLDER` and so on: the folder below the root, or the list, of each; empty to find out.

    Raises:
        BadData: there is no image, or there are two readings.
        BadValue: what was told names no split, or nothing that is there.
    """
    if told:
        return _read_told(top, told)
    named = _find_named(top)
    splits = {kind: folder for kind, folder in named.items() if kind in LABELLED}
    deep = {kind for kind, folder in splits.items() if folder.class_folders}
    others = [folder for folder in top.folders if folder not in named.values()]
    if "train" in deep:
        return _read_named(top, named, deep, others)
    return _read_flat(top, named, deep, others)


def _read_told(top: Folder, told: Sequence[str]) -> Reading:
    sources: dict[str, Source] = {}
    for pair in told:
        kind, _, place = pair.partition("=")
        if kind not in KINDS or not place:
            near = suggest(kind, KINDS)
            raise BadValue(f"image_folder.splits: {pair!r} is not SPLIT=FOLDER.{near}")
        if kind in sources:
            raise BadValue(f"image_folder.splits: {kind} is there twice. Name each split once.")
        sources[kind] = _find_told(top, kind, place)
    if "train" not in sources and set(sources) != {UNLABELED}:
        raise BadValue(
            f"image_folder.splits: there is no train beside {', '.join(sources)}. Add train=FOLDER."
        )
    train = sources.get("train")
    labelled = isinstance(train, Path) or (train is not None and bool(train.class_folders))
    return Reading(sources, labelled)


def _find_told(top: Folder, kind: str, place: str) -> Source:
    path = top.root / place
    if path.is_file() and path.suffix.lower() in LIST_ENDINGS:
        return path
    if not path.is_dir():
        raise BadValue(
            f"image_folder.splits: {kind} is {place!r}, but {path} is neither a folder nor a list of files "
            f"({', '.join(LIST_ENDINGS)}). Write the path below {top.root}."
        )
    folder = Folder(top.root, "" if place.strip("./") == "" else Path(place).as_posix().strip("/"))
    if not folder.has_images:
        raise BadData(describe_absence(folder))
    if kind in LABELLED and not folder.class_folders and kind != "train":
        raise BadData(_describe_flat(kind, folder))
    return folder


def _find_named(top: Folder) -> dict[str, Folder]:
    """Return the folders that are called as a split is."""
    named: dict[str, Folder] = {}
    for folder in top.folders:
        kind = name_split(folder.name)
        if kind and kind in named:
            raise BadData(
                f"image_folder: {top.place} has both {named[kind].name} and {folder.name}. Keep one of them, "
                f"or set dataset.splits=[train=FOLDER,{kind if kind != 'train' else 'test'}=FOLDER]."
            )
        if kind:
            named[kind] = folder
    return named


def _read_named(
    top: Folder, named: Mapping[str, Folder], deep: set[str], others: Sequence[Folder]
) -> Reading:
    """Return the reading of a folder `train` that has class folders."""
    for kind in ("val", "test"):
        if kind in named and named[kind].images and kind not in deep:
            raise BadData(_describe_flat(kind, named[kind], _advise(named, deep)))
        if kind in named and not named[kind].has_images:
            raise BadData(
                f"image_folder: {named[kind].place} has no image. Fill it or remove it, or leave it out: "
                f"{_advise(named, deep)}."
            )
    train = named["train"]
    beside = [folder for folder in others if folder.has_images] if deep == {"train"} else []
    if beside:
        inner, outer = _name_some(train.class_folders), _name_some(beside)
        raise BadData(
            f"image_folder: {train.place} may be a split, with classes {inner}, or a class beside {outer}. "
            f"Set dataset.splits=[train={train.path}] or dataset.splits=[train=.]."
        )
    sources: dict[str, Source] = {"train": train}
    notes: tuple[str, ...] = ()
    if "val" in deep and "test" not in deep:  # as ImageNet is published
        sources["test"] = named["val"]
        notes = (f"there is no test folder: {named['val'].name} is the test split",)
    else:
        sources |= {kind: named[kind] for kind in ("val", "test") if kind in deep}
    if UNLABELED in named and named[UNLABELED].has_images:
        sources[UNLABELED] = named[UNLABELED]
    return Reading(sources, left_out=tuple(folder.name for folder in others), notes=notes)


def _read_flat(top: Folder, named: Mapping[str, Folder], deep: set[str], others: Sequence[Folder]) -> Reading:
    """Return the reading of a folder in which no folder `train` has class folders."""
    apart = {UNLABELED: named[UNLABELED]} if UNLABELED in named and named[UNLABELED].has_images else {}
    splits = [named[kind] for kind in LABELLED if kind in named]
    with_images = [folder for folder in others if folder.has_images]
    if deep:
        kind = min(deep)
        if "train" in named:
            raise BadData(
                _describe_flat("train", named["train"]) if named["train"].images
                else describe_absence(named["train"])
            )  # fmt: skip
        raise BadData(
            f"image_folder: {top.place} has {named[kind].name}, but no train. Add the folder train, or set "
            f"dataset.splits=[train=FOLDER,{kind}={named[kind].path}]."
        )
    lists = find_lists(Path(top.place))
    if len(with_images) + (len(splits) if with_images else 0) > 1:
        left = tuple(path.name for path in lists)
        _refuse_inner_splits(top, with_images)
        return Reading({"train": top, **apart}, left_out=left)
    if lists:
        return Reading(_share_lists(top, lists))
    if splits and not with_images:
        return _read_unlabelled_splits(top, named)
    if with_images and len(others) > 1:
        empty = next(folder for folder in others if not folder.has_images)
        raise BadData(
            f"image_folder: the class folder {empty.place} has no image. Fill it or remove it, or set "
            "dataset.splits=[unlabeled=.] to pretrain without labels."
        )
    return _read_unlabelled(top, with_images, apart)


def _read_unlabelled_splits(top: Folder, named: Mapping[str, Folder]) -> Reading:
    """Return the reading of folders that are called as splits are and hold images without classes."""
    if "train" not in named:
        first = next(folder for kind, folder in named.items() if kind != UNLABELED)
        raise BadData(
            f"image_folder: {top.place} has {first.name}, but no train. Add the folder train, or set "
            "dataset.splits=[unlabeled=.] to pretrain on its images without labels."
        )
    if not named["train"].has_images:
        raise BadData(describe_absence(named["train"]))
    left = tuple(folder.name for kind, folder in named.items() if kind not in ("train", UNLABELED))
    apart = {UNLABELED: named[UNLABELED]} if UNLABELED in named else {}
    return Reading({"train": named["train"], **apart}, labelled=False, left_out=left)


def _read_unlabelled(top: Folder, with_images: Sequence[Folder], apart: Mapping[str, Folder]) -> Reading:
    """Return the reading of a flat folder, or of one with a single folder of images."""
    if with_images and not top.images:
        (only,) = with_images
        inside = read_inner_names(only)
        if inside:
            raise BadData(
                f"image_folder: {only.place} is the only folder of images there, and has {inside} in "
                f"it. Set dataset.root={only.place}, or dataset.splits=[unlabeled=.] to pretrain on its "
                "images without labels."
            )
    if with_images or top.images:
        return Reading({"train": top}, labelled=False)
    if apart:
        return Reading({UNLABELED: apart[UNLABELED]}, labelled=False)
    raise BadData(describe_absence(top))


def read_inner_names(folder: Folder) -> str:
    """Return the folders of images in a folder where there are several of them, or it has splits."""
    inner = folder.class_folders
    return _name_some(inner) if len(inner) > 1 or any(name_split(one.name) for one in inner) else ""


def _refuse_inner_splits(top: Folder, classes: Sequence[Folder]) -> None:
    """Refuse class folders that have splits in each of them.

    Raises:
        BadData: all have a folder train, and test or val.
    """
    inner = [{name_split(folder.name) for folder in one.folders} for one in classes]
    if all("train" in kinds and kinds & {"val", "test"} for kinds in inner):
        first = classes[0].path
        raise BadData(
            f"image_folder: each class folder in {top.place} has splits in it, as {first}/train. Put the "
            f"splits above, as train/{first}, write a list of files, or set dataset.splits=[train=.] to mix "
            "them."
        )


def _share_lists(top: Folder, lists: Sequence[Path]) -> dict[str, Source]:
    """Return the lists as sources: one of all splits, or one a split by its name."""
    if len(lists) == 1:
        return {"train": lists[0]}
    sources: dict[str, Source] = {}
    for path in lists:
        kind = name_split(path.stem.removesuffix("_labels").removesuffix("-labels"))
        if not kind or kind in sources:
            names = ", ".join(one.name for one in lists)
            raise BadData(
                f"image_folder: {top.place} has several lists of files: {names}. Set dataset.root to one of "
                "them, or dataset.splits=[train=FILE,test=FILE]."
            )
        sources[kind] = path
    if "train" not in sources:
        raise BadData(
            f"image_folder: {top.place} has a list {lists[0].name}, but none of train. Add train.csv."
        )
    return sources


def _advise(named: Mapping[str, Folder], deep: set[str]) -> str:
    """Return the setting that takes the splits with class folders, and no others."""
    kinds = {kind: named[kind].path for kind in LABELLED if kind in deep}
    if "val" in kinds and "test" not in kinds:
        kinds["test"] = kinds.pop("val")
    return f"dataset.splits=[{','.join(f'{kind}={path}' for kind, path in kinds.items())}]"


def _describe_flat(kind: str, folder: Folder, without: str = "") -> str:
    """Return the error about a split whose images are in no class folders."""
    count = len(folder.images)
    rest = f", or leave it out: {without}" if without else ""
    return (
        f"image_folder: {count} {'image lies' if count == 1 else 'images lie'} in {folder.place} "
        "without class folders, e.g. "
        f"{folder.images[0][0]}. Write a list of their labels and set dataset.splits=[{kind}=FILE.csv,...]"
        f"{rest}."
    )


def describe_absence(folder: Folder) -> str:
    """Return the error about a folder without an image: what was found."""
    rest = folder.sum_up()
    found = "; ".join(filter(None, (rest.describe_undecodable(), rest.describe_others()))) or "no file"
    return (
        f"image_folder: there are no images under {folder.place}; found {found}. Set dataset.root to the "
        "folder that holds the class folders or train, or to a list of files and labels."
    )


def _name_some(folders: Sequence[Folder]) -> str:
    more = f" and {len(folders) - SHOWN} more" if len(folders) > SHOWN else ""
    return ", ".join(folder.name for folder in folders[:SHOWN]) + more
