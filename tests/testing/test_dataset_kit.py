"""The conformance kit finds what a dataset does wrong, and says what it is."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.api import (
    BadData,
    DataLocation,
    Dataset,
    DatasetInfo,
    FileStream,
    Images,
    PublishedData,
    Selection,
    choose,
    chosen_classes,
    digest,
    seed_of,
    setting,
)
from bench.testing import check, check_dataset

COUNTS = {"train": 24, "test": 12}
SIZE = 4


def failures(cls: type[Dataset], location: DataLocation | None = None) -> list[str]:
    found = check("datasets", cls, "it", location=location)
    return [f"{title}: {error}" for title, error in found if error is not None]


class Noise(Dataset):
    """Noise, which is brighter for dogs."""

    generation: ClassVar[int] = 0

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(classes=("cat", "dog"), channels=1, size=SIZE)

    def fingerprint(self) -> str:
        return digest(["noise", SIZE, COUNTS])

    def labels(self, split: str) -> Sequence[int]:
        return [index % 2 for index in range(COUNTS.get(split, 12))]

    def draw(self, split: str) -> Tensor:
        drawn = torch.Generator().manual_seed(seed_of("noise", split))
        return torch.randint(20, 150, (COUNTS.get(split, 12), 1, SIZE, SIZE), generator=drawn)

    def load(self, split: str) -> Images:
        labels = torch.tensor(self.labels(split))
        return Images((self.draw(split) + 100 * labels[:, None, None, None]).to(torch.uint8), labels)


# ---- right ones, which are not like the built-in ones


class Selected(Noise):
    """Noise, of which classes and images can be chosen."""

    Config: ClassVar[type] = Selection

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, classes=chosen_classes(("cat", "dog"), self.config, self.name))

    def chosen(self, split: str) -> tuple[Any, Any]:
        return choose(np.array(super().labels(split)), ("cat", "dog"), self.config, self.name, split)

    def labels(self, split: str) -> Sequence[int]:
        return [int(label) for label in self.chosen(split)[1]]

    def load(self, split: str) -> Images:
        index, labels = self.chosen(split)
        bright = torch.tensor([i % 2 for i in index])[:, None, None, None]
        pixels = super().draw(split)[torch.from_numpy(index)] + 100 * bright
        return Images(pixels.to(torch.uint8), torch.from_numpy(labels))


class Folded(Noise):
    """Noise in three folds, one of which is tested on; its own validation split has no group."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        fold: int = setting(0, "which fold is tested on", least=0, most=2)

    def fingerprint(self) -> str:
        return digest([super().fingerprint(), self.config.fold])

    def content(self) -> str:
        return super().fingerprint()

    def rows(self, split: str) -> Tensor:
        folds = torch.arange(36) // 2 % 3
        return torch.where((folds == self.config.fold) == (split == "test"))[0]

    def labels(self, split: str) -> Sequence[int]:
        return [int(row) % 2 for row in self.rows(split)]

    def draw(self, split: str) -> Tensor:
        every = torch.cat([super(Folded, self).draw(part) for part in ("train", "test")])
        return every[self.rows(split)]


class Rows:
    """Pixels that are made when they are looked at."""

    dtype, device, ndim = torch.uint8, torch.device("cpu"), 4

    def __init__(self, made: Tensor) -> None:
        self.made, self.shape, self.nbytes = made, made.shape, made.nbytes

    def __len__(self) -> int:
        return len(self.made)

    def __getitem__(self, rows: Any) -> Tensor:
        return self.made[rows].clone()

    def split(self, count: int) -> Any:
        return (self[start : start + count] for start in range(0, len(self), count))

    def to(self, device: torch.device) -> Rows:
        return self


class Lazy(Noise):
    """Noise that is made when it is looked at."""

    rows: ClassVar[type] = Rows

    def load(self, split: str) -> Images:
        images = super().load(split)
        return Images(self.rows(images.pixels), images.labels)


