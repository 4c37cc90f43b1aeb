"""Peak memory of packing a folder and of an epoch on it: what grows with the images is their names.

    python benchmarks/bench_streaming.py 20000 200000

The memory is anonymous (Pss_Anon of Linux): that of a mapped file is the system's, which takes it back
when something else needs it. Each count has a process of its own, which decodes in two others; all three
are counted, and malloc keeps nothing that is freed: what it keeps depends on luck. The files are hard
links to 200 distinct images of 16x16; names and paths are their own. The network is a linear layer.

And the time of taking batches from a mapped file that the system has in memory.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from bench_plugins.datasets.image_folder import Config, ImageFolder
from bench_plugins.datasets.packed import mapped
from PIL import Image
from torch import Tensor, nn

from bench.contract import DatasetInfo, Images, Place
from bench.fresh import measured
from bench.pretrain import Loop, Run
from bench.progress import Progress
from bench.recipe import Training
from bench.registry import Registry

SIDE, CLASSES, DISTINCT, TEST, DIM = 16, 10, 200, 1_000, 32
MB = 1 << 20
T = TypeVar("T")
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}  # glibc gives memory back
USED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bench_streaming
bench_streaming.tell(Path(sys.argv[2]))
"""  # not this file: processes that decode import the main module, as they do that of bench, which is light


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


def watched(work: Callable[[], T]) -> tuple[T, float]:
    """Return what work gives, and the most anonymous memory of this process and its children, in MB."""
    peaks, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
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


def epoch(images: Images, info: DatasetInfo, folder: Path) -> None:
    """Train a linear layer on the labels for an epoch."""
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, DIM))
    methods: Any = Registry.load().load_class("methods", "supervised")
    method = methods(backbone, DIM, methods.Config(), info).train()
    mean, std = measured(images)
    training = Training(
        epochs=1, batch_size=256, image_size=SIDE, precision="float32", optimizer="sgd", lr=0.1,
        weight_decay=1e-6, momentum=0.9, warmup_epochs=0.0,
    )  # fmt: skip
    run = Run(
        what="bench", training=training, views=methods.views(methods.Config(), info, SIDE), mean=mean,
        std=std, seed=0, device=torch.device("cpu"), folder=folder,
    )  # fmt: skip
    Loop(method, images, run).epoch(0, Progress("", 1, len(images), out=io.StringIO()))


def used(folder: Path) -> dict[str, float]:
    """Pack a folder and train on it, and return what that took."""
    torch.set_num_threads(2)
    place = Place(root=folder / "images", data_dir=folder / "data", packed=True)
    start = sum(map(anonymous, family(os.getpid()))) / MB
    times = [time.monotonic()]
    data = ImageFolder("image_folder", Config(), place)
    opened = sum(map(anonymous, family(os.getpid()))) / MB
    images, packing = watched(lambda: data.load("train"))
    times.append(time.monotonic())
    torch.set_num_threads(1)
    _, training = watched(lambda: epoch(images, data.info, folder))
    times.append(time.monotonic())
    return {
        "images": len(images),
        "start_mb": start,
        "opened_mb": opened,
        "packing_mb": packing,
        "epoch_mb": training,
        "packing_s": times[1] - times[0],
        "epoch_s": times[2] - times[1],
    }


def tell(folder: Path) -> None:
    """Print what a folder took, as JSON."""
    sys.stdout.write(json.dumps(used(folder)))


def used_by(count: int) -> dict[str, float]:
    """Return what a process of its own takes for so many images."""
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), count)
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", USED, str(Path(__file__).parent), folder],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **AT_ONCE},
        )
        found: dict[str, float] = json.loads(done.stdout)
        return found


@pytest.mark.parametrize("count", [2_000, 8_000])
def test_streaming(benchmark: Any, count: int) -> None:
    """Pack and train on so many images."""
    found = benchmark.pedantic(used_by, (count,), rounds=1)
    benchmark.extra_info.update(found)

    assert found["images"] == count


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("where", ["memory", "first_epoch", "later_epoch"])
def test_batches(benchmark: Any, tmp_path: Path, where: str) -> None:
    """Take an epoch's shuffled batches of images of 64x64 from memory, or from a file that is cached."""
    torch.set_num_threads(1)
    shape = (8_192, 3, 64, 64)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    file = tmp_path / "images.bin"
    file.write_bytes(pixels.numpy().tobytes())
    order = torch.randperm(len(pixels)).split(256)

    def taken(source: Tensor) -> int:
        return sum(len(source[index]) for index in order)

    def fresh() -> tuple[tuple[Tensor], dict[str, Any]]:
        source = pixels if where == "memory" else mapped(file, shape)
        if where == "later_epoch":
            taken(source)
        return (source,), {}

    assert benchmark.pedantic(taken, setup=fresh, rounds=7) == len(pixels)


if __name__ == "__main__":
    for number in map(int, sys.argv[1:]):
        told = {name: round(value, 1) for name, value in used_by(number).items()}
        sys.stdout.write(f"{told}\n")
