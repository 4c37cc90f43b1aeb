"""Views of files that are decoded meanwhile: those of images in memory, whoever decodes them."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench_plugins.datasets.image_files.decoding import read
from PIL import Image
from torch import Tensor, nn

from bench.augmentation.apply import apply
from bench.augmentation.crops import choose_boxes, draw_crops
from bench.augmentation.draws import draw
from bench.augmentation.view import View
from bench.contracts.dataset import DatasetInfo, FileStream, Images
from bench.contracts.method import Method
from bench.contracts.recipe import Training
from bench.errors import BadData, CellError
from bench.pretraining import loop as pretrain
from bench.pretraining.crop_workers import (
    AHEAD,
    PIECE,
    Cropper,
    Piece,
    crop_image,
    crop_in_workers,
    split_pieces,
)
from bench.pretraining.training_run import TrainingRun
from bench.pretraining.view_sources import FileViews, MemoryViews
from bench.registry.registry import Registry

COUNT, HEIGHT, WIDTH, SIZE = 45, 20, 26, 12
PLAIN = View(jitter=0.0, grey=0.0)  # crops and flips
VIEWS = (View(blur=0.5, crop_min=0.3), View(solarise=0.5, affine=0.5, crop_ratio=2.0))
INFO = DatasetInfo(classes=("a", "b"), channels=3, size=SIZE)
READ = partial(read, channels=3)
BYTE = 1.1 / 255  # a crop is rounded to bytes twice, its columns and its rows, and its weights once
TIMES = ("seconds", "images_per_s")


class Stopped(Exception):
    """Stands for the end of a process."""


@dataclass(frozen=True)
class Deadly:
    """Ends the process that reads a file."""

    def __call__(self, path: Path, shrink: Callable[[int, int], float]) -> Any:
        os._exit(1)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (COUNT, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)


@pytest.fixture
def files(tmp_path: Path, pixels: Tensor) -> list[Path]:
    """Return files without loss of the images."""
    (tmp_path / "files").mkdir()
    paths = [tmp_path / "files" / f"{i}.png" for i in range(COUNT)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return paths


def stream_of(files: list[Path], reader: Any = READ) -> FileStream:
    def refusal(place: int, why: str) -> BadData:
        return BadData(f"photos: {files[place].name} cannot be decoded ({why}).")

    return FileStream(files, torch.arange(len(files)) % 2, reader, refusal)


def run_in(folder: Path, workers: int = 0, **changes: Any) -> TrainingRun:
    """Return a run of 3 epochs of 2 steps of 20 images; what is given of `Training` goes there."""
    training = Training(
        epochs=3, batch_size=20, image_size=SIZE, precision="float32", optimizer="sgd", lr=0.05,
        weight_decay=1e-3, momentum=0.9, warmup_epochs=0.5,
    )  # fmt: skip
    trained = {name: changes.pop(name) for name in list(changes) if hasattr(training, name)}
    folder.mkdir(exist_ok=True)
    run = TrainingRun(
        what="the run", training=replace(training, **trained), views=VIEWS, mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3), seed=0, device=torch.device("cpu"), folder=folder, workers=workers,
    )  # fmt: skip
    return replace(run, **changes)


def simclr(seed: int = 0) -> Method:
    torch.manual_seed(seed)
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.Conv2d(4, 6, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    cls: Any = Registry.load().load_class("methods", "simclr")
    method: Method = cls(net, 6, cls.Config(hidden_dim=16, embedding_dim=8), INFO)
    return method


def trained(files: list[Path], run: TrainingRun, seed: int = 0) -> tuple[dict[str, Tensor], list[Any]]:
    """Return the weights after a run, and its lines."""
    method = simclr(seed)
    pretrain.pretrain(method, stream_of(files), run)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    untimed = [{name: value for name, value in line.items() if name not in TIMES} for line in lines]
    return method.state_dict(), untimed


def same(one: tuple[dict[str, Tensor], Any], other: tuple[dict[str, Tensor], Any]) -> bool:
    return one[1] == other[1] and all(torch.equal(x, other[0][name]) for name, x in one[0].items())


def plan(epoch: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield the two batches of an epoch, a step each."""
    for index in torch.arange(COUNT).flip(0)[: 2 * 20].split(20):
        yield ((index + epoch) % COUNT,)