class Partial(Noise):
    """Noise of which a third has no label, and is trained on as well; pictures are grey or coloured alike."""

    @property
    def pretrain(self) -> str:
        return "everything"

    def labels(self, split: str) -> Sequence[int]:
        return (
            [*super().labels(split)[:8], -1, -1, -1, -1] if split == "everything" else super().labels(split)
        )


class Unnamed(Noise):
    """Noise without a single label."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, classes=())

    def labels(self, split: str) -> Sequence[int]:
        return [-1] * COUNTS[split]


class Filmed(Noise):
    """Noise of films, four of them to train on, whose numbers differ from process to process."""

    films: ClassVar[dict[str, Any]] = {
        "train": [i // 6 for i in range(24)],
        "test": [4 + i // 6 for i in range(12)],
    }

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.films)

    def groups(self, split: str) -> Sequence[int] | None:
        of_split = self.films[split]
        return None if of_split is None else [hash(f"film {film}") for film in of_split]


@pytest.mark.parametrize("cls", [Noise, Selected, Folded, Lazy, Partial, Unnamed, Filmed])
def test_a_right_dataset_passes(cls: type[Dataset]) -> None:
    check_dataset(cls, "right")


# ---- wrong ones


class Counted(Noise):
    """Has another fingerprint whenever it is asked."""

    count = itertools.count()

    def fingerprint(self) -> str:
        return str(next(self.count))


class Hashed(Noise):
    """Has another fingerprint in every process."""

    def fingerprint(self) -> str:
        return str(hash(("noise", SIZE)))


class Sets(Noise):
    """Has the order of a set in its fingerprint."""

    def fingerprint(self) -> str:
        return "".join({f"image {index}" for index in range(20)})


class Dated(Noise):
    """Has the day in its fingerprint."""

    def fingerprint(self) -> str:
        return f"noise of {int(time.time()) // 86_400}"


class Placed(Noise):
    """Has the folder in its fingerprint."""

    def fingerprint(self) -> str:
        return digest([super().fingerprint(), str(self.location.data_dir)])


class Loaded(Noise):
    """Has another fingerprint once images were loaded."""

    def fingerprint(self) -> str:
        return digest([super().fingerprint(), "pixels" in vars(self)])

    def load(self, split: str) -> Images:
        self.pixels = super().load(split)
        return self.pixels


class Unseeded(Noise):
    """Draws images by random numbers that nobody seeded."""

    def draw(self, split: str) -> Tensor:
        return torch.randint(20, 150, (COUNTS[split], 1, SIZE, SIZE))


class Seeding(Noise):
    """Seeds the random numbers that all share."""

    def draw(self, split: str) -> Tensor:
        np.random.seed(len(split))  # noqa: NPY002
        return torch.from_numpy(np.random.randint(20, 150, (COUNTS[split], 1, SIZE, SIZE)))  # noqa: NPY002


class Shuffling(Noise):
    """Shuffles with Python's random numbers, which it seeds."""

    def draw(self, split: str) -> Tensor:
        random.seed(0)
        values = list(range(COUNTS[split]))
        random.shuffle(values)
        return super().draw(split)[values]


class HashedImages(Noise):
    """Draws other images in every process."""

    def draw(self, split: str) -> Tensor:
        drawn = torch.Generator().manual_seed(hash(split))
        return torch.randint(20, 150, (COUNTS[split], 1, SIZE, SIZE), generator=drawn)


class SetOrder(Noise):
    """Lists images in the order of a set."""

    def labels(self, split: str) -> Sequence[int]:
        return [int(name) % 2 for name in {f"{index}" for index in range(COUNTS[split])}]

    def draw(self, split: str) -> Tensor:
        return super().draw(split)[[int(name) for name in {f"{index}" for index in range(COUNTS[split])}]]


class Overlapping(Noise):
    """Tests on training images."""

    def draw(self, split: str) -> Tensor:
        return super().draw("train")[: COUNTS[split]]


class Leaking(Partial):
    """Has test images among those without a label."""

    def load(self, split: str) -> Images:
        images = super().load(split)
        return Images(super().load("test").pixels, images.labels) if split == "everything" else images


