"""A file of decoded images is made once, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from bench_plugins.datasets.image_files.packed_file import Pack, refuse_no_room

from bench.api import BadData

CPU, SHAPE = torch.device("cpu"), (6, 1, 8, 8)


def numbers(out: Path) -> None:
    out.write_bytes(torch.arange(6 * 64, dtype=torch.uint8).numpy().tobytes())


def expected() -> torch.Tensor:
    return torch.arange(6 * 64, dtype=torch.uint8).view(SHAPE)


def never(out: Path) -> None:
    pytest.fail("it was made again")


def test_what_is_written_is_what_is_read_and_is_made_once(tmp_path: Path) -> None:
    first = Pack(tmp_path, "a").pixels(SHAPE, numbers)
    second = Pack(tmp_path, "a").pixels(SHAPE, never)

    assert torch.equal(first, expected())
    assert torch.equal(second, expected())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "a.json", "a.lock"]


def test_the_images_are_the_file_and_not_a_copy(tmp_path: Path) -> None:
    pack = Pack(tmp_path, "a")
    pixels = pack.pixels(SHAPE, numbers)
    with pack.file.open("rb+") as file:
        file.write(b"\xff")

    assert pixels[0, 0, 0, 0] == 255


@pytest.mark.parametrize("damage", ["cut", "longer", "other", "no manifest", "no json", "no file"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: str) -> None:
    pack = Pack(tmp_path, "a")
    pack.pixels(SHAPE, numbers)
    {
        "cut": lambda: os.truncate(pack.file, 6 * 64 - 1),
        "longer": lambda: os.truncate(pack.file, 6 * 64 + 1),
        "other": lambda: pack.file.write_bytes(bytes(6 * 64)),
        "no manifest": pack.manifest.unlink,
        "no json": lambda: pack.manifest.write_text("{"),
        "no file": pack.file.unlink,
    }[damage]()
    with pytest.raises(pytest.fail.Exception):
        pack.pixels(SHAPE, never)

    assert torch.equal(pack.pixels(SHAPE, numbers), expected())


def test_a_file_of_another_shape_is_made_again(tmp_path: Path) -> None:
    pack = Pack(tmp_path, "a")
    pack.pixels((3, 2, 8, 8), numbers)

    assert torch.equal(pack.pixels(SHAPE, numbers), expected())


def test_of_a_process_that_is_killed_nothing_is_used(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from bench_plugins.datasets.image_files.packed_file import Pack\n"
        f"def fill(out): out.write_bytes(bytes({6 * 64})); os._exit(9)\n"
        f"Pack(Path(sys.argv[1]), 'a').pixels({SHAPE}, fill)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)

    assert done.returncode == 9
    assert (tmp_path / "a.part").stat().st_size == 6 * 64
    assert torch.equal(Pack(tmp_path, "a").pixels(SHAPE, numbers), expected())
    assert not (tmp_path / "a.part").exists()


def test_of_an_error_nothing_is_left(tmp_path: Path) -> None:
    def broken(out: Path) -> None:
        raise BadData("an image is damaged")

    with pytest.raises(BadData, match="an image is damaged"):
        Pack(tmp_path, "a").pixels(SHAPE, broken)
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]


def test_who_comes_second_waits_and_makes_nothing(tmp_path: Path) -> None:
    entered, released = threading.Event(), threading.Event()

    def slowly(out: Path) -> None:
        entered.set()
        assert released.wait(10)
        numbers(out)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Pack(tmp_path, "a").pixels, SHAPE, slowly)
        assert entered.wait(10)
        second = pool.submit(Pack(tmp_path, "a").pixels, SHAPE, never)
        assert not second.done()
        released.set()

        assert torch.equal(first.result(), expected())
        assert torch.equal(second.result(), expected())


def test_a_disk_without_room_is_refused_with_both_sizes(tmp_path: Path) -> None:
    refuse_no_room(tmp_path / "data" / "packed", 1, "image_folder")

    with pytest.raises(
        BadData, match=r"take 1.07e\+09 GiB, .* GiB are free there\. Set --data-dir"
    ) as caught:
        refuse_no_room(tmp_path / "data" / "packed", 1 << 60, "image_folder")
    assert "\n" not in str(caught.value)
