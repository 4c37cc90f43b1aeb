"""Decoded images in a mapped file: the same as in memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench_plugins.datasets.image_files.decoding import decode_all
from bench_plugins.datasets.image_files.layout import Paths
from bench_plugins.datasets.image_files.packing import CHUNK, decode_into
from bench_plugins.datasets.image_folder import Config, ImageFolder
from click.testing import CliRunner
from conftest import Lab, without_times
from PIL import Image
from safetensors.torch import load_file

from bench.api import BadData, DataLocation
from bench.cli.main import main
from bench.planning.open_datasets import Datasets

CPU, SHAPE = torch.device("cpu"), (6, 1, 8, 8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of 2 x 40 training and 2 x 10 test images of mixed sizes, in colour."""
    random = np.random.Generator(np.random.PCG64(0))
    for split, count in (("train", 40), ("test", 10)):
        for name in ("ant", "bee"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (16 + i % 3, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / split / name / f"{i}.png")
    return tmp_path / "photos"


def opened(
    photos: Path, *, packed: bool = True, data_dir: Path | None = None, **settings: Any
) -> ImageFolder:
    location = DataLocation(root=photos, data_dir=data_dir or photos.parent / "data", packed=packed)
    return ImageFolder("image_folder", Config(**settings), location)


def packs(photos: Path) -> dict[str, tuple[int, int]]:
    """Return which file of images is where on the disk, and when it was written."""
    found = (photos.parent / "data" / "packed").glob("*.bin")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


# ---- the processes that decode


def test_processes_write_what_one_process_decodes_and_tell_what_failed(photos: Path, tmp_path: Path) -> None:
    names = [str(path.relative_to(photos)) for path in sorted(photos.rglob("*.png"))] * 3
    (photos / names[1]).write_text("no image")
    paths, count = Paths(photos, names), len(names)
    decoded = np.zeros((count, 3, 16, 16), dtype=np.uint8)
    failures = decode_all(paths, 3, 16, out=decoded)
    found = {}
    for workers in (1, 2):
        out = tmp_path / f"{workers}.bin"
        out.write_bytes(bytes(decoded.size))
        found[workers] = decode_into(out, paths, 3, 16, workers, "photos")

    assert count > 2 * CHUNK
    assert found == {1: failures, 2: failures}
    assert failures == dict.fromkeys((1, 101, 201), "not an image")
    assert (tmp_path / "1.bin").read_bytes() == decoded.tobytes() == (tmp_path / "2.bin").read_bytes()


class Fatal:
    """Paths that end the process they are sent to."""

    def __len__(self) -> int:
        return 2 * CHUNK

    def __getitem__(self, place: slice) -> Fatal:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


def test_a_process_that_is_killed_is_told_in_a_line(tmp_path: Path) -> None:
    paths: Any = Fatal()

    with pytest.raises(BadData, match="photos: a process that decodes was killed") as caught:
        decode_into(tmp_path / "out", paths, 3, 16, 2, "photos")
    assert "\n" not in str(caught.value)


# ---- a folder of images


def test_packed_images_are_those_of_memory_bit_by_bit(photos: Path) -> None:
    for split in ("train", "test"):
        packed, plain = opened(photos).load(split), opened(photos, packed=False).load(split)

        assert torch.equal(packed.pixels, plain.pixels)
        assert packed.labels.tolist() == plain.labels.tolist() == list(opened(photos).labels(split))


def test_a_folder_is_packed_once_a_split(photos: Path) -> None:
    opened(photos).load("train")
    opened(photos).load("test")
    before = packs(photos)
    opened(photos).load("train")

    assert len(before) == 2
    assert packs(photos) == before


def test_what_changes_the_pixels_gives_another_file(photos: Path) -> None:
    opened(photos).load("train")
    opened(photos, size=12).load("train")
    opened(photos, max_train=10).load("train")
    opened(photos, classes=("bee", "ant")).load("train")
    (photos / "train" / "ant" / "0.png").rename(photos / "train" / "ant" / "z.png")
    changed = opened(photos).load("train").pixels

    assert len(packs(photos)) == 5
    assert torch.equal(changed, opened(photos, packed=False).load("train").pixels)


def test_a_folder_that_moves_keeps_its_file(photos: Path) -> None:
    opened(photos).load("train")
    before = packs(photos)
    opened(photos.rename(photos.parent / "moved")).load("train")

    assert packs(photos) == before


def test_a_damaged_image_is_named_and_leaves_no_file(photos: Path) -> None:
    (photos / "train" / "bee" / "1.png").write_text("no image")

    with pytest.raises(BadData, match=r"an image cannot be decoded: train/bee/1.png \(not an image\)"):
        opened(photos).load("train")
    assert packs(photos) == {}
    assert len(opened(photos, on_error="skip").load("train")) == 79


def test_only_a_split_that_takes_a_fourth_of_the_memory_is_packed(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def room(free: int) -> None:
        monkeypatch.setattr("bench_plugins.datasets.image_folder.available_memory", lambda: free)

    fourth = 80 * 3 * 16 * 16
    room(4 * fourth)
    opened(photos, packed=False, size=16).load("train")
    assert packs(photos) == {}
    room(4 * fourth - 1)
    opened(photos, packed=False, size=16).load("train")
    opened(photos, packed=False, size=16).load("test")

    assert len(packs(photos)) == 1


def test_a_disk_without_room_is_told_before_anything_is_decoded(photos: Path) -> None:
    with pytest.raises(BadData, match=r"image_folder: its decoded images are packed into .*data/packed"):
        opened(photos, size=1 << 22)


def test_a_folder_that_cannot_be_written_to_is_told_in_a_line(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(
        BadData, match=r"decoded images cannot be kept there .*Set another --data-dir"
    ) as caught:
        opened(photos, data_dir=tmp_path / "file").load("train")
    assert "\n" not in str(caught.value)


# ---- a run


def run_with(lab: Lab, photos: Path, *, packed: bool) -> tuple[list[Any], list[Any], dict[str, torch.Tensor]]:
    """Return the records, the epochs and the features of a grid on the folder."""
    lab.datasets = Datasets(lab.registry, lab.folder.parent / "data", packed=packed)
    settings = {"dataset.root": str(photos), "dataset.max_train": None}
    cells = lab.plan(settings, dataset="image_folder", method="supervised", label_frac=(0.5, 1.0))
    records = [without_times(record) for record in lab.run(cells)]
    epochs, features = [], {}
    for cell in cells:
        lines = (lab.artifact(cell.keys.backbone) / "metrics.jsonl").read_text().splitlines()
        epochs += [
            {
                name: value
                for name, value in json.loads(line).items()
                if name not in ("seconds", "images_per_s")
            }
            for line in lines
        ]
        for key in cell.keys.features.values():
            features[key] = load_file(lab.artifact(key) / "features.safetensors")["x"]
    return records, epochs, features


def test_a_run_on_packed_images_is_bitwise_that_on_images_in_memory(lab: Lab, photos: Path) -> None:
    from_file = run_with(lab.beside("mapped"), photos, packed=True)
    assert len(packs(photos)) == 2
    plain = run_with(lab, photos, packed=False)

    assert [record["status"] for record in plain[0]] == ["ok"] * 2
    assert from_file[:2] == plain[:2]
    assert from_file[2].keys() == plain[2].keys()
    assert all(torch.equal(from_file[2][key], x) for key, x in plain[2].items())


def test_the_command_line_packs_what_would_fit_into_memory(photos: Path, tmp_path: Path) -> None:
    args = ["run", "--dataset", "image_folder", "--set", f"dataset.root={photos}", "--method", "pixels"]
    args += ["--eval", "knn", "--data-dir", str(tmp_path / "data"), "--results"]
    plain = CliRunner().invoke(main, [*args, str(tmp_path / "results")])
    assert packs(photos) == {}
    packed = CliRunner().invoke(main, [*args, str(tmp_path / "again"), "--packed"])

    assert (plain.exit_code, packed.exit_code) == (0, 0)
    assert plain.stdout == packed.stdout
    assert len(packs(photos)) == 2
