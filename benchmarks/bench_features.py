"""Speed and memory of the pass for features: `pytest benchmarks/bench_features.py`, on Linux.

    speed  = time of the network on images that are ready, in the same chunks and layout / time of a pass
    memory = (peak of a process in a pass over 4N images - before it) / (that of N images)

Images are in a mapped file, as those of a large folder are, and features are written to a file. The memory
is anonymous: that of a mapped file is the system's. The network of that row is one linear layer of 2,048
outputs, so that there is little else in memory: held to the end, features of 4N images would take 256 MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_plugins.datasets.image_files.packed_file import map_file
from bench_streaming import AT_ONCE, MB, anonymous, watched
from side_by_side import say, side_by_side
from torch import Tensor, nn

from bench.augmentation.clean import normalise
from bench.evaluation import features
from bench.registry.registry import Registry

IMAGES = {32: 512, 224: 20}
STATISTICS = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
N, SIDE, DIM = 8_192, 16, 2_048
CPU = torch.device("cpu")


def images(folder: Path, count: int, side: int) -> Tensor:
    """Return images in a mapped file."""
    draw = torch.Generator().manual_seed(0)
    with (folder / "images.bin").open("wb") as file:
        for _ in range(0, count, 32):
            file.write(torch.randint(0, 256, (32, 3, side, side), dtype=torch.uint8, generator=draw).numpy())
    return map_file(folder / "images.bin", (count, 3, side, side))


def write(network: nn.Module, pixels: Tensor, folder: Path) -> None:
    """Write the features of images."""
    told = {"image_size": pixels.shape[-1], "channels": 3, "device": CPU, **STATISTICS}
    rows = features.finite(features.extract(network, pixels, **told), "features")
    features.save(rows, torch.zeros(len(pixels), dtype=torch.int64), folder)


@pytest.mark.parametrize("side", IMAGES)
def test_speed(benchmark: Any, tmp_path: Path, side: int) -> None:
    """Write the features of resnet18, and run it on normalised images."""
    backbones: Any = Registry.load().load_class("backbones", "resnet18")
    network = backbones("resnet18", backbones.Config(), 3, side).eval().to(memory_format=torch.channels_last)
    pixels = images(tmp_path, IMAGES[side], side)
    ready = [normalise(part / 255, **STATISTICS) for part in pixels.split(features.CPU_PIXELS // side**2)]

    @torch.inference_mode()
    def bare() -> None:
        for part in ready:
            network(part)

    side_by_side(
        benchmark,
        lambda: write(network, pixels, tmp_path),
        bare,
        what=f"speed of features of resnet18 at {side} px, against bare inference",
        goal="at least 0.95",
        faster=True,
    )


def used(count: int) -> float:
    """Return the memory in MB that a pass over so many images takes in this process."""
    with tempfile.TemporaryDirectory() as folder:
        pixels, network = images(Path(folder), count, SIDE), nn.Sequential(nn.Flatten(), nn.Linear(768, DIM))
        write(network, pixels[:1_024], Path(folder))
        before = anonymous(os.getpid()) / MB
        _, peak = watched(lambda: write(network, pixels, Path(folder)), every=0.001)
        return peak - before


def used_by(count: int) -> float:
    """Return what a process of its own takes for so many images."""
    command = [sys.executable, __file__, str(count)]
    environment = {**os.environ, **AT_ONCE}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603
    return float(done.stdout)


def test_memory(benchmark: Any) -> None:
    """Pass over N and over 4N images."""
    small = used_by(N)
    large = benchmark.pedantic(used_by, (4 * N,), rounds=1)
    benchmark.extra_info |= {"mb": small, "mb_of_four_times": large}
    what = f"memory of a pass for features of {4 * N:,} images ({large:.0f} MB), against {N:,}"
    say(benchmark, what=what, goal="at most 1.2", value=large / small)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(used(int(sys.argv[1])))  # noqa: T201
