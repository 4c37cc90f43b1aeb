"""Check a dataset: what it says of itself is what it loads."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch

from bench.contracts.dataset import DataLocation, Dataset, FileStream, Images
from bench.contracts.dataset_info import DatasetInfo
from bench.errors import BadData
from bench.splits.grouped import labelled_splits, number_groups
from bench.testing.checks import Check, Outcome, class_checks, require, run

Groups = Mapping[str, Sequence[int] | None]  # by split


def outcomes(
    cls: type[Dataset], name: str, config: Any = None, location: DataLocation | None = None
) -> Iterator[Outcome]:
    """Yield every check of a dataset with its error, or none.

    Where no `location` is given and the files are missing, it is checked that this is said in one
    line; the checks that need the files are then left out.
    """
    yield from run(class_checks(cls, Dataset, name))
    built: list[Dataset] = []

    def build() -> None:
        chosen = cls.Config() if config is None else config
        try:
            built.extend(cls(name, chosen, location or DataLocation()) for _ in range(2))
        except BadData as error:
            require(location is None, str(error))
            require("\n" not in str(error), f"the error has more than one line: {error}")

    yield from run([("it is made at once, or says in one line what is missing", build)])
    chosen = cls.Config() if config is None else config
    yield from run(
        [("what is published has an image of each class in train and test", lambda: _published(cls, chosen))]
    )
    if len(built) == 2:
        yield from run(_checks(*built))
        yield from run(_group_checks(built[0]))


def _published(cls: type[Dataset], config: Any) -> None:
    published = cls.published(config)
    if published is None:
        return
    require(cls.about(config) is not None, "published() returns something, and about() nothing")
    require(
        {"train", "test"} <= set(published.counts),
        f"published() has the splits {', '.join(published.counts)}",
    )
    for split, counts in published.counts.items():
        sizes = f"{len(published.classes)} classes and {len(counts)} counts of {split}"
        require(len(counts) == len(published.classes), f"published() has {sizes}")
        require(min(counts) > 0, f"published() has a class without an image in {split}")


def _checks(dataset: Dataset, again: Dataset) -> Iterator[Check]:
    yield "info is a DatasetInfo that can be true", lambda: _info(dataset.info)
    yield "fingerprint() is a text that stays the same", lambda: _fingerprint(dataset, again)
    splits: list[str] = []
    yield "splits are train, test and perhaps val", lambda: splits.extend(_splits(dataset))
    for split in dict.fromkeys((*splits, dataset.pretrain)):
        yield from _split_checks(dataset, again, split)


def _group_checks(dataset: Dataset) -> Iterator[Check]:
    given: dict[str, Sequence[int] | None] = {}
    yield "groups() gives each image a whole number, or none", lambda: given.update(_groups(dataset))
    if any(of_split is not None for of_split in given.values()):
        yield "groups are of train and val alike, and in one split each", lambda: _apart(given)
        yield "groups are the same in another process", lambda: _same_groups(given, dataset)


def _split_checks(dataset: Dataset, again: Dataset, split: str) -> Iterator[Check]:
    loaded: list[Images] = []
    yield f"{split}: loads as Images", lambda: loaded.append(_load(dataset, split))
    if loaded:
        images = loaded[0]
        yield f"{split}: pixels have info's channels and size", lambda: _pixels(dataset.info, images)
        yield f"{split}: labels() are those of load()", lambda: _labels(dataset.labels(split), images)
        yield f"{split}: labels are places in info.classes", lambda: _range(dataset, split, images)
        yield f"{split}: loads alike again", lambda: _again(images, again.load(split))
        if (stream := dataset.stream(split)) is not None:
            yield f"{split}: streams what it loads", lambda: _stream(stream, images, dataset.info)


def _info(info: DatasetInfo) -> None:
    require(isinstance(info, DatasetInfo), f"it is {type(info).__name__}")
    require(len(info.classes) > 1, f"there are {len(info.classes)} classes")
    require(len(set(info.classes)) == len(info.classes), "two classes have one name")
    require(info.channels in (1, 3), f"there are {info.channels} channels")
    require(info.size > 0, f"size is {info.size}")
    for name, values in (("mean", info.mean), ("std", info.std)):
        right = values is None or (len(values) == info.channels and all(0 <= v <= 1 for v in values))
        require(right, f"{name} is {values}; give a value in [0, 1] a channel")


def _fingerprint(dataset: Dataset, again: Dataset) -> None:
    one, other = dataset.fingerprint(), again.fingerprint()
    require(isinstance(one, str) and bool(one), f"it is {one!r}")
    require(one == other, f"it is {one} and then {other}: everything would be computed anew")


def _splits(dataset: Dataset) -> tuple[str, ...]:
    splits = dataset.splits
    require({"train", "test"} <= set(splits) <= {"train", "val", "test"}, f"they are {splits}")
    return splits


def _load(dataset: Dataset, split: str) -> Images:
    images = dataset.load(split)
    require(isinstance(images, Images), f"it is {type(images).__name__}")
    require(len(images) > 0, "it is empty")
    return images


def _pixels(info: DatasetInfo, images: Images) -> None:
    shape, expected = tuple(images.pixels.shape[1:]), (info.channels, info.size, info.size)
    require(shape == expected, f"they are {shape}, info says {expected}")


def _labels(given: Sequence[int], images: Images) -> None:
    labels = torch.as_tensor(given)
    require(images.labels.dtype == torch.int64, f"they are {images.labels.dtype}; use int64")
    require(len(labels) == len(images), f"{len(labels)} labels for {len(images)} images")
    require(bool((labels == images.labels).all()), "they differ")


def _range(dataset: Dataset, split: str, images: Images) -> None:
    present, classes = set(images.labels.tolist()), dataset.info.classes
    wrong = sorted(present - set(range(-1, len(classes))))
    require(not wrong, f"{wrong[:3]} of {len(classes)} classes")
    missing = [classes[label] for label in range(len(classes)) if label not in present]
    require(split != "train" or not missing, f"no image of {', '.join(missing[:3])}")


def _groups(dataset: Dataset) -> Groups:
    groups = {split: dataset.groups(split) for split in dataset.splits}
    for split, of_split in groups.items():
        if of_split is not None:
            numbers, images = np.asarray(of_split), len(dataset.labels(split))
            require(numbers.shape == (images,), f"{split}: they are {numbers.shape} for {images} images")
            require(np.issubdtype(numbers.dtype, np.integer), f"{split}: they are {numbers.dtype}; use int64")
    return groups


def _apart(groups: Groups) -> None:
    given = [groups[split] is not None for split in labelled_splits(groups)]
    require(all(given) or not any(given), "train or val has none; return them for both, or for neither")
    split_of: dict[int, str] = {}
    for split, of_split in groups.items():
        for group in set(np.asarray([] if of_split is None else of_split).tolist()):
            both = f"{split_of.get(group)} and {split}"
            require(group not in split_of, f"group {group} is in {both}; its images are nearly alike")
            split_of[group] = split


def _same_groups(groups: Groups, dataset: Dataset) -> None:
    spawn = multiprocessing.get_context("spawn")  # it draws a seed of its own for hash()
    made_of = type(dataset), dataset.name, dataset.config, dataset.location
    with ProcessPoolExecutor(1, spawn) as pool:
        elsewhere = pool.submit(_list_groups, *made_of).result()
    require(_partition(groups) == _partition(elsewhere), "they are others there; is hash() used?")


def _list_groups(cls: type[Dataset], name: str, config: Any, location: DataLocation) -> Groups:
    dataset = cls(name, config, location)
    return {split: dataset.groups(split) for split in dataset.splits}


def _partition(groups: Groups) -> dict[str, list[int] | None]:
    """Return the groups numbered as they appear: what number stands for a group does not count."""
    return {
        split: None if of_split is None else number_groups(np.asarray(of_split)).tolist()
        for split, of_split in groups.items()
    }


def _again(images: Images, again: Images) -> None:
    same = torch.equal(images.pixels[:], again.pixels[:]) and torch.equal(images.labels, again.labels)
    require(same, "pixels or labels differ; a seed is missing")


def _stream(stream: FileStream, images: Images, info: DatasetInfo) -> None:
    require(len(stream) == len(images), f"{len(stream)} files for {len(images)} images")
    require(torch.equal(stream.labels, images.labels), "labels differ")
    sides: list[tuple[int, int]] = []

    def shrink(height: int, width: int) -> float:
        sides.append((height, width))
        return 1.0

    first = stream.read(stream.files[0], shrink)
    require(not isinstance(first, str), f"the first file cannot be decoded: {first}")
    shape, expected = getattr(first, "shape", ()), [(*side, info.channels) for side in sides]
    require([shape] == expected, f"the first file is {shape}, not {expected}")
