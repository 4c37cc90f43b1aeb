"""Check what a dataset is known by: the same for whoever asks, another one where the images are others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from bench.config import build
from bench.contracts.dataset import DataLocation, Dataset
from bench.contracts.dataset_info import DatasetInfo
from bench.errors import BenchError
from bench.testing.checks import Check, require
from bench.testing.dataset_images import digest_images
from bench.testing.other_process import ask_elsewhere

LARGE = 1 << 26  # bytes of images, from which on they are not read for every setting
Digests = Mapping[str, list[bytes]]


@dataclass(frozen=True)
class Seen:
    """What is found of a dataset.

    Args:
        fingerprint: as it is given.
        content: likewise.
        info: likewise.
        labels: of each split.
        digests: of the images of each split; none where they were not read.
    """

    fingerprint: str
    content: str
    info: DatasetInfo
    labels: Mapping[str, Sequence[int]]
    digests: Digests

    @cached_property
    def every(self) -> set[bytes]:
        """The digests of all images."""
        return {image for images in self.digests.values() for image in images}

    @cached_property
    def names(self) -> dict[bytes, str]:
        """The name of the class of each labelled image, by the digest of the image."""
        pairs = (
            (image, label)
            for split, labels in self.labels.items()
            for image, label in zip(self.digests[split], labels, strict=True)
        )
        return {image: self.info.classes[label] for image, label in pairs if label >= 0}


def look_at(cls: type[Dataset], name: str, config: Any, location: DataLocation, *, read: bool = True) -> Seen:
    """Make a dataset, and return what is found of it."""
    dataset = cls(name, config, location)
    splits = dict.fromkeys((*dataset.splits, dataset.pretrain))
    labels = {split: [int(label) for label in dataset.labels(split)] for split in splits}
    digests = {split: digest_images(dataset.load(split)) for split in splits} if read else {}
    return Seen(dataset.fingerprint(), dataset.content(), dataset.info, labels, digests)


def identity_checks(dataset: Dataset, digests: Digests) -> Iterator[Check]:
    """Yield the checks of a dataset that can be made, of whose images the digests are known by split."""
    yield "another process finds the same images", partial(_compare_elsewhere, dataset, digests)
    yield "fingerprint() does not change with the place of the files", partial(_compare_places, dataset)
    info = dataset.info
    size = info.channels * info.size**2 * sum(map(len, digests.values()))
    if "train" in digests and size <= LARGE:
        here = Seen(
            dataset.fingerprint(),
            dataset.content(),
            info,
            {split: [int(label) for label in dataset.labels(split)] for split in digests},
            digests,
        )
        for field in fields(dataset.config):
            for config in _other_configs(dataset, field.name, here):
                title = f"{field.name}={getattr(config, field.name)}: fingerprint() goes with the images"
                yield title, partial(_compare_settings, dataset, here, config)


def _location(dataset: Dataset) -> DataLocation:
    """Return where its files are, of which none is to be downloaded again."""
    return replace(dataset.location, download=False)


def _compare_elsewhere(dataset: Dataset, digests: Digests) -> None:
    info = dataset.info
    read = info.channels * info.size**2 * sum(map(len, digests.values())) <= LARGE
    ask = partial(look_at, read=read)
    there: Seen = ask_elsewhere(ask, type(dataset), dataset.name, dataset.config, _location(dataset))
    why = "is it of hash(), of the order of a set, of the time, or of a number that nobody seeded?"
    for name in ("fingerprint", "content"):
        one, other = getattr(dataset, name)(), getattr(there, name)
        require(one == other, f"{name}() is {one} here and {other} there: {why}")
    require(info == there.info, f"info is {info} here and {there.info} there: {why}")
    for split, labels in there.labels.items():
        require(list(dataset.labels(split)) == list(labels), f"labels of {split} are others there: {why}")
    for split, images in there.digests.items():
        moved = sorted(digests.get(split, images)) == sorted(images)
        what = "in another order" if moved else "others"
        require(digests.get(split, images) == images, f"images of {split} are {what} there: {why}")


def _compare_places(dataset: Dataset) -> None:
    """Look at the files under another spelling of their folder, and with another one for downloads."""
    made_of, given = (type(dataset), dataset.name, dataset.config), _location(dataset)
    with tempfile.TemporaryDirectory() as folder:
        places = [replace(given, data_dir=Path(folder))]
        if given.root is not None:
            root = given.root.expanduser()
            other = Path(os.path.relpath(root)) if root.is_absolute() else root.absolute()
            places.append(replace(given, root=other))
        for place in places:
            try:
                found = made_of[0](*made_of[1:], place).fingerprint()
            except BenchError:
                continue  # its files are in that folder
            require(found == dataset.fingerprint(), "it does: leave out paths, and what is of this machine")


def _compare_settings(dataset: Dataset, here: Seen, config: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:  # what a setting has written is not the user's
        given = _location(dataset)
        location = given if given.root is None else replace(given, data_dir=Path(folder))
        there = look_at(type(dataset), dataset.name, config, location)
    if here.fingerprint != there.fingerprint:
        _require_other(here, there)
    elif (here.info.size, here.info.channels) == (there.info.size, there.info.channels):
        _require_alike(here, there)


def _require_other(here: Seen, there: Seen) -> None:
    """Require that there is a reason for another fingerprint, and for another content."""
    same = (here.digests, here.labels) == (there.digests, there.labels)
    require(not same, "it changes, but no image or label does: everything would be computed anew")
    selected = here.every == there.every and here.names == there.names
    require(
        not selected or here.content == there.content,
        "content() changes, but the images are the same, in other splits: return a digest of all of them",
    )


def _require_alike(here: Seen, there: Seen) -> None:
    """Require that what has one fingerprint may be compared image by image."""
    same_test = here.info.classes != there.info.classes or here.digests["test"] == there.digests["test"]
    digest_it = "digest the setting, too"
    require(
        same_test,
        f"it is the same, but test images are others: scores would be compared image by image; {digest_it}",
    )
    both = here.every & there.every
    require(bool(both), f"it is the same, but no image is; {digest_it}")
    renamed = sum(here.names.get(image) != there.names.get(image) for image in both)
    require(
        not renamed, f"it is the same, but {renamed} of {len(both)} images have another class; {digest_it}"
    )


def _other_configs(dataset: Dataset, name: str, here: Seen) -> Iterator[Any]:
    """Yield the config with another value of one setting, where one can be found that is accepted."""
    config, cls = dataset.config, type(dataset.config)
    for value in _other_values(config, name, here):
        try:
            other = replace(config, **{name: value})
            build(cls, {name: value}, dataset.name)
            type(dataset)(dataset.name, other, _location(dataset))
        except (BenchError, TypeError, ValueError):
            continue
        yield other
        return


def _other_values(config: Any, name: str, here: Seen) -> Iterator[Any]:
    """Yield values that a setting may have, likely ones first."""
    field = next(field for field in fields(config) if field.name == name)
    value, limits = getattr(config, name), field.metadata
    hint = get_type_hints(type(config))[name]
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    kind = tuple if get_origin(hint) is tuple else kinds[0]
    if limits.get("file"):
        return
    yield from (choice for choice in limits.get("choices") or () if choice != value)
    if kind is bool:
        yield not value
    elif kind is int:
        train = len(here.labels["train"])
        most = limits.get("most")
        numbers = [] if value is None else [value + 1, value - 1]
        yield from (number for number in (*numbers, train // 2, 0 if most is None else int(most)))
    elif kind is float:
        yield from (0.5,) if value is None else (value / 2, value + 1)
    elif kind is tuple and name == "classes" and not value:
        yield tuple(reversed(here.info.classes[:2]))
