"""Views of files that are decoded meanwhile: those of images in memory, whoever decodes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
from file_streams import (
    COUNT,
    SIZED,
    TWO,
    Stopped,
    images_of,
    make_pixels,
    run_in,
    same,
    stream_of,
    train,
    two_batches,
    write_files,
)
from torch import Tensor

from bench.augmentation.view import View
from bench.errors import BadData
from bench.pretraining.view_sources import FileViews, MemoryViews

BYTE = 1.1 / 255  # a crop is rounded to bytes twice, its columns and its rows, and its weights once
CROP = View(jitter=0.0, grey=0.0)  # crops and flips
VIEWS = pytest.mark.parametrize("views", [TWO, SIZED], ids=["of one size", "of several sizes"])


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return make_pixels()


@pytest.fixture
def files(tmp_path: Path, pixels: Tensor) -> list[Path]:
    return write_files(tmp_path / "files", pixels)


def test_streamed_views_are_those_of_images_in_memory(
    tmp_path: Path, pixels: Tensor, files: list[Path]
) -> None:
    views = (CROP, replace(CROP, crop_min=0.5), replace(CROP, size=8), replace(CROP, size=30))
    run = run_in(tmp_path / "run", views=views, mean=(0.0,) * 3, std=(1.0,) * 3)
    streamed = FileViews(stream_of(files), run, two_batches)
    resident = MemoryViews(images_of(pixels), run)
    for epoch in (0, 1):
        for number, (index,) in enumerate(two_batches(epoch)):
            made = streamed.views(index, epoch, number)(slice(0, 20))
            expected = resident.views(index, epoch, number)(slice(0, 20))

            assert [x.shape[2:] for x in made] == [(12, 12), (12, 12), (8, 8), (30, 30)]
            assert all((x - y).abs().max() <= BYTE for x, y in zip(made, expected, strict=True))


@VIEWS
def test_views_of_some_rows_are_those_of_the_whole_batch(
    tmp_path: Path, files: list[Path], views: tuple[View, ...]
) -> None:
    streamed = FileViews(stream_of(files), run_in(tmp_path / "run", views=views), two_batches)
    make = streamed.views(next(two_batches(0))[0], 0, 0)
    whole, first, second, again = (make(slice(*rows)) for rows in ((0, 20), (0, 8), (8, 20), (0, 8)))
    joined = [torch.cat(parts) for parts in zip(first, second, strict=True)]

    assert all(map(torch.equal, joined, whole))
    assert all(map(torch.equal, first, again))


def test_what_decodes_draws_nothing_that_the_training_draws_from(tmp_path: Path, files: list[Path]) -> None:
    streamed = FileViews(stream_of(files), run_in(tmp_path / "run"), two_batches)
    before = torch.get_rng_state()
    streamed.views(next(two_batches(0))[0], 0, 0)

    assert torch.equal(torch.get_rng_state(), before)


# ---- training


@VIEWS
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
@pytest.mark.parametrize("settings", [{}, {"chunk_size": 7, "batch_size": 14, "accumulate": 2}], ids=str)
def test_a_training_does_not_depend_on_how_many_processes_decode(
    tmp_path: Path, files: list[Path], settings: Mapping[str, Any], views: tuple[View, ...]
) -> None:
    def train_with(workers: int, seed: int = 0) -> Any:
        folder = tmp_path / f"{workers} {seed}"
        return train(stream_of(files), run_in(folder, workers=workers, seed=seed, views=views, **settings))

    alone = train_with(0)

    assert same(alone, train_with(1))
    assert same(alone, train_with(2))
    assert not same(alone, train_with(0, seed=1))


@VIEWS
@pytest.mark.parametrize("workers", [0, 1])
def test_a_streamed_run_that_was_stopped_is_bitwise_the_one_that_was_not(
    tmp_path: Path, files: list[Path], workers: int, views: tuple[View, ...]
) -> None:
    def stop(epoch: int, metrics: Mapping[str, float]) -> None:
        if epoch == 2:
            raise Stopped

    whole = train(stream_of(files), run_in(tmp_path / "whole", workers=workers, views=views))
    parts = run_in(tmp_path / "parts", workers=workers, views=views, checkpoint_every_s=0.0)
    with pytest.raises(Stopped):
        train(stream_of(files), replace(parts, on_epoch=stop))

    assert (tmp_path / "parts" / "checkpoint.safetensors").exists()
    assert same(whole, train(stream_of(files), parts, seed=1))


# ---- what goes wrong


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_is_damaged_in_the_middle_is_named_in_a_line(
    tmp_path: Path, files: list[Path], workers: int
) -> None:
    def damage(epoch: int, metrics: Mapping[str, float]) -> None:
        for path in files:
            path.write_bytes(path.read_bytes()[:60])

    run, before = run_in(tmp_path / "run", workers=workers, epochs=20, on_epoch=damage), active_children()
    with pytest.raises(BadData, match=r"^photos: \d+\.png cannot be decoded \(") as caught:
        train(stream_of(files), run)
    assert "\n" not in str(caught.value)
    assert set(active_children()) <= set(before)


def test_of_a_batch_the_image_itself_is_named(tmp_path: Path, files: list[Path]) -> None:
    files[COUNT - 1 - 7].unlink()
    streamed = FileViews(stream_of(files), run_in(tmp_path / "run"), two_batches)

    with pytest.raises(BadData, match=f"{COUNT - 1 - 7}.png cannot be decoded .a link to nothing"):
        streamed.views(next(two_batches(0))[0], 0, 0)