# ---- crops


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (24, 24), (90, 14), (14, 90)])
def test_a_crop_is_what_the_device_makes_of_the_same_image_and_box(height: int, width: int) -> None:
    n = 40
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8, generator=generator)
    draws = draw(replace(PLAIN, flip=0.0), n, height, width, generator)
    expected = apply(image.expand(n, -1, -1, -1), draws, replace(PLAIN, flip=0.0), SIZE)

    def made(path: Path, shrink: Callable[[int, int], float]) -> Any:
        shrink(height, width)
        return image[0].permute(1, 2, 0).numpy().copy()

    found = crop_image(made, Path(), draws.crop.numpy(), (PLAIN.crop_ratio,) * n, SIZE)

    assert isinstance(found, Tensor)
    assert (found / 255 - expected).abs().max() <= BYTE


def test_choose_boxes_several_ratios_are_those_of_each() -> None:
    crops = draw_crops(50, 0.9, 1.0, 2.0, torch.Generator().manual_seed(0))
    ratios = torch.linspace(1, 2, 50, dtype=torch.float64)
    each = [choose_boxes(crops[i : i + 1], float(ratios[i]), 37, 111) for i in range(50)]

    assert torch.equal(choose_boxes(crops, ratios, 37, 111), torch.cat(each))
    assert len(torch.cat(each)[:, 3].unique()) > 10  # the largest at the centre: nothing else fits


def test_an_image_that_was_made_smaller_gives_the_same_crops() -> None:
    """A box is of the image as it is; a smooth image at half its size is the same but for its edges."""
    ramp = torch.linspace(0, 255, 400).view(1, 1, 1, 400).expand(1, 3, 200, 400)
    whole = ramp.round().byte()[0].permute(1, 2, 0).numpy().copy()
    half = torch.nn.functional.avg_pool2d(ramp, 2).round().byte()[0].permute(1, 2, 0).numpy().copy()
    crops = draw_crops(20, 0.3, 1.0, 4 / 3, torch.Generator().manual_seed(0)).numpy()
    asked: list[float] = []

    def reading(pixels: Any) -> Tensor:
        def made(path: Path, shrink: Callable[[int, int], float]) -> Any:
            asked.append(shrink(200, 400))
            return pixels

        found = crop_image(made, Path(), crops, (4 / 3,) * 20, 32)
        assert isinstance(found, Tensor)
        return found.int()

    boxes = choose_boxes(torch.from_numpy(crops), 4 / 3, 200, 400)

    assert (reading(whole) - reading(half)).abs().max() <= 2
    assert asked[0] == float(boxes[:, 2:].min()) / 32 > 2


# ---- views


def test_streamed_views_are_those_of_images_in_memory(
    tmp_path: Path, pixels: Tensor, files: list[Path]
) -> None:
    run = run_in(
        tmp_path / "run", views=(PLAIN, replace(PLAIN, crop_min=0.5)), mean=(0.0,) * 3, std=(1.0,) * 3
    )
    streamed, resident = (
        FileViews(stream_of(files), run, plan),
        MemoryViews(Images(pixels, torch.zeros(COUNT).long()), run),
    )
    for epoch in (0, 1):
        for number, (index,) in enumerate(plan(epoch)):
            found = streamed.views(index, epoch, number)(slice(0, 20))
            expected = resident.views(index, epoch, number)(slice(0, 20))

            assert len(found) == 2
            assert all((x - y).abs().max() <= BYTE for x, y in zip(found, expected, strict=True))


def test_views_of_some_rows_are_those_of_the_whole_batch(tmp_path: Path, files: list[Path]) -> None:
    streamed = FileViews(stream_of(files), run_in(tmp_path / "run"), plan)
    made = streamed.views(next(plan(0))[0], 0, 0)
    whole, parts = made(slice(0, 20)), [made(slice(0, 8)), made(slice(8, 20)), made(slice(0, 8))]

    assert all(torch.equal(torch.cat(x[:2]), y) for x, y in zip(zip(*parts, strict=True), whole, strict=True))
    assert all(map(torch.equal, parts[0], parts[2]))


