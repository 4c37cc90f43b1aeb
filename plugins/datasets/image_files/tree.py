"""A folder of images and what is in it, looked at once and only where it is asked for."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.api import BadData, stamp_of

from .formats import advise, is_decodable, read_format

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
GENERATED = frozenset({
    "__macosx", "lost+found", "@eadir", "#recycle", "@recycle", "@__thumb", "$recycle.bin",
    "system volume information", "__pycache__", "thumbnails", "thumbs", "__thumbs__", "cache", "caches",
})  # folders of archives, disks and viewers, beside all that starts with a dot; our choice  # fmt: skip

Listed = list[tuple[str, int, int]]  # path under the root, with slashes, bytes and stamp: 0 of a broken link
Identity = tuple[int, int]
SHOWN = 5  # endings that are named


class Folder:
    """A folder under the root of the data.

    Args:
        root: of the data.
        path: under the root, with slashes; empty for the root itself.
        above: what tells the folders that it lies in: a link back to one of them is not followed.

    Raises:
        BadData: it cannot be read; raised when it is looked into.
    """

    def __init__(self, root: Path, path: str = "", above: frozenset[Identity] = frozenset()) -> None:
        self.root, self.path = root, path
        self.above = above | {_identify(self.place)}
        self.generated: list[str] = []  # folders of other tools, by their names
        self.others: Counter[str] = Counter()  # files that are no images, by their endings
        self.undecodable: Counter[str] = Counter()  # images that cannot be decoded here, by their format

    @property
    def place(self) -> str:
        """Where it is on this machine."""
        return os.path.join(self.root, self.path) if self.path else str(self.root)  # noqa: PTH118

    @property
    def name(self) -> str:
        """Its own name, as a class is called: in the composed form of Unicode."""
        return compose(self.path.rpartition("/")[2])

    @cached_property
    def _content(self) -> tuple[list[Folder], Listed]:
        folders, images = [], []
        for entry in _entries(self.place):
            path = f"{self.path}/{entry.name}" if self.path else entry.name
            if _is_folder(entry):
                if entry.name.lower() in GENERATED:
                    self.generated.append(entry.name)
                elif _identify(entry.path) not in self.above:  # else a link leads back
                    folders.append(Folder(self.root, path, self.above))
            elif self._is_image(entry):
                images.append((path, *_size_and_stamp(entry)))
        return sorted(folders, key=lambda folder: folder.path), sorted(images)

    def _is_image(self, entry: os.DirEntry[str]) -> bool:
        """Tell whether a file is an image that may be decoded, by its ending or else its first bytes."""
        if entry.name.lower().endswith(ENDINGS):
            return True
        kind = read_format(entry.path) if _is_file(entry) else ""
        if kind and is_decodable(kind):
            return True
        if kind:
            self.undecodable[kind] += 1
        else:
            self.others[Path(entry.name).suffix.lower() or "no ending"] += 1
        return False

    @property
    def folders(self) -> list[Folder]:
        """The folders in it, but for hidden ones and those of other tools, in the order of their names."""
        return self._content[0]

    @property
    def images(self) -> Listed:
        """The images directly in it, in the order of their names."""
        return self._content[1]

    @cached_property
    def class_folders(self) -> list[Folder]:
        """The folders in it that have images anywhere below."""
        return [folder for folder in self.folders if folder.has_images]

    @cached_property
    def has_images(self) -> bool:
        """Whether any image is in it or anywhere below."""
        return bool(self.images) or any(folder.has_images for folder in self.folders)

    def list_images(self) -> Listed:
        """Return all images in it and below, in the order of their paths."""
        return sorted(file for folder in self.walk() for file in folder.images)

    def walk(self) -> Iterator[Folder]:
        """Yield itself and all folders below."""
        yield self
        for folder in self.folders:
            yield from folder.walk()

    def sum_up(self) -> Remainder:
        """Return what is left out of it and of all folders below, images beside their class folders apart."""
        every = list(self.walk())
        return Remainder(
            others=sum((folder.others for folder in every), Counter()),
            undecodable=sum((folder.undecodable for folder in every), Counter()),
            generated=tuple(dict.fromkeys(name for folder in every for name in folder.generated)),
        )


@dataclass(frozen=True)
class Remainder:
    """What is in a folder and is no image that may be decoded.

    Args:
        others: files that are no images, by their endings.
        undecodable: images that cannot be decoded here, by their format.
        generated: folders of other tools, by their names.
    """

    others: Counter[str]
    undecodable: Counter[str]
    generated: tuple[str, ...]

    def describe_undecodable(self) -> str:
        """Return which images cannot be decoded here, and what helps; empty if there are none."""
        return "; ".join(
            f"{count} {kind} {'image' if count == 1 else 'images'}, not decodable here ({advise(kind)})"
            for kind, count in self.undecodable.most_common()
        )

    def describe_others(self) -> str:
        """Return how many files are no images, and of which endings; empty if there are none."""
        count = self.others.total()
        kinds = ", ".join(f"{number} {ending}" for ending, number in self.others.most_common(SHOWN))
        what = "file that is no image" if count == 1 else "files that are no images"
        return f"{count} {what} ({kinds})" if count else ""


def compose(name: str) -> str:
    """Return a name in the composed form of Unicode: macOS writes é as two signs, others as one."""
    return unicodedata.normalize("NFC", name)


def _entries(place: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise BadData(f"image_folder: {place} cannot be read ({error.strerror}).") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()  # else to open it may wait forever, as on a pipe
    except OSError:
        return False


def _size_and_stamp(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        # not `entry.stat()`, which has no inode on Windows; and making a Path takes longer than the call
        status = os.stat(entry.path)  # noqa: PTH116
    except OSError:  # a link to nothing
        return 0, 0
    return status.st_size, stamp_of(status)


def _identify(place: str) -> Identity:
    try:
        status = os.stat(place)  # noqa: PTH116
    except OSError as error:
        raise BadData(f"image_folder: {place} cannot be read ({error.strerror}).") from None
    return status.st_dev, status.st_ino
