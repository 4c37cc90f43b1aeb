"""Folders larger than memory: how fast files are streamed, a packed one is read, and what memory it takes.

    python benchmarks/bench_streaming.py 20000 200000

prints the memory of packing folders of so many images and training on them, and of streaming them.

Memory is anonymous (Pss_Anon of Linux): that of a mapped file is the system's, which takes it back when
something else needs it. Each count has processes of its own, which decode in two others; all are
counted, and malloc keeps nothing that is freed: what it keeps depends on luck. The files are hard links
to 200 distinct images of 16x16; names and paths are their own. The network is a linear layer. What grows
with the images is there from an epoch's first step on: it is stopped after 50.

Speed is in processor time, all in one process and one thread.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from bench_plugins.datasets import image_folder
from bench_plugins.datasets.image_files.packed_file import map_file
from bench_plugins.datasets.image_folder import Config, ImageFolder
from PIL import Image
from side_by_side import say, side_by_side
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bench.augmentation.crops import draw_crops
from bench.contracts.dataset import DataLocation, FileStream, Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.recipe import Training
from bench.pretraining.crop_workers import Cropper, Piece, crop_in_workers, split_pieces
from bench.pretraining.loop import TrainingLoop
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry
from bench.system.progress import Progress

SIDE, CLASSES, DISTINCT, TEST, DIM, STEPS = 16, 10, 200, 1_000, 32, 50
FEW, MANY = 20_000, 200_000
CROP, VIEWS, BATCH = 224, 2, 32
PHOTOS = {(500, 375): 48, (2_000, 1_500): 8}  # how many of which size
MB = 1 << 20
T = TypeVar("T")
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}  # glibc gives memory back
USED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bench_streaming
bench_streaming.tell(Path(sys.argv[2]), sys.argv[3])
"""  # not this file: processes that decode import the main module, as they do that of bench, which is light


class Enough(Exception):
    """Ends an epoch."""


# ---- speed


def write_photos(folder: Path, width: int, height: int, count: int) -> Path:
    """Write coloured clouds with some noise, as large as photographs of that size, in two classes."""
    generator = torch.Generator().manual_seed(0)
    for i in range(count):
        clouds = torch.zeros(1, 3, height, width)
        for cells in (2, 8, 32, 64):
            coarse = torch.randn(1, 3, cells, cells, generator=generator) / cells**0.9
            clouds += nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
        clouds = 255 * (clouds - clouds.min()) / (clouds.max() - clouds.min())
        clouds += 10 * torch.randn(1, 1, height, width, generator=generator)
        for split in ("train", "test") if i < 2 else ("train",):
            path = folder / split / str(i % 2) / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(clouds[0].clamp(0, 255).byte().permute(1, 2, 0).numpy()).save(path, quality=92)
    return folder


@pytest.mark.parametrize(("width", "height"), list(PHOTOS))
def test_streamed_crops(benchmark: Any, tmp_path: Path, width: int, height: int) -> None:
    """Decode photographs and crop two views of each."""
    torch.set_num_threads(1)
    root = write_photos(tmp_path / "photos", width, height, PHOTOS[width, height])
    stream = ImageFolder("image_folder", Config(stream=True), DataLocation(root=root)).stream("train")
    assert isinstance(stream, FileStream)
    found = side_by_side(
        benchmark,
        lambda: streamed(stream),
        lambda: plain(root / "train"),
        what=f"images a second, two crops at {CROP} px of files of {width}x{height}, against torchvision's",
        goal="at least 1",
        faster=True,
    )

    assert found.value > 0


def streamed(stream: FileStream) -> int:
    """Take an epoch's crops, without workers, as numbers in [0, 1]."""
    generator, ratios = torch.Generator().manual_seed(0), (4 / 3,) * VIEWS

    def asked() -> Iterator[Piece]:
        for index in torch.randperm(len(stream), generator=generator).split(BATCH):
            crops = torch.stack([draw_crops(len(index), 0.08, 1, 4 / 3, generator) for _ in range(VIEWS)])
            for rows in split_pieces(len(index)):
                files = [str(stream.files[place]) for place in index[rows].tolist()]
                yield Piece(files, crops[:, rows].numpy())

    made = crop_in_workers(Cropper(stream.read, ratios, (CROP,) * VIEWS), asked(), BATCH, 0, "bench")
    pieces = (piece for piece in made if isinstance(piece, list))
    return sum(max(len(crops.float().div_(255)) for crops in piece) for piece in pieces)


def plain(folder: Path) -> int:
    """Take as many crops as torchvision's examples do."""
    import torchvision  # not by a process whose memory is looked at
    from torchvision.transforms import Compose, RandomResizedCrop, ToTensor

    crop = Compose([RandomResizedCrop(CROP), ToTensor()])
    images = torchvision.datasets.ImageFolder(str(folder), lambda image: [crop(image) for _ in range(VIEWS)])
    return sum(len(labels) for _, labels in DataLoader(images, batch_size=BATCH, shuffle=True))


def test_batches(benchmark: Any, tmp_path: Path) -> None:
    """Take an epoch's shuffled batches of images of 64x64 from a file that is cached, and from memory."""
    torch.set_num_threads(1)
    shape = (8_192, 3, 64, 64)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    file = tmp_path / "images.bin"
    file.write_bytes(pixels.numpy().tobytes())
    order, source = torch.randperm(len(pixels)).split(256), map_file(file, shape)
    found = side_by_side(
        benchmark,
        lambda: taken(source, order),
        lambda: taken(pixels, order),
        what="images a second, second epoch of a packed folder, against images in memory",
        goal="at least 0.95",
        rounds=15,
        faster=True,
    )

    assert found.value > 0