class Switching(Noise):
    """Has torch compute in 64 bits from now on."""

    def draw(self, split: str) -> Tensor:
        torch.set_default_dtype(torch.float64)
        return super().draw(split)


class OtherOrder(Noise):
    """Lists labels in another order than images."""

    def load(self, split: str) -> Images:
        images = super().load(split)
        return images.take(torch.arange(len(images)).roll(1))


class FromOne(Noise):
    """Counts classes from one."""

    def labels(self, split: str) -> Sequence[int]:
        return [label + 1 for label in super().labels(split)]


class Narrow(Noise):
    """Has labels of 32 bits."""

    def load(self, split: str) -> Images:
        images = super().load(split)
        return Images(images.pixels, images.labels.int())


class Missing(Noise):
    """Has a class without a training image."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, classes=("cat", "dog", "owl"))


class Unlabelled(Noise):
    """Has test images without a label."""

    def labels(self, split: str) -> Sequence[int]:
        return [-1, *super().labels(split)[1:]]


class Double(Noise):
    """Has two classes of one name."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, classes=("cat", "cat"))


class Listed(Noise):
    """Has a list of classes."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, classes=["cat", "dog"])  # type: ignore[arg-type]


class Lonely(Noise):
    """Has one class."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, classes=("cat",))


class Coloured(Noise):
    """Says that grey images have three channels."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, channels=3)


class ChannelsLast(Coloured):
    """Has channels last."""

    def load(self, split: str) -> Images:
        images = super().load(split)
        return Images(images.pixels.permute(0, 2, 3, 1).expand(-1, -1, -1, 3), images.labels)


class Bytes(Noise):
    """Says how bright images are from 0 to 255."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, mean=(127.0,), std=(60.0,))


class OfOthers(Noise):
    """Has the mean and deviation of other data."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, mean=(0.1307,), std=(0.3081,))


class Dark(Noise):
    """Makes bytes of values from 0 to 1."""

    def draw(self, split: str) -> Tensor:
        return super().draw(split) // 140

    def load(self, split: str) -> Images:
        return Images(self.draw(split).to(torch.uint8), torch.tensor(self.labels(split)))


class OneBuffer(Noise):
    """Reads all images into one buffer."""

    def draw(self, split: str) -> Tensor:
        return super().draw(split)[-1:].expand(COUNTS[split], -1, -1, -1)

    def load(self, split: str) -> Images:
        return Images(self.draw(split).to(torch.uint8), torch.tensor(self.labels(split)))


class AboutOthers(Noise):
    """Says another size before it is made."""

    @classmethod
    def about(cls, config: Any) -> DatasetInfo:
        return DatasetInfo(classes=(), channels=1, size=2 * SIZE)


class Amount(Noise):
    """Adds noise by a setting that the fingerprint does not know."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        amount: float = setting(1.0, "of the noise", above=0)

    def draw(self, split: str) -> Tensor:
        return (super().draw(split) * min(1.0, self.config.amount)).long()


class Untold(Folded):
    """Does not tell folds apart."""

    def fingerprint(self) -> str:
        return self.content()


class Renaming(Noise):
    """Names images otherwise by a setting that the fingerprint does not know."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        turned: bool = setting(default=False, doc="cats are dogs")

    def load(self, split: str) -> Images:
        labels = torch.tensor(self.labels(split))
        return Images(self.draw(split).to(torch.uint8), labels)

    def labels(self, split: str) -> Sequence[int]:
        return [label ^ self.config.turned for label in super().labels(split)]


class Workers(Noise):
    """Has what changes no image in its fingerprint."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        workers: int = setting(2, "processes that decode", least=1)

    def fingerprint(self) -> str:
        return digest([super().fingerprint(), self.config.workers])


class Foldless(Folded):
    """Takes each fold for other data."""

    def content(self) -> str:
        return self.fingerprint()


class NoSplit(Rows):
    """Rows that cannot be taken in blocks."""

    split = property()


