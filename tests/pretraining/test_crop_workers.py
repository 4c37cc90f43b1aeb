"""Crops of files: those that the device would make, of several sizes from one decoding, and in time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from file_streams import COUNT, READ, SIZE, make_pixels, write_files
from numpy.typing import NDArray
from torch import Tensor

from bench.augmentation.apply import apply
from bench.augmentation.crops import NUMBERS, choose_boxes, draw_crops
from bench.augmentation.draws import draw
from bench.augmentation.view import View
from bench.errors import CellError
from bench.pretraining.crop_workers import (
    AHEAD,
    PIECE,
    Cropper,
    Crops,
    Piece,
    crop_image,
    crop_in_workers,
    join_crops,
    split_pieces,
)

CROP_ONLY = View(jitter=0.0, grey=0.0, flip=0.0)
BYTE = 1.1 / 255  # a crop is rounded to bytes twice, its columns and its rows, and its weights once

Shrink = Callable[[int, int], float]


@dataclass(frozen=True)
class Deadly:
    """Ends the process that reads a file."""

    def __call__(self, path: Path, shrink: Shrink) -> Any:
        os._exit(1)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write_files(tmp_path / "files", make_pixels())


def count_open_files() -> int:
    """Return how many files this process has open; 0 where the system does not say."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def reader_of(image: Tensor) -> Callable[[Path, Shrink], NDArray[np.uint8]]:
    """Return what reads every file as `image`, (channels, h, w)."""

    def read_image(path: Path, shrink: Shrink) -> NDArray[np.uint8]:
        shrink(*image.shape[1:])
        pixels: NDArray[np.uint8] = image.permute(1, 2, 0).numpy().copy()
        return pixels

    return read_image


def draw_some(n: int, least: float, most: float, ratio: float) -> NDArray[np.float32]:
    numbers = torch.rand(n * NUMBERS, generator=torch.Generator().manual_seed(0)).numpy()
    return draw_crops(numbers, least, most, ratio)


def crop(read: Any, crops: NDArray[np.float32], sizes: tuple[int, ...]) -> Crops:
    cropped = crop_image(read, Path(), crops, (4 / 3,) * len(sizes), sizes)
    assert isinstance(cropped, list)
    return cropped


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (24, 24), (90, 14), (14, 90)])
def test_a_crop_is_what_the_device_makes_of_the_same_image_and_box(height: int, width: int) -> None:
    n = 40
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8, generator=generator)
    draws = draw(CROP_ONLY, n, height, width, generator)
    expected = apply(image.expand(n, -1, -1, -1), draws, CROP_ONLY, SIZE)
    cropped = torch.cat(crop(reader_of(image[0]), draws.crop, (SIZE,) * n))

    assert cropped.dtype == torch.uint8
    assert (cropped / 255 - expected).abs().max() <= BYTE


def test_boxes_of_several_ratios_are_those_of_each() -> None:
    crops = draw_some(50, 0.9, 1.0, 2.0)
    ratios = np.linspace(1, 2, 50)
    each = [choose_boxes(crops[i : i + 1], float(ratios[i]), 37, 111) for i in range(50)]

    assert np.array_equal(choose_boxes(crops, ratios, 37, 111), np.concatenate(each))
    assert len(np.unique(np.concatenate(each)[:, 3])) > 10  # the largest at the centre: nothing else fits


def test_an_image_that_was_made_smaller_gives_the_same_crops() -> None:
    """A box is of the image as it is; a smooth image at half its size is the same but for its edges."""
    ramp = torch.linspace(0, 255, 400).view(1, 1, 1, 400).expand(1, 3, 200, 400)
    whole = ramp.round().byte()[0].permute(1, 2, 0).numpy().copy()
    half = torch.nn.functional.avg_pool2d(ramp, 2).round().byte()[0].permute(1, 2, 0).numpy().copy()
    crops = draw_some(20, 0.3, 1.0, 4 / 3)
    allowed: list[float] = []

    def crop_from(pixels: NDArray[np.uint8]) -> Tensor:
        def read_pixels(path: Path, shrink: Shrink) -> NDArray[np.uint8]:
            allowed.append(shrink(200, 400))
            return pixels

        return torch.cat(crop(read_pixels, crops, (32,) * 20)).int()

    boxes = choose_boxes(crops, 4 / 3, 200, 400)

    assert (crop_from(whole) - crop_from(half)).abs().max() <= 2
    assert allowed[0] == float(boxes[:, 2:].min()) / 32 > 2


