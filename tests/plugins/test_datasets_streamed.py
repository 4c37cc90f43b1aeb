"""A folder that is streamed: pretrained on its files, evaluated on images that are stored or decoded anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench_plugins.datasets.image_files.decoding import decode, read
from bench_plugins.datasets.image_folder import Config, ImageFolder
from conftest import Lab, without_times
from PIL import Image
from safetensors.torch import load_file

from bench.api import BadData, DataLocation, FileStream, LazyPixels
from bench.config import identity
from bench.planning.open_datasets import Datasets
from bench.pretraining.channel_statistics import measure_channels
from bench.testing import check_dataset

SIDE = 16
CHANNELS = {"RGB": 3, "RGBA": 4, "CMYK": 4, "LA": 2, "L": 1}
CONFIG = "bench_plugins.datasets.image_folder"


def noise(seed: int, height: int = SIDE, width: int = SIDE, mode: str = "RGB") -> Image.Image:
    random = np.random.Generator(np.random.PCG64(seed))
    drawn = mode if mode in CHANNELS else "RGB"
    values = random.integers(0, 256, (height, width, CHANNELS[drawn]), dtype=np.uint8)
    return Image.frombytes(drawn, (width, height), values.tobytes()).convert(mode)


def whole(height: int, width: int) -> float:
    """Ask for an image as it is."""
    return 1.0


def cut(path: Path) -> None:
    """Leave a file of which the header is whole."""
    path.write_bytes(path.read_bytes()[:100])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of 2 x 40 training, 2 x 10 validation and 2 x 10 test images of mixed sizes."""
    for split, count in (("train", 40), ("val", 10), ("test", 10)):
        for place, name in enumerate(("ant", "bee")):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for i in range(count):
                image = noise(1_000 * place + i + len(split), SIDE + i % 3, 20)
                image.save(tmp_path / "photos" / split / name / f"{i}.png")
    return tmp_path / "photos"


def opened(photos: Path, *, packed: bool = False, **settings: Any) -> ImageFolder:
    location = DataLocation(root=photos, data_dir=photos.parent / "data", packed=packed)
    return ImageFolder("image_folder", Config(**settings), location)


def streamed(photos: Path, **settings: Any) -> FileStream:
    stream = opened(photos, stream=True, **settings).stream("train")
    assert stream is not None
    return stream


def packs(photos: Path) -> list[str]:
    return sorted(path.name for path in (photos.parent / "data" / "packed").glob("*.bin"))


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{CONFIG}.available_memory", lambda: 0)


# ---- a file


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "I;16", "transparent"])
def test_a_file_of_any_mode_is_read_as_it_is_stored(tmp_path: Path, mode: str, channels: int) -> None:
    path, how = tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), {}
    if mode == "I;16":
        image = Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 250)
    elif mode == "transparent":
        image, how = noise(0).convert("P"), {"transparency": 3}
    else:
        image = noise(0, mode=mode)
    image.save(path, **how)
    pixels = read(path, whole, channels=channels)

    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == (SIDE, SIDE, channels)
    assert (pixels.transpose(2, 0, 1) == decode(path, channels, SIDE)).all()