def taken(source: Tensor, order: tuple[Tensor, ...]) -> int:
    return sum(len(source[index]) for index in order)


# ---- memory


def write_files(folder: Path, count: int) -> Path:
    """Write `count` training images, and some to test on."""
    random = np.random.Generator(np.random.PCG64(0))
    (folder / "distinct").mkdir(parents=True)
    for i in range(DISTINCT):
        pixels = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "distinct" / f"{i}.png")
    for split, images in (("train", count), ("test", TEST)):
        for c in range(CLASSES):
            (folder / "images" / split / f"class{c}").mkdir(parents=True)
        for i in range(images):
            name = f"class{i % CLASSES}/image{i:07}.png"
            os.link(folder / "distinct" / f"{i % DISTINCT}.png", folder / "images" / split / name)
    return folder / "images"


def watched(work: Callable[[], T], every: float = 0.02) -> tuple[T, float]:
    """Return what work gives, and the most anonymous memory of this process and its children, in MB.

    Args:
        work: to be done.
        every: seconds between looks.
    """
    peaks, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(every):
            peaks.append(sum(map(anonymous, family(os.getpid()))) / MB)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        return work(), max(peaks)
    finally:
        over.set()
        thread.join()


def family(pid: int) -> list[int]:
    """Return a process and the processes it started."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it ended
        return []
    return [pid, *(relative for child in children for relative in family(child))]


def anonymous(pid: int) -> int:
    """Return the bytes of a process that no file stands behind; what two share counts half in each."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon")), 0)


def epoch(images: Images | FileStream, info: DatasetInfo, folder: Path) -> None:
    """Train a linear layer on the labels for the first steps of an epoch."""
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, DIM))
    methods: Any = Registry.load().load_class("methods", "supervised")
    method = methods(backbone, DIM, methods.Config(), info).train()
    training = Training(
        epochs=1, batch_size=256, image_size=SIDE, precision="float32", optimizer="sgd", lr=0.1,
        weight_decay=1e-6, momentum=0.9, warmup_epochs=0.0,
    )  # fmt: skip
    run = TrainingRun(
        what="bench", key="key",
        training=training, views=methods.views(methods.Config(), info, SIDE), mean=(0.5,) * 3,
        std=(0.3,) * 3, seed=0, device=torch.device("cpu"), folder=folder, workers=2,
    )  # fmt: skip
    steps = iter(range(STEPS))

    def stop(_step: int, _terms: Mapping[str, float]) -> None:
        if next(steps, None) is None:
            raise Enough

    loop = TrainingLoop(method, images, replace(run, on_step=stop))
    try:
        with contextlib.suppress(Enough):
            loop.epoch(0, Progress("", 1, len(images), out=io.StringIO()))
    finally:
        loop.view_source.close()


def used(folder: Path, how: str) -> dict[str, float]:
    """Pack a folder and train on it, or train on its files, and return the memory that took, in MB."""
    torch.set_num_threads(2)
    place = DataLocation(root=folder / "images", data_dir=folder / "data", packed=how == "packed")
    start = sum(map(anonymous, family(os.getpid()))) / MB
    image_folder.available_memory = lambda: 0  # nothing fits
    data = ImageFolder("image_folder", Config(stream=how == "streamed"), place)
    images, loading = watched(lambda: data.load("train"))
    torch.set_num_threads(1)
    _, training = watched(lambda: epoch(data.stream("train") or images, data.info, folder))
    return {"images": len(images), "start": start, "loading": loading, "training": training}


def tell(folder: Path, how: str) -> None:
    """Print what a folder took, as JSON."""
    sys.stdout.write(json.dumps(used(folder, how)))


def used_by(folder: Path, how: str) -> dict[str, float]:
    """Return what a process of its own takes."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", USED, str(Path(__file__).parent), str(folder), how],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **AT_ONCE},
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Return folders of few and of many images."""
    made = {count: tmp_path_factory.mktemp(str(count)) for count in (FEW, MANY)}
    for count, folder in made.items():
        write_files(folder, count)
    return made


@pytest.mark.parametrize("how", ["packed", "streamed"])
def test_memory(benchmark: Any, folders: dict[int, Path], how: str) -> None:
    """Train on few and on many files."""

    def peaks() -> dict[int, float]:
        found = {count: used_by(folder, how) for count, folder in folders.items()}
        assert all(took["images"] == count for count, took in found.items())
        return {count: max(took["loading"], took["training"]) for count, took in found.items()}

    peak = benchmark.pedantic(peaks, rounds=1)
    what = f"peak memory of training on {MANY:,} files, {how}, against {FEW:,}"
    say(benchmark, what=what, goal="at most 1.2", value=peak[MANY] / peak[FEW])
    benchmark.extra_info.update({f"{count}_mb": value for count, value in peak.items()})

    assert peak[FEW] > 0


if __name__ == "__main__":
    for number in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as temporary:
            write_files(Path(temporary), number)
            for way in ("streamed", "packed"):
                told = {name: round(value, 1) for name, value in used_by(Path(temporary), way).items()}
                sys.stdout.write(f"{way}: {told}\n")
