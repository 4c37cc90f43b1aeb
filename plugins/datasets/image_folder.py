"""Any folder of images, a folder a class, or a list of files and labels.

    root/train/<class>/*   root/val/<class>/*   root/test/<class>/*     any of val and test may lack
    root/<class>/*                                                      no split: one is drawn
    root/unlabeled/*                                                    beside them: pretrained on as well
    root/*                                                              no labels: pretrained on
    root/labels.csv        root/train.csv       root/test.csv           files, labels and splits

With val but without test, as ImageNet is published, val is the test split; without both, a fifth
of each class is. What was done stands in the notes of `info`, and so in every record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL
import torch

from bench.api import (
    CHANGED,
    BadData,
    DataLocation,
    Dataset,
    DatasetInfo,
    FileStream,
    Images,
    Selection,
    choose,
    chosen_classes,
    digest,
    file_stamp,
    lazy_images,
    setting,
)

from .image_files.contents import change_error, digest_files, index_of
from .image_files.decoding import MOST_PIXELS, Failures, available_memory, decode_all, measure, read
from .image_files.doubles import describe_doubles
from .image_files.layout import Files, Paths, Told, scan
from .image_files.lazy_pixels import decode_lazily
from .image_files.packed_file import Pack, Shape, refuse_no_room
from .image_files.packing import decode_into
from .image_files.tree import compose

NAMED = 3  # images in an error
ALL = "train+unlabeled"  # the split to pretrain on where there are images without labels
NOT_PIXELS = ("stream", "unlabeled", "splits", "columns", "max_megapixels")  # settings that change no pixel
NO_CLASS = ("",)  # what `choose` is told of images without labels
SHOWN_CLASSES = 5  # in the line that says what was found
IN_MEMORY = 4  # a split that takes more than a fourth of what is free is not held in memory; our choice


@dataclass(frozen=True, kw_only=True)
class Config(Selection):
    """What is made of the files."""

    size: int | None = setting(
        None,
        "side the images are stored at; none is their own if they agree, else the median short side, "
        "at most 224",
        least=8,
    )
    on_error: str = setting(
        "fail",
        "fail: an image that cannot be decoded is an error; skip: it is left out, at the cost of "
        "decoding everything once more",
        choices=("fail", "skip"),
    )
    stream: bool = setting(
        default=False,
        doc="pretrain on crops of the files themselves, decoded anew every epoch, not of stored images",
        later=True,
    )
    unlabeled: bool = setting(
        default=True,
        doc="pretrain on the images of a folder unlabeled, too, or of rows without a label",
        later=True,
    )
    splits: tuple[str, ...] = setting(
        (), "where each split is: [train=FOLDER,val=FOLDER,test=FILE.csv,unlabeled=FOLDER]; empty: found out",
        later=True,
    )  # fmt: skip
    columns: tuple[str, ...] = setting(
        (), "the headings of a list's columns: [file=HEADING,label=HEADING,split=HEADING]", later=True
    )
    max_megapixels: float = setting(
        MOST_PIXELS / 1e6, "an image of more is not decoded; of a JPEG, after it was made smaller",
        source="Pillow's default", above=0, later=True,
    )  # fmt: skip


class ImageFolder(Dataset):
    """Images found in a folder a class, all brought to one size."""

    Config: ClassVar[type] = Config

    def __init__(self, name: str, config: Any, location: DataLocation) -> None:
        super().__init__(name, config, location)
        if location.root is None:
            raise BadData(f"{name}: no folder was given. Set dataset.root=FOLDER.")
        given = location.root.expanduser()
        self._title = given.resolve().stem if given.is_file() else given.resolve().name
        chosen = tuple(map(compose, config.classes))
        told = Told(config.splits, config.columns, chosen, config.unlabeled)
        self._layout = scan(given, told)
        self._root = self._layout.root
        self._most = round(config.max_megapixels * 1e6)
        self._classes = self._choose_classes(replace(config, classes=chosen))
        self._files = {split: self._choose_files(split) for split in self._layout.splits}
        if self._layout.unlabeled is not None:
            self._files[ALL] = self._files["train"].joined(self._layout.unlabeled)
        self._skipped: dict[str, Failures] = {}
        self._fingerprint = ""
        self._content = ""
        self._doubles: tuple[str, ...] = ()
        self._channels, side = self._measure()
        self._size = config.size or side
        missing = [s for s in self._files if self._is_packed(s) and not self._pack(s).manifest.exists()]
        need = sum(math.prod(self._shape(self._files[split])) for split in missing)
        refuse_no_room(self._packs, need, name)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there are."""
        return tuple(self._layout.splits)

    @property
    def pretrain(self) -> str:
        """The split to pretrain on."""
        return ALL if ALL in self._files else "train"

    @property
    def title(self) -> str:
        """The name of the folder, or of the list."""
        return self._title

    @property
    def found(self) -> str:
        """What the folder was taken for, in one line."""
        drawn = "test" not in self._layout.folders and not self._layout.is_listed
        used = {split: len(self._decodable(split)) for split in self._files}
        counts = [
            f"{split} {count:,}{' (drawn)' if split == 'test' and drawn else ''}"
            for split, count in used.items()
        ]
        names = ", ".join(self._classes[:SHOWN_CLASSES])
        more = f" and {len(self._classes) - SHOWN_CLASSES} more" if len(self._classes) > SHOWN_CLASSES else ""
        classes = f"{len(self._classes)} classes ({names}{more})" if self._classes else "no labels"
        skipped = {self._files[split].paths[i] for split, found in self._skipped.items() for i in found}
        texts = [f"{len(skipped)} that cannot be decoded"] if skipped else []
        left_out = "; ".join([*texts, *self._layout.left_out])
        left_out = f"; left out: {left_out}" if left_out else ""
        kind = f"{self._size}x{self._size}, {'grey' if self._channels == 1 else 'colour'}"
        in_vain = not self.config.unlabeled and not self._layout.has_unlabeled
        nothing = "; dataset.unlabeled=false changes nothing, for no image lies beside those with labels"
        return f"{', '.join(counts)} images, {classes}, {kind}{left_out}{nothing * in_vain}"

    @property
    def info(self) -> DatasetInfo:
        """What is known of the folder; with on_error=skip, everything is decoded to know it."""
        self.fingerprint()  # by which double images are known
        notes = (*self._layout.notes, *self._doubles)
        if self.config.on_error == "skip":
            lost = {split: len(files) - len(self._decodable(split)) for split, files in self._files.items()}
            counts = ", ".join(f"{count} of {split}" for split, count in lost.items())
            notes = (*notes, f"images left out because they cannot be decoded: {counts}")
        return DatasetInfo(
            classes=self._classes,
            channels=self._channels,
            size=self._size,
            groups=self._layout.grouped,
            notes=notes,
        )

    def fingerprint(self) -> str:
        """Return the digest of all paths under the root, of sizes and contents, and of class.txt.

        Groups are in it where they decide which images are in a split, and labels and splits of a list.
        """
        if not self._fingerprint:
            listed = self._list_files()
            paths = Paths(self._root, [path for path, *_ in listed])
            stamps = np.array([file[2] for file in listed], dtype=np.int64)
            index = index_of(self._root, self.location.data_dir)
            digests = digest_files(paths, stamps, index, self.name)
            self._doubles = describe_doubles(listed, digests)
            named: list[Any] = [dict(self._layout.folders), self._layout.class_list]
            deciding = self._deciding_groups()
            if self._layout.is_listed:
                names = (*self._layout.classes, "")  # the last is of -1, no label
                deciding.append([[path, split, names[label]] for path, _, _, split, label in listed])
            files = [[file[:2] for file in listed], [found for found in digests if found]]
            self._fingerprint = digest([[*named, *deciding], *files])
            self._content = self._fingerprint if not deciding else digest([named, *files])
        return self._fingerprint

    def content(self) -> str:
        """Return the digest of the files, however they are drawn from."""
        self.fingerprint()
        return self._content

    def _list_files(self) -> list[tuple[str, int, int, str, int]]:
        """Return path, bytes, stamp, split and label of all files, sorted."""
        parts = dict(self._layout.splits)
        if not self._layout.classes:
            del parts["test"]  # some of the others
        if self._layout.unlabeled is not None:
            parts[ALL] = self._layout.unlabeled
        return sorted(
            (*file[:3], split, file[3])
            for split, part in parts.items()
            for file in zip(part.paths, part.sizes, part.stamps.tolist(), part.labels.tolist(), strict=True)
        )

    def groups(self, split: str) -> Sequence[int] | None:
        """Return the group of each image of `split`, if there is a groups.csv."""
        groups = self._decodable(split).groups
        return None if groups is None else [int(group) for group in groups]

    def labels(self, split: str) -> Sequence[int]:
        """Return the labels of `split`; with on_error=skip, its images are decoded to know them."""
        return [int(label) for label in self._decodable(split).labels]

    def load(self, split: str) -> Images:
        """Return the images of `split`."""
        files = self._decodable(split)
        if self._is_packed(split):
            pixels = self._pack(split).pixels(self._shape(files), partial(self._fill, split, files))
        elif self.config.stream and self._is_large(split):
            refuse = partial(self._refuse, files)
            lazy = decode_lazily(self._paths(files), self._shape(files), refuse, self._most)
            return lazy_images(torch.from_numpy(files.labels), lazy)
        else:
            pixels = torch.empty(self._shape(files), dtype=torch.uint8)
            out = pixels.numpy()
            failures = decode_all(self._paths(files), self._channels, self._size, out=out, most=self._most)
            self._refuse(files, range(len(files)), failures)
        return Images(pixels, torch.from_numpy(files.labels))

    def stream(self, split: str) -> FileStream | None:
        """Return the files of `split` if they are to be pretrained on."""
        if not self.config.stream:
            return None
        files = self._decodable(split)
        return FileStream(
            files=self._paths(files),
            labels=torch.from_numpy(files.labels),
            read=partial(read, channels=self._channels, most=self._most),
            refusal=lambda index, why: self._reading_error(files, index, why),
            stamps=torch.from_numpy(files.stamps),
        )

    @property
    def _packs(self) -> Path:
        return self.location.data_dir / "packed"

    def _deciding_groups(self) -> list[Any]:
        """Return the groups of all images where they decide which of them are in a split."""
        drawn = "test" not in self._layout.folders and not self._layout.is_listed
        if not self._layout.grouped or not (drawn or self.config.max_train is not None):
            return []
        parts = self._layout.splits.items()
        return [{split: part.groups.tolist() for split, part in parts if part.groups is not None}]

    def _is_packed(self, split: str) -> bool:
        """Tell whether the images of a split go into a file; they are the same there and in memory."""
        return self.location.packed or (self._is_large(split) and not self.config.stream)

    def _is_large(self, split: str) -> bool:
        return math.prod(self._shape(self._files[split])) * IN_MEMORY > available_memory()

    def _pack(self, split: str) -> Pack:
        settings = {name: value for name, value in asdict(self.config).items() if name not in NOT_PIXELS}
        decoding = [settings, self._channels, self._size, self.version, PIL.__version__]
        if self._most != MOST_PIXELS:
            decoding.append(self._most)
        return Pack(self._packs, digest([self.fingerprint(), split, decoding]))

    def _fill(self, split: str, files: Files, out: Path) -> None:
        """Decode a split into a file."""
        what, workers = f"{self.name}: {split}", torch.get_num_threads()
        failures = decode_into(out, self._paths(files), self._channels, self._size, workers, what, self._most)
        self._refuse(files, range(len(files)), failures)

    def _shape(self, files: Files) -> Shape:
        return len(files), self._channels, self._size, self._size

    def _choose_classes(self, selection: Selection) -> tuple[str, ...]:
        self._selection = selection
        if self._layout.classes:
            return chosen_classes(self._layout.classes, selection, self.name)
        if selection.classes:
            raise BadData(
                f"{self.name}: {self._root} has no classes to choose of. Leave dataset.classes out."
            )
        return ()

    def _choose_files(self, split: str) -> Files:
        files = self._layout.splits[split]
        if self._layout.classes:
            names, labels = self._layout.classes, files.labels
        else:
            names, labels = NO_CLASS, np.zeros_like(files.labels)
        index, labels = choose(labels, names, self._selection, self.name, split, files.groups)
        files = replace(files.take(index), labels=labels if self._layout.classes else labels - 1)
        if self.config.on_error == "fail":
            nothing = {i: "empty, or a link to nothing" for i, size in enumerate(files.sizes) if not size}
            self._refuse_undecodable(files, nothing)
        return files

    def _measure(self) -> tuple[int, int]:
        """Return channels and side of all images, so that a selection of them does not change it."""
        parts = [*self._layout.splits.values(), *filter(None, [self._layout.unlabeled])]
        paths = tuple(path for files in parts for path in files.paths)
        none = np.empty(0, dtype=np.int64)
        every = Files(paths, (), none, none)
        channels, side, failures = measure(self._paths(every), self._most)
        if self.config.on_error == "fail":
            self._refuse_undecodable(every, failures)
        return channels, side

    def _decodable(self, split: str) -> Files:
        """Return the files of a split without those that are skipped."""
        files = self._files[split]
        if self.config.on_error == "fail":
            return files
        if split not in self._skipped:
            self._skipped[split] = decode_all(self._paths(files), self._channels, self._size, most=self._most)
            self._refuse_changed(files, range(len(files)))
        decodable = files.take(np.setdiff1d(np.arange(len(files)), list(self._skipped[split])))
        known = decodable.labels[decodable.labels >= 0]
        gone = np.flatnonzero(np.bincount(known, minlength=len(self._classes)) == 0)
        if len(gone):
            raise BadData(
                f"{self.name}: no image of {self._classes[gone[0]]!r} in {split} can be decoded. "
                "Replace them, or leave the class out."
            )
        return decodable

    def _paths(self, files: Files) -> Paths:
        return Paths(self._root, files.paths)

    def _refuse(self, files: Files, decoded: Sequence[int], failures: Failures) -> None:
        """Refuse what was just decoded if any of it has changed, or could not be."""
        self._refuse_changed(files, decoded)
        self._refuse_undecodable(files, failures)

    def _refuse_changed(self, files: Files, decoded: Sequence[int]) -> None:
        """Refuse files that are not those any more that the fingerprint, and so every key, is of."""
        for index in decoded:
            if file_stamp(f"{self._root}/{files.paths[index]}") != files.stamps[index]:
                raise self._reading_error(files, index, CHANGED)

    def _refuse_undecodable(self, files: Files, failures: Failures) -> None:
        if failures:
            raise self._decoding_error(files, failures)

    def _reading_error(self, files: Files, index: int, why: str) -> BadData:
        """Return the error about an image that cannot be used, and why."""
        if why != CHANGED:
            return self._decoding_error(files, {index: why})
        return change_error(self.name, files.paths[index])

    def _decoding_error(self, files: Files, failures: Failures) -> BadData:
        """Return the error about images that cannot be decoded."""
        some = ", ".join(f"{files.paths[i]} ({why})" for i, why in list(failures.items())[:NAMED])
        more = f" and {len(failures) - NAMED} more" if len(failures) > NAMED else ""
        count = f"{len(failures)} images" if len(failures) > 1 else "an image"
        return BadData(
            f"{self.name}: {count} cannot be decoded: {some}{more}. "
            "Replace or remove them, or set dataset.on_error=skip."
        )
