"""A fingerprint is of what is in the files, and is found without reading them twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archives import FRAMES, TRACKS, sign, write_gtsrb
from bench_plugins.datasets import gtsrb, image_folder
from bench_plugins.datasets.gtsrb import GTSRB
from bench_plugins.datasets.image_files import contents
from bench_plugins.datasets.image_folder import ImageFolder
from PIL import Image

from bench.api import BadData, DataLocation, file_stamp

Reads = list[str]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Return the names of the files that are read for their digest, as they are read."""
    seen: Reads = []
    read = contents.digest_file

    def watch(file: str, stamp: int) -> Any:
        seen.append(Path(file).name)
        return read(file, stamp)

    monkeypatch.setattr(contents, "digest_file", watch)
    return seen


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file count as one that nobody is writing to, however new it is."""
    monkeypatch.setattr(contents, "SETTLED_NS", -(10**12))


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Return 3 x 40 bitmaps, which are of one size whatever they show."""
    for name in ("ant", "bee", "cow"):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for i in range(40):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "animals" / name / f"{i:02}.bmp")
    return tmp_path / "animals"


def fingerprint(root: Path, data_dir: Path | None = None) -> str:
    location = DataLocation(root=root, data_dir=data_dir or root.parent / "data")
    return ImageFolder("image_folder", image_folder.Config(), location).fingerprint()


def swap_in_place(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")


def swap_by_name(path: Path) -> None:
    draft = path.with_suffix(".draft")
    draft.write_bytes(path.read_bytes()[:-1] + b"\xff")
    draft.replace(path)


def swap_and_set_time_back(path: Path) -> None:
    before = path.stat()
    swap_in_place(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


SWAPS = [swap_in_place, swap_by_name, swap_and_set_time_back]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("swap", SWAPS)
def test_any_file_of_many_that_is_swapped_for_one_of_its_size_is_noticed(
    animals: Path, swap: Callable[[Path], None], reads: Reads
) -> None:
    prints = [fingerprint(animals)]
    for place in (1, 50, 77, 118):
        path = sorted(animals.rglob("*.bmp"))[place]
        size = path.stat().st_size
        reads.clear()
        swap(path)
        prints.append(fingerprint(animals))

        assert path.stat().st_size == size
        assert reads == [path.name]
    assert len(set(prints)) == 5


@pytest.mark.usefixtures("settled")
def test_a_file_is_read_once_and_not_once_a_run(animals: Path, reads: Reads) -> None:
    one = fingerprint(animals)
    assert len(reads) == 120
    reads.clear()

    assert fingerprint(animals) == one
    assert reads == []


@pytest.mark.usefixtures("settled")
def test_a_copy_elsewhere_has_the_same_fingerprint(animals: Path, tmp_path: Path, reads: Reads) -> None:
    one = fingerprint(animals)
    shutil.copytree(animals, tmp_path / "copy")

    assert fingerprint(tmp_path / "copy", tmp_path / "other data") == one
    assert len(reads) == 240


def test_what_was_written_a_moment_ago_is_read_again(animals: Path, reads: Reads) -> None:
    """Two writes within one step of the file system's clock have one time."""
    one = fingerprint(animals)

    assert fingerprint(animals) == one
    assert len(reads) == 240
    for path in animals.rglob("*.bmp"):
        os.utime(path, (0, 0))  # sets the time of the content back, not that of the change
    for count in (360, 480):  # the time of the change is still that of a moment ago
        assert fingerprint(animals) == one
        assert len(reads) == count


@pytest.mark.usefixtures("settled")
def test_what_is_another_file_by_the_time_it_is_read_is_not_remembered_as_the_one_that_was_found(
    tmp_path: Path, reads: Reads
) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_bytes(b"one")
    stamps = np.array([file_stamp(path) for path in paths])
    swap_by_name(paths[0])
    for _ in range(2):
        contents.digest_files([str(path) for path in paths], stamps, tmp_path / "data" / "index.bin", "some")

    assert reads == ["a", "b", "a"]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "gone"])
