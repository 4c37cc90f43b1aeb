"""GTSRB: photographs of traffic signs, 43 classes, stored at 32x32 pixels.

Data: Stallkamp et al. 2012, "Man vs. computer", doi:10.1016/j.neunet.2012.02.016. torchvision downloads
and unpacks the archives, and compares their MD5; what it takes for the training split is the one of the
competition of 2011. A sign was filmed while the car came nearer: XXXXX_YYYYY.ppm is frame YYYYY of
track XXXXX of its class. Frames of one track are nearly alike, so a track is in `train` or in `val`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torchvision.datasets.folder import make_dataset

from bench.api import (
    BadData,
    DataLocation,
    Dataset,
    DatasetInfo,
    Images,
    MissingData,
    PublishedData,
    Selection,
    choose,
    chosen_classes,
    digest,
    file_stamp,
    setting,
    stratified_holdout,
)

from .downloads import UNFETCHED, archive_parent, failed_download, unpacking
from .image_files.contents import digest_files, index_of, refuse_changed
from .image_files.decoding import available_memory, decode_all, refuse_too_large

NAMES = (
    *(f"Speed limit ({limit}km/h)" for limit in (20, 30, 50, 60, 70, 80)),
    "End of speed limit (80km/h)", "Speed limit (100km/h)", "Speed limit (120km/h)", "No passing",
    "No passing for vehicles over 3.5 metric tons", "Right-of-way at the next intersection",
    "Priority road", "Yield", "Stop", "No vehicles", "Vehicles over 3.5 metric tons prohibited",
    "No entry", "General caution", "Dangerous curve to the left", "Dangerous curve to the right",
    "Double curve", "Bumpy road", "Slippery road", "Road narrows on the right", "Road work",
    "Traffic signals", "Pedestrians", "Children crossing", "Bicycles crossing", "Beware of ice/snow",
    "Wild animals crossing", "End of all speed and passing limits", "Turn right ahead",
    "Turn left ahead", "Ahead only", "Go straight or right", "Go straight or left", "Keep right",
    "Keep left", "Roundabout mandatory", "End of no passing",
    "End of no passing by vehicles over 3.5 metric tons",
)  # fmt: skip
FOLDERS = {f"{label:05d}": label for label in range(len(NAMES))}
FRAME = re.compile(r"(\d{5})_\d{5}\.ppm")
FRAMES = 30  # of a track
TRACKS = (
    5, 50, 50, 32, 44, 42, 10, 32, 32, 33, 45, 30, 47, 48, 18, 14, 10, 25, 27, 5, 8, 8, 9, 12, 6, 34, 14, 6,
    12, 6, 10, 18, 6, 16, 10, 27, 9, 5, 46, 7, 8, 6, 6,
)  # of each class in the training archive of 2011; a few have a frame less  # fmt: skip
TESTED = (
    60, 720, 750, 450, 660, 630, 150, 450, 450, 480, 660, 420, 690, 720, 270, 210, 150, 360, 390, 60, 90, 90,
    120, 150, 90, 480, 180, 60, 150, 90, 150, 270, 60, 210, 120, 390, 120, 60, 690, 90, 90, 60, 90,
)  # test images of each class  # fmt: skip
VAL_SHARE, VAL_SEED = 0.1, 0  # of the tracks of each class; our choice
NOTES = (
    "torchvision's GTSRB training split has 26,640 images; the official one has 39,209",
    f"the val split is a tenth of each class's tracks, so no sign is in both, drawn with seed {VAL_SEED}",
)


@dataclass(frozen=True, kw_only=True)
class Config(Selection):
    """What is made of the files."""

    size: int = setting(32, "side the images are stretched to, which are 15 to 250 pixels", least=8)


@dataclass(frozen=True)
class Files:
    """Images of one split: n paths, labels (n,), and tracks (n,) where they are known."""

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    tracks: NDArray[np.int64] | None = None

    def take(self, index: NDArray[np.int64]) -> Files:
        """Return the files at `index`, (m,)."""
        tracks = None if self.tracks is None else self.tracks[index]
        return Files(tuple(self.paths[i] for i in index), self.labels[index], tracks)


class GTSRB(Dataset):
    """German traffic signs; neither mirrored nor recoloured, for both change what a sign says."""

    Config: ClassVar[type] = Config
    reference: ClassVar[str] = "Stallkamp et al. 2012, doi:10.1016/j.neunet.2012.02.016"

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        super().__init__(name, config, location)
        self._root = archive_parent(location, "gtsrb", "GTSRB")
        self._folder = self._root / "gtsrb"
        self._training = self._folder / "GTSRB" / "Training"
        self._testing = self._folder / "GTSRB" / "Final_Test" / "Images"
        self._answers = self._folder / "GT-final_test.csv"
        self._classes = chosen_classes(NAMES, config, name)
        self._fetch()
        train, tracks = self._list_training()
        fit, held = _hold_tracks_out(train.labels, tracks)
        self._files = {"train": train.take(fit), "val": train.take(held), "test": self._list_testing()}

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there are; `val` is drawn by track."""
        return ("train", "val", "test")

    @classmethod
    def about(cls, config: Any) -> DatasetInfo:
        """Return `info` without the classes and how many images were found."""
        return DatasetInfo(
            classes=(),
            channels=3,
            size=config.size,
            flip=False,
            colour=False,
            groups="tracks",
            notes=NOTES,
        )

    @classmethod
    def published(cls, config: Any) -> PublishedData:
        """Return the images of each class, with the tracks of the val split drawn as from the files."""
        tracks = np.repeat(np.arange(len(NAMES)), TRACKS)
        fit, held = stratified_holdout(tracks, VAL_SHARE, VAL_SEED)
        counts = {
            split: tuple(int(count) * FRAMES for count in np.bincount(tracks[rows], minlength=len(NAMES)))
            for split, rows in (("train", fit), ("val", held))
        }
        return PublishedData(classes=NAMES, counts={**counts, "test": TESTED})

    @property
    def info(self) -> DatasetInfo:
        """What is known without decoding."""
        about = self.about(self.config)
        count = sum(len(self._files[split].paths) for split in ("train", "val"))
        notes = (*about.notes, f"images found in GTSRB/Training: {count:,}")
        return replace(about, classes=self._classes, notes=notes)

    def fingerprint(self) -> str:
        """Return the digest of all paths, sizes, labels and contents."""
        return self._digest

    def groups(self, split: str) -> Sequence[int] | None:
        """Return the track of each image of `train` or `val`; those of the test images are not published."""
        tracks = self._choose(split).tracks
        return None if tracks is None else [int(track) for track in tracks]

    def labels(self, split: str) -> Sequence[int]:
        """Return the labels of `split`."""
        return [int(label) for label in self._choose(split).labels]

    def load(self, split: str) -> Images:
        """Return the images of `split`."""
        files, size = self._choose(split), self.config.size
        refuse_too_large(len(files.paths), 3, size, available_memory(), self.name)
        pixels = torch.empty((len(files.paths), 3, size, size), dtype=torch.uint8)
        failures = decode_all(files.paths, 3, size, out=pixels.numpy(), whole=True)
        if failures:
            first, why = next(iter(failures.items()))
            more = f", as {len(failures) - 1} more are" if len(failures) > 1 else ""
            raise self._damage_error(files.paths[first], f"it cannot be decoded ({why}){more}")
        refuse_changed(self.name, {path: self._stamps[path] for path in files.paths})
        return Images(pixels, torch.from_numpy(files.labels))

    @cached_property
    def _digest(self) -> str:
        named = [
            [path.relative_to(self._folder).as_posix(), path.stat().st_size, int(label)]
            for files in self._files.values()
            for path, label in zip(files.paths, files.labels, strict=True)
        ]
        stamps = np.array(list(self._stamps.values()), dtype=np.int64)
        index = index_of(self._folder, self.location.data_dir)
        return digest([named, digest_files([str(path) for path in self._stamps], stamps, index, self.name)])

    @cached_property
    def _stamps(self) -> dict[Path, int]:
        """The stamp of each file before its content went into the fingerprint."""
        return {path: file_stamp(path) for files in self._files.values() for path in files.paths}

    def _choose(self, split: str) -> Files:
        files = self._files[split]
        index, labels = choose(files.labels, NAMES, self.config, self.name, split, files.tracks)
        return replace(files.take(index), labels=labels)

    def _fetch(self) -> None:
        """Download what is missing, if that is allowed."""
        if self._training.is_dir() and self._testing.is_dir() and self._answers.is_file():
            return
        if not self.location.download:
            remedy = "Use --download, or set dataset.root to the folder that holds gtsrb."
            raise MissingData(f"{self.name}: {self._folder} is not there or not complete. {remedy}")
        try:
            with unpacking():
                for split in ("train", "test"):
                    torchvision.datasets.GTSRB(self._root, split=split, download=True)
        except UNFETCHED as error:
            raise failed_download(self.name, self._folder, error, "the unpacked archives") from None

    def _list_training(self) -> tuple[Files, NDArray[np.int64]]:
        """Return all training files, and the track of each."""
        unknown = sorted({p.name for p in self._training.iterdir() if p.is_dir()} - set(FOLDERS))
        if unknown:
            raise self._damage_error(self._training / unknown[0], f"it is none of the {len(NAMES)} classes")
        try:
            images = make_dataset(str(self._training), class_to_idx=FOLDERS, extensions=(".ppm",))
        except OSError as error:  # a class without an image
            raise self._damage_error(self._training, " ".join(str(error).split()).rstrip(".")) from None
        paths, labels = tuple(Path(path) for path, _ in images), np.array([label for _, label in images])
        tracks = self._number_tracks(paths, labels)
        return Files(paths, labels, tracks), tracks

    def _list_testing(self) -> Files:
        try:
            with self._answers.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file, delimiter=";", skipinitialspace=True))
            paths = tuple(self._testing / row["Filename"] for row in rows)
            labels = np.array([int(row["ClassId"]) for row in rows], dtype=np.int64)
        except (OSError, LookupError, TypeError, ValueError, csv.Error):
            raise self._damage_error(self._answers, "it is no table with Filename and ClassId") from None
        wrong = labels[(labels < 0) | (labels >= len(NAMES))]
        if len(wrong):
            raise self._damage_error(self._answers, f"a label is {wrong[0]}, of {len(NAMES)} classes")
        present = set(self._testing.glob("*.ppm"))
        if present != set(paths) or len(present) != len(paths) or not paths:
            beside = f"there are {len(present)} images and {len(paths)} labels"
            raise self._damage_error(self._answers, f"{beside}, they are not of one archive")
        return Files(paths, labels)

    def _number_tracks(self, paths: Sequence[Path], labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the track of each training file, counted over all classes in their order."""
        frames = [FRAME.fullmatch(path.name) for path in paths]
        for path, frame in zip(paths, frames, strict=True):
            if frame is None:
                raise self._damage_error(path, "its name is not XXXXX_YYYYY.ppm, a track and a frame")
        of_class = np.array([int(frame[1]) for frame in frames if frame])
        numbers: NDArray[np.int64]
        _, numbers = np.unique(np.stack([labels, of_class]), axis=1, return_inverse=True)
        return numbers

    def _damage_error(self, path: Path, why: str) -> BadData:
        remedy = f"Delete {self._folder} and use --download."
        return BadData(f"{self.name}: {path} is damaged: {why}. {remedy}")


def _hold_tracks_out(
    labels: NDArray[np.int64], tracks: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which training files are of tracks to fit on, and of those that are held out."""
    _, first, of = np.unique(tracks, return_index=True, return_inverse=True)
    fit, held = stratified_holdout(labels[first], VAL_SHARE, VAL_SEED)  # tracks, not images
    return np.flatnonzero(np.isin(of, fit)), np.flatnonzero(np.isin(of, held))