# ---- training


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
@pytest.mark.parametrize("settings", [{}, {"chunk_size": 7, "batch_size": 14, "accumulate": 2}], ids=str)
def test_a_training_does_not_depend_on_how_many_processes_decode(
    tmp_path: Path, files: list[Path], settings: Mapping[str, Any]
) -> None:
    alone = trained(files, run_in(tmp_path / "0", **settings))

    assert same(alone, trained(files, run_in(tmp_path / "1", workers=1, **settings)))
    assert same(alone, trained(files, run_in(tmp_path / "2", workers=2, **settings)))
    assert not same(alone, trained(files, run_in(tmp_path / "seed", seed=1, **settings)))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_streamed_run_that_was_stopped_is_bitwise_the_one_that_was_not(
    tmp_path: Path, files: list[Path], workers: int
) -> None:
    def stop(done: int, metrics: Mapping[str, float]) -> None:
        if done == 2:
            raise Stopped

    whole = trained(files, run_in(tmp_path / "whole", workers=workers))
    parts = run_in(tmp_path / "parts", workers=workers, checkpoint_every_s=0.0)
    with pytest.raises(Stopped):
        trained(files, replace(parts, on_epoch=stop))

    assert (tmp_path / "parts" / "checkpoint.safetensors").exists()
    assert same(whole, trained(files, parts, seed=1))


def test_what_decodes_draws_nothing_that_the_training_draws_from(tmp_path: Path, files: list[Path]) -> None:
    streamed = FileViews(stream_of(files), run_in(tmp_path / "run"), plan)
    before = torch.get_rng_state()
    streamed.views(next(plan(0))[0], 0, 0)

    assert torch.equal(torch.get_rng_state(), before)


# ---- what goes wrong


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_is_damaged_in_the_middle_is_named_in_a_line(
    tmp_path: Path, files: list[Path], workers: int
) -> None:
    def damage(done: int, metrics: Mapping[str, float]) -> None:
        for path in files:
            path.write_bytes(path.read_bytes()[:60])

    with pytest.raises(BadData, match=r"^photos: \d+\.png cannot be decoded \(") as caught:
        trained(files, run_in(tmp_path / "run", workers=workers, epochs=20, on_epoch=damage))
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []


def test_of_a_batch_the_image_itself_is_named(tmp_path: Path, files: list[Path]) -> None:
    files[COUNT - 1 - 7].unlink()
    streamed = FileViews(stream_of(files), run_in(tmp_path / "run"), plan)

    with pytest.raises(BadData, match=f"{COUNT - 1 - 7}.png cannot be decoded .a link to nothing"):
        streamed.views(next(plan(0))[0], 0, 0)


def test_a_process_that_is_killed_is_told_in_a_line(files: list[Path], tmp_path: Path) -> None:
    streamed = FileViews(stream_of(files, Deadly()), run_in(tmp_path / "run", workers=1), plan)

    with pytest.raises(CellError, match="the run: a process that decodes was killed") as caught:
        streamed.views(next(plan(0))[0], 0, 0)
    assert "\n" not in str(caught.value)


# ---- how far ahead


def test_pieces_are_the_batch() -> None:
    rows = list(range(3 * PIECE + 5))

    assert [row for piece in split_pieces(len(rows)) for row in rows[piece]] == rows
    assert max(piece.stop - piece.start for piece in split_pieces(len(rows))) == PIECE


def test_workers_are_ahead_by_some_batches_and_no_more(files: list[Path]) -> None:
    taken = 0

    def asked() -> Iterator[Piece]:
        nonlocal taken
        for _ in range(1_000):
            taken += 1
            yield Piece([str(files[0])], np.ones((1, 1, 22), dtype=np.float32))

    batch_size = 3 * PIECE
    coming = crop_in_workers(Cropper(READ, (1.0,), SIZE), asked(), batch_size, 1, "the run")
    for _ in range(3):
        next(coming)
    coming.close()

    assert 3 < taken <= 3 + AHEAD * len(split_pieces(batch_size))
