"""Small archives in the formats that data sets are published in."""

from __future__ import annotations

import hashlib
import pickle
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from bench_plugins.datasets.gtsrb import FOLDERS, NAMES
from bench_plugins.datasets.stl10 import NAMES as STL10_NAMES
from PIL import Image

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_HUNDRED = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
    can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
    lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
    pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea
    seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
    telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman
    worm
"""
HUNDRED = tuple(_HUNDRED.split())


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def noise(seed: int, *shape: int) -> Any:
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, shape, dtype=np.uint8)


# ---- CIFAR: pickles, of which torchvision has the checksums


def cifar_file(value: Any) -> bytes:
    """Return a pickle as the numpy of 2009 wrote it: flags of a dtype are integers."""
    return pickle.dumps(value, protocol=2).replace(b"\x89\x88\x87", b"K\x00K\x01\x87")


def cifar_batch(seed: int, count: int, label: str, classes: int) -> dict[str, Any]:
    labels = [i % classes for i in range(count)]
    return {"data": noise(seed, count, 3_072), label: labels, "filenames": ["x.png"] * count}


def write_cifar(monkeypatch: pytest.MonkeyPatch, folder: Path, source: Any, files: Mapping[str, Any]) -> None:
    """Write files, and set the checksums that `source`, a class of torchvision, knows to theirs."""
    folder.mkdir(parents=True)
    packed = {name: cifar_file(value) for name, value in files.items()}
    for name, content in packed.items():
        (folder / name).write_bytes(content)
    meta, sums = source.meta["filename"], {name: md5(content) for name, content in packed.items()}
    test = {name: sums[name] for name in sums if name in ("test_batch", "test")}
    train = {name: sums[name] for name in sums if name not in (*test, meta)}
    monkeypatch.setattr(source, "train_list", [list(pair) for pair in train.items()])
    monkeypatch.setattr(source, "test_list", [list(pair) for pair in test.items()])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": sums[meta]})


def write_cifar10(monkeypatch: pytest.MonkeyPatch, root: Path, batch: int = 20) -> None:
    """Write a CIFAR-10 of five times `batch` training and 20 test images."""
    files = {f"data_batch_{i}": cifar_batch(i, batch, "labels", 10) for i in range(1, 6)}
    files |= {"test_batch": cifar_batch(6, 20, "labels", 10), "batches.meta": {"label_names": list(TEN)}}
    write_cifar(monkeypatch, root / "cifar-10-batches-py", torchvision.datasets.CIFAR10, files)


def write_cifar100(monkeypatch: pytest.MonkeyPatch, root: Path, train: int = 200) -> None:
    """Write a CIFAR-100 of `train` training and 100 test images."""
    files = {
        "train": cifar_batch(1, train, "fine_labels", 100),
        "test": cifar_batch(2, 100, "fine_labels", 100),
        "meta": {"fine_label_names": list(HUNDRED), "coarse_label_names": list(TEN)},
    }
    write_cifar(monkeypatch, root / "cifar-100-python", torchvision.datasets.CIFAR100, files)


# ---- MNIST and KMNIST: IDX files

MNIST_COUNTS = {"train": 40, "t10k": 20}


def idx(values: Any) -> bytes:
    """Return an array of bytes as an IDX file: two zeros, the type, the dimensions and their lengths."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def mnist_files(counts: Mapping[str, int] = MNIST_COUNTS) -> dict[str, bytes]:
    files = {}
    for seed, (prefix, count) in enumerate(counts.items()):
        files[f"{prefix}-images-idx3-ubyte"] = idx(noise(seed, count, 28, 28))
        files[f"{prefix}-labels-idx1-ubyte"] = idx((np.arange(count) % 10).astype(np.uint8))
    return files


def write_mnist(root: Path, name: str = "MNIST", counts: Mapping[str, int] = MNIST_COUNTS) -> Path:
    """Write the unpacked files of MNIST or KMNIST under `root`, and return it."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for file, content in mnist_files(counts).items():
        (raw / file).write_bytes(content)
    return root


# ---- GTSRB: folders of films and a table of answers

TRACKS, FRAMES = 3, 2  # of each class; class 1 has 20 tracks


def sign(path: Path, label: int, width: int = 20, height: int = 24) -> None:
    """Write an image of which the red is its label, and the blue is at the left edge only."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = label
    pixels[:, :2, 2] = 255
    Image.fromarray(pixels).save(path)


