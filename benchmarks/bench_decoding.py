"""Processor time of 32 JPEGs of 500x375 becoming 64x64 or 224x224 bytes, by Pillow and by torchvision.

`pillow` is what image folders are decoded with: at half the size or less where that is enough (libjpeg's
draft mode). `pillow_whole` leaves that out. `torchvision` decodes everything and resizes by torch. The
first three are without resizing.

Folders are decoded with Pillow although torch resizes faster: torchvision's decoder is deprecated, torch
would multiply the memory of the processes that decode, and a folder is packed once.
"""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench_plugins.datasets.image_files.decoding import decode
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.io import ImageReadMode, decode_jpeg, read_file

COUNT, WIDTH, HEIGHT = 32, 500, 375
DEPRECATED = "ignore:The image decoding and encoding capabilities of TorchVision are deprecated"
NOISE = 10  # grey levels: with it a file is as large as those of ImageNet, about 90 kB


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return files of coloured clouds with some noise."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("photos")
    return [photo(folder / f"{seed}.jpg", seed) for seed in range(COUNT)]


def photo(path: Path, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    clouds = torch.zeros(1, 3, HEIGHT, WIDTH)
    for cells in (2, 4, 8, 16, 32, 64):
        coarse = torch.randn(1, 3, cells, cells, generator=generator) / cells**0.9
        clouds += interpolate(coarse, size=(HEIGHT, WIDTH), mode="bicubic")
    clouds = 255 * (clouds - clouds.min()) / (clouds.max() - clouds.min())
    clouds += NOISE * torch.randn(1, 1, HEIGHT, WIDTH, generator=generator)
    Image.fromarray(clouds[0].clamp(0, 255).byte().permute(1, 2, 0).numpy()).save(path, quality=92)
    return path


def pillow(path: Path, size: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(decode(path, 3, size))


def pillow_whole(path: Path, size: int) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        left, top, side = (image.width - image.height) / 2, 0, image.height
        box = (left, top, left + side, top + side)
        plain = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
        return np.ascontiguousarray(np.asarray(plain).transpose(2, 0, 1))


def torchvision(path: Path, size: int) -> NDArray[np.uint8]:
    image = decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)
    left = (image.shape[2] - image.shape[1]) // 2
    square = image[None, :, :, left : left + image.shape[1]]
    resized: NDArray[np.uint8] = interpolate(square, size=(size, size), mode="bicubic", antialias=True)[
        0
    ].numpy()
    return resized


@pytest.mark.filterwarnings(DEPRECATED)
@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("size", [64, 224])
@pytest.mark.parametrize("how", [pillow, pillow_whole, torchvision])
def test_decode_and_resize(benchmark: Any, photos: list[Path], how: Any, size: int) -> None:
    """Decode some photographs to a square."""
    made = benchmark.pedantic(lambda: [how(path, size) for path in photos], rounds=7, warmup_rounds=1)
    whole = np.stack([pillow_whole(path, size) for path in photos]).astype(int)

    assert np.abs(np.stack(made) - whole).mean() < 4


@pytest.mark.filterwarnings(DEPRECATED)
@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("how", ["pillow", "pillow_half", "torchvision"])
def test_decode(benchmark: Any, photos: list[Path], how: str) -> None:
    """Decode some photographs, at half their size with draft mode."""
    files = [path.read_bytes() for path in photos]

    def decoded(data: bytes) -> tuple[int, ...]:
        if how == "torchvision":
            return tuple(decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8)).shape)
        with Image.open(io.BytesIO(data)) as image:
            if how == "pillow_half":
                image.draft(None, (WIDTH // 2, HEIGHT // 2))
            image.load()
            return image.size

    shapes = benchmark.pedantic(lambda: set(map(decoded, files)), rounds=7, warmup_rounds=1)

    assert len(shapes) == 1