@pytest.mark.parametrize(
    ("shrink", "width"), [(0.3, 400), (1.0, 400), (1.9, 400), (2.0, 200), (3.9, 200), (4.0, 100), (99.0, 50)]
)
def test_a_large_jpeg_is_read_smaller_but_never_smaller_than_asked(
    tmp_path: Path, shrink: float, width: int
) -> None:
    noise(0, 320, 400).save(tmp_path / "a.jpg")

    def asked(height: int, own_width: int) -> float:
        return shrink

    pixels = read(tmp_path / "a.jpg", asked, channels=3)

    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == (width * 4 // 5, width, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_asked_of_and_read_upright(tmp_path: Path, orientation: int) -> None:
    image, exif = noise(0, 24, 40), Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    asked: list[tuple[int, int]] = []
    pixels = read(tmp_path / "a.png", lambda *sides: asked.append(sides) or 1.0, channels=3)

    assert isinstance(pixels, np.ndarray)
    assert asked == [pixels.shape[:2]] == [(24, 40) if orientation < 5 else (40, 24)]


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    noise(0, 64, 64).save(tmp_path / "a.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:2_000])
    (tmp_path / "text.jpg").write_text("no image")

    def why(name: str) -> Any:
        return read(tmp_path / name, whole, channels=3)

    assert "cut short" in why("cut.jpg")
    assert why("text.jpg") == "not an image"
    assert why("gone.jpg") == "a link to nothing"


# ---- a folder


def test_a_streamed_folder_keeps_the_contract(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = DataLocation(root=photos, data_dir=photos.parent / "data")
    check_dataset(ImageFolder, "image_folder", Config(stream=True), location=location)
    monkeypatch.setattr(f"{CONFIG}.available_memory", lambda: 0)
    check_dataset(ImageFolder, "image_folder", Config(stream=True), location=location)

    assert packs(photos) == []


def test_images_that_are_decoded_when_they_are_looked_at_can_be_sent_to_a_device(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{CONFIG}.available_memory", lambda: 0)
    images = opened(photos, stream=True).load("train")

    assert images.resident(torch.device("cpu")).pixels is images.pixels


def test_files_of_other_images_than_are_loaded_break_the_contract(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = DataLocation(root=photos, data_dir=photos.parent / "data")
    test = opened(photos, stream=True).stream("test")

    def other(self: ImageFolder, split: str) -> FileStream | None:
        return test

    monkeypatch.setattr(ImageFolder, "stream", other)

    with pytest.raises(AssertionError, match="train: streams what it loads: 20 files for 80 images"):
        check_dataset(ImageFolder, "image_folder", Config(stream=True), location=location)


def test_nothing_is_streamed_unless_it_is_asked_for(photos: Path) -> None:
    assert opened(photos).stream("train") is None


def test_the_files_are_in_the_order_of_the_images(photos: Path) -> None:
    stream, images = streamed(photos, max_train=20), opened(photos, max_train=20).load("train")
    first = decode(stream.files[3], 3, images.pixels.shape[2])

    assert len(stream) == 20
    assert stream.labels.tolist() == images.labels.tolist()
    assert (torch.from_numpy(first.copy()) == images.pixels[3]).all()


def test_what_is_skipped_is_not_streamed_and_what_is_damaged_is_named(photos: Path) -> None:
    cut(photos / "train" / "bee" / "1.png")
    refusal = streamed(photos).refusal(41, "cut short")

    assert isinstance(refusal, BadData)
    assert "image_folder: an image cannot be decoded: train/bee/1.png (cut short). Replace" in str(refusal)
    assert len(streamed(photos, on_error="skip")) == 79


def test_streaming_is_in_a_key_only_where_it_is_set() -> None:
    assert "stream" not in identity(Config())
    assert "stream" not in identity(Config(stream=False))
    assert identity(Config(stream=True)) == {**identity(Config()), "stream": True}


def test_streamed_or_not_is_packed_alike_if_that_is_asked_for(photos: Path) -> None:
    plain = opened(photos, packed=True).load("train").pixels
    before = packs(photos)
    again = opened(photos, packed=True, stream=True).load("train").pixels

    assert len(before) == 1
    assert packs(photos) == before
    assert torch.equal(again, plain)


# ---- images that are not stored


@pytest.mark.usefixtures("small_memory")
def test_images_that_do_not_fit_are_decoded_when_they_are_looked_at(photos: Path) -> None:
    lazy, stored = opened(photos, stream=True).load("train"), opened(photos).load("train")
    assert isinstance(lazy.pixels, LazyPixels)
    before = packs(photos)
    index = torch.tensor([70, 3, 3, 12])

    assert len(before) == 1  # of what is not streamed
    for rows in (slice(0, 5), slice(60, 70), slice(5, 79), slice(None), slice(80, 90), index):
        assert torch.equal(lazy.pixels[rows], stored.pixels[rows])
    assert torch.equal(lazy.take(index).labels, stored.labels[index])
    assert torch.equal(torch.cat(list(lazy.pixels.split(33))), stored.pixels)
    assert (len(lazy), lazy.pixels.shape, lazy.pixels.nbytes) == (
        80,
        stored.pixels.shape,
        stored.pixels.nbytes,
    )
    assert measure_channels(lazy) == measure_channels(stored)
    assert packs(photos) == before


@pytest.mark.usefixtures("small_memory")
def test_an_image_that_is_damaged_is_named_when_it_is_looked_at(photos: Path) -> None:
    cut(photos / "train" / "bee" / "1.png")
    images = opened(photos, stream=True).load("train")

    assert len(images.pixels[torch.arange(41)]) == 41
    for rows in (slice(41, 50), torch.tensor([7, 41])):
        with pytest.raises(BadData, match=r"an image cannot be decoded: train/bee/1.png \(cut short\)"):
            images.pixels[rows]


# ---- a run


def run_with(lab: Lab, photos: Path, **settings: Any) -> tuple[list[Any], list[Any], list[torch.Tensor]]:
    """Return the records, the epochs and the features of a grid on the folder."""
    lab.datasets = Datasets(lab.registry, photos.parent / "data")
    told = {"dataset.root": str(photos), "dataset.max_train": None, "linear-sgd.epochs": 2, **settings}
    cells = lab.plan(told, dataset="image_folder", method="simclr", evaluator=("knn", "linear-sgd"))
    records = [without_times(record) for record in lab.run(cells)]
    path = lab.artifact(cells[0].keys.backbone) / "metrics.jsonl"
    epochs = [json.loads(line) for line in path.read_text().splitlines()]
    untimed = [{k: v for k, v in line.items() if k not in ("seconds", "images_per_s")} for line in epochs]
    keys = cells[0].keys.features.values()
    return records, untimed, [load_file(lab.artifact(key) / "features.safetensors")["x"] for key in keys]


def test_a_streamed_run_is_the_same_whether_its_images_fit_or_not(
    lab: Lab, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = run_with(lab.beside("fits"), photos, **{"dataset.stream": True})
    monkeypatch.setattr(f"{CONFIG}.available_memory", lambda: 0)
    large = run_with(lab.beside("large"), photos, **{"dataset.stream": True})
    stored = run_with(lab, photos)

    assert [record["status"] for record in fits[0]] == ["ok"] * 2
    assert large[:2] == fits[:2]
    assert all(map(torch.equal, large[2], fits[2]))
    assert fits[1] != stored[1]  # crops of the files are others
    assert len(packs(photos)) == 3  # of the splits of the run that is not streamed