def write_gtsrb(folder: Path) -> None:
    """Write what the archives unpack to, with a test image of each class."""
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    for name, label in FOLDERS.items():
        place = folder / "GTSRB" / "Training" / name
        place.mkdir(parents=True)
        for track in range(20 if label == 1 else TRACKS):
            for frame in range(FRAMES):
                sign(place / f"{track:05d}_{frame:05d}.ppm", label)
        (place / f"GT-{name}.csv").write_text(f"{header}\n")
    images = folder / "GTSRB" / "Final_Test" / "Images"
    images.mkdir(parents=True)
    rows = [header]
    for i in range(len(NAMES)):
        label = (i * 7) % len(NAMES)
        sign(images / f"{i:05d}.ppm", label)
        rows.append(f"{i:05d}.ppm;20;24;5;5;15;19;{label}")
    (folder / "GT-final_test.csv").write_text("\n".join(rows) + "\n")


# ---- STL-10: bytes, of which torchvision has the checksums

STL10_COUNTS = {"train": 40, "test": 20, "unlabeled": 30}


def stl10_pixels(part: str, counts: Mapping[str, int] = STL10_COUNTS) -> Any:
    return noise(list(counts).index(part), counts[part], 3, 96, 96)


def write_stl10(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    counts: Mapping[str, int] = STL10_COUNTS,
    **changed: bytes,
) -> Path:
    """Write the files, some of them changed, and return the folder they are in a folder of.

    Labels count from 1, and images are stored by column.
    """
    source = torchvision.datasets.STL10
    files = {f"{part}_X": stl10_pixels(part, counts).transpose(0, 1, 3, 2).tobytes() for part in counts}
    files |= {f"{part}_y": bytes(i % 10 + 1 for i in range(counts[part])) for part in ("train", "test")}
    files |= changed
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.bin").write_bytes(content)
    (folder / "class_names.txt").write_text("\n".join(STL10_NAMES) + "\n")
    folds = [" ".join(str((fold + i) % 40) for i in range(20)) + " \n" for fold in range(10)]
    (folder / "fold_indices.txt").write_text("".join(folds))
    lists = {"train_list": ("train_X", "train_y", "unlabeled_X"), "test_list": ("test_X", "test_y")}
    for name, parts in lists.items():
        monkeypatch.setattr(source, name, [[f"{part}.bin", md5(files[part])] for part in parts])
    return folder.parent


# ---- all of them


def write_all(
    root: Path, monkeypatch: pytest.MonkeyPatch, cifar10_batch: int = 220, of_a_class: int = 110
) -> None:
    """Write every data set below `root`, CIFAR-10 as a folder of images, too, of so many of a class."""
    write_cifar10(monkeypatch, root, batch=cifar10_batch)
    write_cifar100(monkeypatch, root, train=500)
    for name in ("MNIST", "KMNIST"):
        write_mnist(root, name, {"train": 300, "t10k": 20})
    write_gtsrb(root / "gtsrb")
    write_stl10(root / "stl10_binary", monkeypatch, {"train": 600, "test": 20, "unlabeled": 30})
    fill(root / "cifar10" / "train", TEN, of_a_class, "RGB")
    fill(root / "cifar10" / "test", TEN, 2, "RGB")
    (root / "cifar10" / "class.txt").write_text("\n".join(reversed(TEN)) + "\n")


# ---- folders of images


def draw(path: Path, shade: int = 0, size: tuple[int, int] = (8, 8), mode: str = "L") -> None:
    """Write an image of which every pixel is `shade`; of an RGB one, the red."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, shade).save(path)


def fill(
    folder: Path, classes: Sequence[str] = ("ant", "bee", "cow"), count: int = 5, mode: str = "L"
) -> Path:
    """Write `count` images a class; image i of class c has the shade 10 c + i."""
    for c, name in enumerate(classes):
        for i in range(count):
            draw(folder / name / f"{i}.png", 10 * c + i, mode=mode)
    return folder