def test_a_damaged_index_is_not_believed(animals: Path, damage: str, reads: Reads) -> None:
    one = fingerprint(animals)
    (index,) = (animals.parent / "data" / "digests").iterdir()
    content = index.read_bytes()
    if damage == "gone":
        index.unlink()
    else:
        index.write_bytes(
            {"cut": content[:-40], "bit": content[:20] + b"\x55\xaa" + content[22:], "empty": b""}[damage]
        )
    reads.clear()

    assert fingerprint(animals) == one
    assert len(reads) == 120
    assert index.stat().st_size == 120 * 40 + 32


@pytest.mark.usefixtures("settled")
def test_an_index_that_cannot_be_written_is_done_without(animals: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert fingerprint(animals, tmp_path / "file") == fingerprint(animals)


def test_the_fingerprint_of_a_small_folder_is_what_it_was(tmp_path: Path) -> None:
    """Up to 64 files all contents were in it before; more than that and only some were."""
    for name in ("ant", "bee"):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for i in range(10):
            (tmp_path / "animals" / name / f"{i}.pgm").write_bytes(b"P5 8 8 255\n" + bytes([i]) * 64)

    assert fingerprint(tmp_path / "animals") == "4b44ab6e96f9b97215a7"


def test_a_stamp_tells_what_was_written_to_replaced_or_touched(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    stamps = [file_stamp(path), file_stamp(path)]
    path.write_bytes(b"longer")
    stamps.append(file_stamp(path))
    (tmp_path / "b").write_bytes(b"longer")
    (tmp_path / "b").replace(path)
    stamps.append(file_stamp(path))
    os.utime(path, (0, 0))
    stamps.append(file_stamp(path))

    assert stamps[0] == stamps[1]
    assert len(set(stamps)) == 4
    assert file_stamp(tmp_path / "gone") == 0
    assert all(np.int64(stamp) == stamp for stamp in stamps)


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    write_gtsrb(tmp_path / "signs" / "gtsrb")
    return tmp_path / "signs"


def sign_fingerprint(root: Path) -> str:
    return GTSRB(
        "gtsrb", gtsrb.Config(), DataLocation(root=root, data_dir=root.parent / "data")
    ).fingerprint()


def test_two_copies_of_gtsrb_with_other_labels_are_told_apart(signs: Path, tmp_path: Path) -> None:
    shutil.copytree(signs, tmp_path / "other")
    answers = tmp_path / "other" / "gtsrb" / "GT-final_test.csv"
    answers.write_text(
        answers.read_text().replace(";7\n", ";8\n").replace(";14\n", ";7\n").replace(";8\n", ";14\n")
    )
    one, other = (
        GTSRB("gtsrb", gtsrb.Config(), DataLocation(root=root, data_dir=tmp_path / "data"))
        for root in (signs, tmp_path / "other")
    )

    assert one.load("test").pixels.equal(other.load("test").pixels)
    assert one.labels("test") != other.labels("test")
    assert one.fingerprint() != other.fingerprint()


def test_any_sign_that_is_swapped_for_one_of_its_size_is_noticed(signs: Path) -> None:
    prints = [sign_fingerprint(signs)]
    images = sorted(signs.rglob("*.ppm"))
    for place in (0, 101, 222, len(images) - 1):
        sign(images[place], 99)
        prints.append(sign_fingerprint(signs))

    assert len(images) == (42 * TRACKS + 20) * FRAMES + 43
    assert len(set(prints)) == 5


def test_a_sign_that_changes_after_the_fingerprint_is_not_used(signs: Path) -> None:
    data = GTSRB("gtsrb", gtsrb.Config(), DataLocation(root=signs, data_dir=signs.parent / "data"))
    data.fingerprint()
    path = signs / "gtsrb" / "GTSRB" / "Final_Test" / "Images" / "00003.ppm"
    path.unlink()
    sign(path, 99)

    assert len(data.load("val")) > 0
    with pytest.raises(
        BadData, match=r"^gtsrb: .*00003\.ppm cannot be used: it changed on the disk.*Run it again"
    ):
        data.load("test")