class OneByOne(Rows):
    """Rows that are taken by slices only."""

    def __getitem__(self, rows: Any) -> Tensor:
        return self.made[rows] if isinstance(rows, slice) else self.made[int(rows)]


class Ascending(Rows):
    """Rows that are sorted when they are taken."""

    def __getitem__(self, rows: Any) -> Tensor:
        return self.made[rows if isinstance(rows, slice) else rows.sort().values]


class LazyNoSplit(Lazy):
    """Noise that cannot be taken in blocks."""

    rows = NoSplit


class LazyOneByOne(Lazy):
    """Noise that cannot be taken by rows."""

    rows = OneByOne


class LazyAscending(Lazy):
    """Noise that is taken in another order than is asked for."""

    rows = Ascending


class Downloading(Noise):
    """Downloads, allowed or not."""

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        super().__init__(name, config, location)
        try:
            socket.create_connection(("images.example", 443), timeout=1)
        except OSError:
            raise BadData(f"{name}: images.example cannot be reached.") from None


class DownloadingLater(Noise):
    """Downloads when images are loaded, allowed or not."""

    def load(self, split: str) -> Images:
        with contextlib.suppress(OSError):
            socket.create_connection(("images.example", 443), timeout=1)
        return super().load(split)


class Crashing(Noise):
    """Looks into the folder before it asks whether there is one."""

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        super().__init__(name, config, location)
        if location.root is not None:
            next(iter(sorted(location.root.iterdir())))


class Halved(Filmed):
    """Films that are no whole numbers."""

    def groups(self, split: str) -> Sequence[int] | None:
        return [film / 2 for film in self.films[split]]


class Short(Filmed):
    """A film too few."""

    def groups(self, split: str) -> Sequence[int] | None:
        return (super().groups(split) or [])[1:]