# ---- several sizes


def test_crops_of_several_sizes_are_those_of_each_size_alone() -> None:
    image = make_pixels()[0]
    crops = draw_some(4, 0.2, 1.0, 4 / 3)
    sizes = (12, 8, 17, 8)
    together = crop(reader_of(image), crops, sizes)
    alone = [crop(reader_of(image), crops[i : i + 1], (size,))[0] for i, size in enumerate(sizes)]

    assert [x.shape for x in together] == [(1, 3, size, size) for size in sizes]
    assert all(map(torch.equal, together, alone))


def test_a_file_is_decoded_once_and_as_finely_as_its_largest_view_needs() -> None:
    """The crops keep the whole image, 64 pixels of it: four become one for 16 pixels, two for 32."""
    crops = draw_some(3, 1.0, 1.0, 1.0)
    allowed: list[float] = []

    def read_image(path: Path, shrink: Shrink) -> NDArray[np.uint8]:
        allowed.append(shrink(64, 64))
        return np.zeros((64, 64, 3), dtype=np.uint8)

    for sizes in ((16, 16, 16), (16, 32, 16)):
        crop_image(read_image, Path(), crops, (1.0,) * 3, sizes)

    assert allowed == [4.0, 2.0]


def test_the_crops_of_a_piece_are_one_block_of_memory_however_many_views_it_has() -> None:
    sizes = (12, 8, 8, 17)
    images = [[torch.full((1, 3, size, size), 10 * i + size) for size in sizes] for i in range(5)]
    joined = join_crops(images)

    assert [x.shape for x in joined] == [(5, 3, size, size) for size in sizes]
    assert all(map(torch.equal, joined, map(torch.cat, zip(*images, strict=True))))
    assert len({x.untyped_storage().data_ptr() for x in joined}) == 1


def test_many_views_of_many_pieces_do_not_open_a_file_each(files: list[Path]) -> None:
    sizes = (16,) * 2 + (8,) * 8
    crops = np.ones((len(sizes), 1, 22), dtype=np.float32)
    pieces = (Piece([str(files[0])], crops) for _ in range(12))
    before = count_open_files()
    coming = crop_in_workers(Cropper(READ, (1.0,) * len(sizes), sizes), pieces, PIECE, 1, "the run")
    held = list(coming)

    assert len(held) == 12
    assert count_open_files() - before < 3 * len(held)


# ---- how far ahead, and what goes wrong


def test_pieces_are_the_batch() -> None:
    rows = list(range(3 * PIECE + 5))

    assert [row for piece in split_pieces(len(rows)) for row in rows[piece]] == rows
    assert max(piece.stop - piece.start for piece in split_pieces(len(rows))) == PIECE


def test_workers_are_ahead_by_some_batches_and_no_more(files: list[Path]) -> None:
    taken = 0

    def endless() -> Iterator[Piece]:
        nonlocal taken
        for _ in range(1_000):
            taken += 1
            yield Piece([str(files[0])], np.ones((1, 1, 22), dtype=np.float32))

    batch_size = 3 * PIECE
    coming = crop_in_workers(Cropper(READ, (1.0,), (SIZE,)), endless(), batch_size, 1, "the run")
    for _ in range(3):
        next(coming)
    coming.close()

    assert 3 < taken <= 3 + AHEAD * len(split_pieces(batch_size))


def test_a_process_that_is_killed_is_told_in_a_line(files: list[Path]) -> None:
    pieces = iter([Piece([str(files[0])], np.ones((1, 1, 22), dtype=np.float32))])
    coming = crop_in_workers(Cropper(Deadly(), (1.0,), (SIZE,)), pieces, COUNT, 1, "the run")

    with pytest.raises(CellError, match="the run: a process that decodes was killed") as caught:
        next(coming)
    assert "\n" not in str(caught.value)
