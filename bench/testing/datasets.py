"""Check a dataset: what it says of itself is what it loads, whoever asks, and test images are apart."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from bench.contracts.dataset import DataLocation, Dataset, Images
from bench.contracts.dataset_info import DatasetInfo
from bench.errors import BadData, BenchError, one_line
from bench.splits.grouped import labelled_splits, number_groups
from bench.testing.checks import Check, Outcome, class_checks, require, run
from bench.testing.dataset_identity import identity_checks
from bench.testing.dataset_images import digest_images, image_checks
from bench.testing.other_process import ask_elsewhere
from bench.testing.process_state import ProcessState, keeping_switches, seeded

SHARED = 0.01  # share of the test images that may be training images, too: some data have a few
Groups = Mapping[str, Sequence[int] | None]  # by split


def outcomes(
    cls: type[Dataset], name: str, config: Any = None, location: DataLocation | None = None
) -> Iterator[Outcome]:
    """Yield every check of a dataset with its error, or none.

    Where no `location` is given and the files are missing, it is checked that this is said in one
    line; the checks that need the files are then left out.
    """
    yield from run(class_checks(cls, Dataset, name))
    s = _Subject(cls, name, config, location)
    yield from run([("it is made at once, or says in one line what is missing", s.make)])
    yield from run(
        [
            (
                "what is published has an image of each class in train and test",
                lambda: _published(cls, s.config),
            )
        ]
    )
    if len(s.made) == 2:
        yield from run(keeping_switches(_checks(s)))
        yield from run(keeping_switches(_group_checks(s.made[0])))
        yield from run(keeping_switches(identity_checks(s.made[0], s.digests)))
    missing = "a folder that is not there is refused in one line", s.refuse_missing_folder
    yield from run(keeping_switches([missing]))


class _Subject:
    """A dataset that is made twice, each time where other random numbers are to be had."""

    def __init__(self, cls: type[Dataset], name: str, config: Any, location: DataLocation | None) -> None:
        self.cls, self.name, self.given = cls, name, location
        self.config = cls.Config() if config is None else config
        self.made: list[Dataset] = []
        self.digests: dict[str, list[bytes]] = {}  # of the images of each split

    @cached_property
    def location(self) -> DataLocation:
        return self.given or DataLocation()

    def make(self) -> None:
        try:
            with _as_told(self.location):
                self.made.extend(self._build(seed) for seed in (1, 2))
        except BadData as error:
            require(self.given is None, str(error))
            require("\n" not in str(error), f"the error has more than one line: {error}")

    def _build(self, seed: int) -> Dataset:
        with seeded(seed):
            return self.cls(self.name, self.config, self.location)

    def refuse_missing_folder(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            nowhere = _Noting(root=Path(folder) / "not-there", data_dir=Path(folder) / "data")
            try:
                dataset = self.cls(self.name, self.config, nowhere)
            except BenchError as error:
                require("\n" not in str(error), f"the error has more than one line: {error}")
            else:
                self._refuse_late(dataset, nowhere)

    def _refuse_late(self, dataset: Dataset, nowhere: _Noting) -> None:
        """Refuse a dataset that was made without its folder, and has one: it does not do without later."""
        try:
            with _offline(), seeded(1):
                dataset.load("test")
        except Exception as error:  # noqa: BLE001 - whatever it is, the constructor has not said it
            late = f"it is made all the same, and load() raises {one_line(error).rstrip('.')}"
        else:
            is_told = self.given is not None and self.given.root is not None
            late = "it is made and loaded all the same" if is_told else ""
        require(
            not late or not nowhere.asked,
            f"{late}. Look for the files in the constructor, so that it is known before any training",
        )


class _Noting(DataLocation):
    """A location that notes that a dataset asks for its folders: one without files does not."""

    def __getattribute__(self, name: str) -> Any:
        """Return the attribute."""
        if name in ("root", "data_dir"):
            vars(self).setdefault("noted", set()).add(name)
        return super().__getattribute__(name)

    @property
    def asked(self) -> bool:
        """Whether it was asked for one."""
        return bool(vars(self).get("noted"))


@contextlib.contextmanager
def _offline() -> Iterator[list[str]]:
    """Refuse the network in the block, and give the hosts that were asked for."""
    asked: list[str] = []

    def refuse(host: Any, *_: Any, **__: Any) -> Any:
        asked.append(str(host))
        raise OSError(f"{host}: there is no network in a check")

    with patch.object(socket, "getaddrinfo", refuse):
        yield asked


@contextlib.contextmanager
def _as_told(location: DataLocation) -> Iterator[None]:
    """Refuse the network in the block, where nothing is to be downloaded."""
    if location.download:
        yield
        return
    with _offline() as asked:
        try:
            yield
        finally:
            host = "".join(asked[:1])
            require(not asked, f"it asks {host}; download only where location.download is true")


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


def _checks(s: _Subject) -> Iterator[Check]:
    dataset, again = s.made
    yield "info is a DatasetInfo that can be true", lambda: _info(dataset.info)
    yield "about() is what info says", lambda: _about(dataset)
    yield "fingerprint() is a text that stays the same", lambda: _fingerprint(dataset, again)
    before = (again.fingerprint(), again.content(), again.info)
    splits: list[str] = []
    yield "splits are train, test and perhaps val", lambda: splits.extend(_splits(dataset))
    for split in dict.fromkeys((*splits, dataset.pretrain)):
        yield from _split_checks(s, split)
    if "test" in s.digests:
        yield "no image is in two splits", lambda: _overlap(s.digests)
    yield "fingerprint() and info stay the same when images were loaded", lambda: _steady(again, *before)


def _split_checks(s: _Subject, split: str) -> Iterator[Check]:
    dataset, again = s.made
    loaded: list[tuple[Images, ProcessState]] = []

    def load() -> None:
        with seeded(1), _as_told(s.location):
            before, images = ProcessState(), _load(dataset, split)
            switched = before.changed_switches()
            loaded.append((images, ProcessState()))
        require(not switched, f"it changes {', '.join(switched)}; put back what you switch")

    yield f"{split}: loads as Images", load
    if loaded:
        images, process = loaded[0]
        s.digests[split] = digest_images(images)
        yield from image_checks(dataset, split, images, s.digests[split])
        yield f"{split}: loads alike again", lambda: _again(images, s.digests[split], process, again, split)


def _group_checks(dataset: Dataset) -> Iterator[Check]:
    given: dict[str, Sequence[int] | None] = {}
    yield "groups() gives each image a whole number, or none", lambda: given.update(_groups(dataset))
    if any(of_split is not None for of_split in given.values()):
        yield "groups are of train and val alike, and in one split each", lambda: _apart(given)
        yield "groups are the same in another process", lambda: _same_groups(given, dataset)


def _info(info: DatasetInfo) -> None:
    require(isinstance(info, DatasetInfo), f"it is {type(info).__name__}")
    require(isinstance(info.classes, tuple), f"classes is a {type(info.classes).__name__}; use a tuple")
    require(
        len(info.classes) != 1, "there is one class; name at least two, or none where there are no labels"
    )
    named = all(isinstance(name, str) and name.strip() for name in info.classes)
    require(named, f"classes are {info.classes[:3]}; use their names, as texts")
    require(len(set(info.classes)) == len(info.classes), "two classes have one name")
    require(info.channels in (1, 3), f"there are {info.channels} channels")
    require(info.size > 0, f"size is {info.size}")
    for name, values in (("mean", info.mean), ("std", info.std)):
        right = values is None or (len(values) == info.channels and all(0 <= v <= 1 for v in values))
        require(right, f"{name} is {values}; give a value in [0, 1] a channel")
    require((info.mean is None) == (info.std is None), "it has one of mean and std; give both, or neither")
    notes = isinstance(info.notes, tuple) and all(isinstance(note, str) for note in info.notes)
    require(notes, f"notes are {info.notes!r}; use a tuple of sentences")
    require(not info.images, f"images is {info.images}; leave it out, the harness counts them")


def _about(dataset: Dataset) -> None:
    about, info = dataset.about(dataset.config), dataset.info
    if about is None:
        return
    require(isinstance(about, DatasetInfo), f"it is {type(about).__name__}")
    known = {field.name for field in fields(about)} - {"classes", "notes", "groups", "images"}
    other = [name for name in sorted(known) if getattr(about, name) != getattr(info, name)]
    require(
        not other,
        f"{', '.join(other)}: about() and info differ; a plan is made of the one, a run of the other",
    )


def _fingerprint(dataset: Dataset, again: Dataset) -> None:
    for name in ("fingerprint", "content"):
        one, other = getattr(dataset, name)(), getattr(again, name)()
        require(isinstance(one, str) and bool(one), f"{name}() is {one!r}")
        require(one == other, f"{name}() is {one} and then {other}: everything would be computed anew")


def _steady(dataset: Dataset, fingerprint: str, content: str, info: DatasetInfo) -> None:
    require(dataset.fingerprint() == fingerprint, "fingerprint() is another one after load()")
    require(dataset.content() == content, "content() is another one after load()")
    require(dataset.info == info, "info is another one after load()")


def _splits(dataset: Dataset) -> tuple[str, ...]:
    splits = dataset.splits
    require({"train", "test"} <= set(splits) <= {"train", "val", "test"}, f"they are {splits}")
    require(len(set(splits)) == len(splits), f"one is there twice: {splits}")
    return splits


def _load(dataset: Dataset, split: str) -> Images:
    images = dataset.load(split)
    require(isinstance(images, Images), f"it is {type(images).__name__}")
    require(len(images) > 0, "it is empty")
    return images


def _again(images: Images, digests: list[bytes], process: ProcessState, again: Dataset, split: str) -> None:
    """Load once more, where the random numbers that all share are others."""
    with seeded(2):
        loaded, seeding = again.load(split), process.list_seeded(ProcessState())
    advice = "draw from torch.Generator().manual_seed(seed_of(...)), or another generator of your own"
    same = bool((images.labels == loaded.labels).all()) if len(images) == len(loaded) else False
    require(same and digest_images(loaded) == digests, f"pixels or labels differ; {advice}")
    require(not seeding, f"it seeds {' and '.join(seeding)} random numbers, which all share; {advice}")


def _overlap(digests: Mapping[str, list[bytes]]) -> None:
    pairs = [("test", split) for split in digests if split != "test"]
    for part, split in [*pairs, *[("val", "train")] * ("val" in digests)]:
        known = set(digests[split])
        both = sum(image in known for image in digests[part])
        require(
            both <= max(1, SHARED * len(digests[part])),
            f"{both} of the {len(digests[part])} images of {part} are in {split}, too, pixel for pixel: "
            "what is learnt by heart would be taken for what is known",
        )


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
    made_of = type(dataset), dataset.name, dataset.config, replace(dataset.location, download=False)
    elsewhere = ask_elsewhere(_list_groups, *made_of)
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