class Parted(Filmed):
    """A film on both sides."""

    films: ClassVar[dict[str, Any]] = {**Filmed.films, "test": [3 + i // 6 for i in range(12)]}

    def groups(self, split: str) -> Sequence[int] | None:
        films: list[int] = self.films[split]
        return films


class Ungrouped(Filmed):
    """Films of the training images, but not of the validation images."""

    films: ClassVar[dict[str, Any]] = {"train": Filmed.films["train"], "val": None, "test": None}


class HashedFilms(Filmed):
    """Films that have other images in every process."""

    def groups(self, split: str) -> Sequence[int] | None:
        first = 8 * (split == "test")
        return [first + hash(f"image {i}") % 8 for i in range(COUNTS[split])]


WRONG = {
    Counted: "everything would be computed anew",
    Hashed: "is it of hash(), of the order of a set, of the time",
    Sets: "is it of hash(), of the order of a set, of the time",
    Dated: "is it of hash(), of the order of a set, of the time",
    Placed: "it does: leave out paths",
    Loaded: "fingerprint() is another one after load()",
    Unseeded: "train: loads alike again: pixels or labels differ; draw from torch.Generator()",
    Seeding: "train: loads alike again: it seeds numpy's random numbers, which all share",
    Shuffling: "train: loads alike again: it seeds Python's random numbers, which all share",
    HashedImages: "images of train are others there: is it of hash()",
    SetOrder: "labels of train are others there: is it of hash(), of the order of a set",
    Overlapping: "12 of the 12 images of test are in train, too, pixel for pixel",
    Leaking: "12 of the 12 images of test are in everything, too, pixel for pixel",
    Switching: "train: loads as Images: it changes torch's default type; put back what you switch",
    OtherOrder: "train: labels() are those of load(): they differ in their order",
    FromOne: "train: labels are places in info.classes: [2] of 2 classes; count from 0",
    Narrow: "they are torch.int32; use int64",
    Missing: "no image of owl",
    Unlabelled: "test: labels are places in info.classes: some are -1",
    Double: "two classes have one name",
    Listed: "classes is a list; use a tuple",
    Lonely: "there is one class",
    Coloured: "they are (1, 4, 4), info says (3, 4, 4)",
    ChannelsLast: "they are (4, 4, 3), channels last: use pixels.permute(0, 3, 1, 2)",
    Bytes: "mean is (127.0,); give a value in [0, 1] a channel",
    OfOthers: "info says [0.1307] and [0.3081], the images have",
    Dark: "no pixel is more than 1: scale to 0 to 255",
    OneBuffer: "all are the same: is one buffer used for all?",
    AboutOthers: "size: about() and info differ",
    Amount: "amount=0.5: fingerprint() goes with the images: it is the same, but test images are others",
    Untold: "fold=1: fingerprint() goes with the images: it is the same, but test images are others",
    Renaming: "turned=True: fingerprint() goes with the images: it is the same, but 36 of 36 images",
    Workers: "workers=3: fingerprint() goes with the images: it changes, but no image or label does",
    Foldless: "content() changes, but the images are the same, in other splits",
    LazyNoSplit: "it needs dtype, device, ndim, shape, nbytes, len(), [slice], [rows], split(count)",
    LazyOneByOne: "train: pixels can be taken as of a tensor: ",
    LazyAscending: "[rows], [rows] of two splits are not those of a tensor",
    Downloading: "it asks images.example; download only where location.download is true",
    DownloadingLater: "train: loads as Images: it asks images.example; download only where",
    Crashing: "a folder that is not there is refused in one line: FileNotFoundError",
    Halved: "train: they are float64; use int64",
    Short: "train: they are (23,) for 24 images",
    Parted: "group 3 is in train and test; its images are nearly alike",
    Ungrouped: "train or val has none; return them for both, or for neither",
    HashedFilms: "in another process: they are others there",
}


TWICE = {Counted, Unseeded, Lonely, Bytes, Loaded, Dark}  # they break two rules


@pytest.mark.parametrize(("cls", "why"), WRONG.items(), ids=[cls.__name__ for cls in WRONG])
def test_what_is_wrong_with_a_dataset_is_said_and_nothing_else(cls: type[Dataset], why: str) -> None:
    found = failures(cls)
    titles = {line.partition(": ")[2] if line.startswith(("train", "test")) else line for line in found}

    assert why in "\n".join(found)
    assert len({title.partition(":")[0] for title in titles}) == 1 or cls in TWICE


# ---- files


class Files(Dataset):
    """Pictures in folders, a folder a class, all of which are trained on but for the last of each."""

    kept: ClassVar[dict[str, slice]] = {"train": slice(0, -1), "test": slice(-1, None)}

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        super().__init__(name, config, location)
        if location.root is None or not location.root.is_dir():
            raise BadData(f"{name}: there is no folder {location.root}. Set dataset.root.")
        self.folder = location.root
        self.names = sorted(path.name for path in location.root.iterdir())

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(classes=tuple(self.names), channels=3, size=SIZE)

    def files(self, split: str) -> list[Path]:
        folders = [self.folder / name for name in self.info.classes]
        return [path for folder in folders for path in sorted(folder.iterdir())[self.kept[split]]]

    def fingerprint(self) -> str:
        every = [path for split in self.splits for path in self.files(split)]
        return digest([[f"{path.parent.name}/{path.name}", path.read_bytes().hex()] for path in every])

    def labels(self, split: str) -> Sequence[int]:
        return [self.names.index(path.parent.name) for path in self.files(split)]

    def load(self, split: str) -> Images:
        pixels = torch.stack([torch.from_numpy(read(path)) for path in self.files(split)])
        return Images(pixels.permute(0, 3, 1, 2), torch.tensor(self.labels(split)))

    def stream(self, split: str) -> FileStream | None:
        labels = torch.tensor(self.labels(split))
        return FileStream(self.files(split), labels, self.read, lambda index, why: BadData(f"{index}: {why}"))

    def read(self, path: Path, shrink: Any) -> Any:
        return read(path, shrink)


class Late(Files):
    """Looks for its folder when it is asked for images, not before."""

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        Dataset.__init__(self, name, config, location)
        self.folder = location.root or location.data_dir / "pictures"
        self.names = ["ape", "bee", "cow"]

    def load(self, split: str) -> Images:
        if not self.folder.is_dir():
            raise BadData(f"{self.name}: there is no folder {self.folder}.")
        return super().load(split)


class Standing(Noise):
    """Has noise where the folder that it was told is not there."""

    def load(self, split: str) -> Images:
        if self.location.root is not None and (self.location.root / "noise.pt").is_file():
            raise AssertionError("there is none in these tests")
        return super().load(split)


def read(path: Path, shrink: Any = None) -> Any:
    image = np.array(Image.open(path))
    if shrink is not None:
        shrink(*image.shape[:2])
    return image


class Misnamed(Files):
    """Names classes in another order than it counts them."""

    @property
    def info(self) -> DatasetInfo:
        return replace(super().info, classes=tuple(reversed(self.names)))


class Absolute(Files):
    """Has the path of the folder in its fingerprint."""

    def fingerprint(self) -> str:
        return digest([super().fingerprint(), str(self.folder)])


class Greying(Files):
    """Streams grey pictures."""

    def read(self, path: Path, shrink: Any) -> Any:
        return read(path, shrink)[..., 0]


class Local(Files):
    """Streams by a function that no other process can have."""

    def stream(self, split: str) -> FileStream | None:
        stream = super().stream(split)
        return stream and replace(stream, read=lambda path, shrink: read(path, shrink) + 0)


class Truncated(Files):
    """Streams what cannot be decoded."""

    def read(self, path: Path, shrink: Any) -> Any:
        return "it is truncated"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    drawn = np.random.default_rng(0)
    for name in ("ape", "bee", "cow"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(4):
            picture = Image.fromarray(drawn.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
            picture.save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


def test_a_dataset_of_files_passes_with_and_without_them(pictures: Path) -> None:
    check_dataset(Files, "files", location=DataLocation(root=pictures))
    check_dataset(Files, "files")


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Misnamed, "cow/0.png has the label of ape: are classes sorted?"),
        (Absolute, "fingerprint() does not change with the place of the files: it does"),
        (Greying, "0.png is (4, 4), not [(4, 4, 3)]"),
        (Local, "train: streams what it loads: "),
        (Truncated, "0.png cannot be decoded: it is truncated"),
        (Late, "it is made all the same, and load() raises BadData: it: there is no folder"),
        (Standing, "it is made and loaded all the same. Look for the files in the constructor"),
    ],
)
def test_what_is_wrong_with_files_is_said(cls: type[Dataset], why: str, pictures: Path) -> None:
    assert why in "\n".join(failures(cls, DataLocation(root=pictures)))


def test_a_dataset_without_files_may_be_told_a_folder(pictures: Path) -> None:
    check_dataset(Noise, "noise", location=DataLocation(root=pictures))


def test_a_dataset_may_stand_without_a_folder_that_it_was_not_told() -> None:
    check_dataset(Standing, "standing")


def test_what_may_be_downloaded_is_no_mistake() -> None:
    allowed = DataLocation(download=True)

    assert not [line for line in failures(DownloadingLater, allowed) if "it asks" in line]


def test_a_class_that_no_worker_can_find_is_said() -> None:
    class Inner(Noise):
        """Noise that is nowhere to be found."""

    (line,) = failures(Inner)

    assert line.startswith("another process finds the same images: ")
    assert line.endswith("define it at the top of a module, where workers find it")


class Misprinted(Noise):
    """Have published files with more classes than counts."""

    @classmethod
    def published(cls, config: Any) -> PublishedData:
        return PublishedData(classes=("cat", "dog"), counts={"train": (3,), "test": (1, 1)})


def test_what_is_published_has_to_fit_together() -> None:
    assert [
        said
        for said in failures(Misprinted)
        if "published() has 2 classes and 1 counts of train" in said
        or "published() returns something, and about() nothing" in said
    ]
