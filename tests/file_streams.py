"""What tests of streamed files share: images, their files, and a run and a method on them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench_plugins.datasets.image_files.decoding import read
from PIL import Image
from torch import Tensor, nn

from bench.augmentation.view import View
from bench.contracts.dataset import FileStream, Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Embeddings, Method
from bench.contracts.recipe import Training
from bench.errors import BadData
from bench.pretraining.loop import pretrain
from bench.pretraining.training_run import TrainingRun

COUNT, HEIGHT, WIDTH, SIZE = 45, 20, 26, 12
READ = partial(read, channels=3)
TWO = (View(blur=0.5, crop_min=0.3), View(solarise=0.5, affine=0.5, crop_ratio=2.0))
SIZED = (*TWO, View(size=8, crop_max=0.3, blur=0.5), View(size=8, affine=0.5), View(size=17, grey=0.5))
TIMES = ("seconds", "images_per_s")

Result = tuple[dict[str, Tensor], list[dict[str, Any]]]  # weights, and lines of metrics without times


class Stopped(Exception):
    """Stands for the end of a process."""


class EveryView(Method):
    """Bring the embeddings of all views of an image together, and keep their variance."""

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        self.head = nn.Linear(dim, 4)

    def embed(self, views: Sequence[Tensor], batch: Batch) -> Embeddings:
        return {f"view {i}": self.head(self.backbone(view)) for i, view in enumerate(views)}

    def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
        z = torch.stack(list(embeddings.values()))  # (views, n, 4)
        return {"invariance": z.var(dim=0, correction=0).mean(), "variance": (1 - z.std(dim=1)).relu().mean()}


def make_pixels() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (COUNT, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)


def images_of(pixels: Tensor) -> Images:
    return Images(pixels, torch.arange(len(pixels)) % 2)


def write_files(folder: Path, pixels: Tensor) -> list[Path]:
    """Write the images as files, without loss."""
    folder.mkdir()
    paths = [folder / f"{i}.png" for i in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return paths


def stream_of(files: list[Path], reader: Any = READ) -> FileStream:
    def refusal(index: int, reason: str) -> BadData:
        return BadData(f"photos: {files[index].name} cannot be decoded ({reason}).")

    return FileStream(files, torch.arange(len(files)) % 2, reader, refusal)


def run_in(folder: Path, workers: int = 0, **changes: Any) -> TrainingRun:
    """Return a run of 3 epochs of 2 steps of 20 images; changes of fields of `Training` go there."""
    training = Training(
        epochs=3, batch_size=20, image_size=SIZE, precision="float32", optimizer="sgd", lr=0.05,
        weight_decay=1e-3, momentum=0.9, warmup_epochs=0.5,
    )  # fmt: skip
    of_training = {name: changes.pop(name) for name in list(changes) if hasattr(training, name)}
    folder.mkdir(exist_ok=True)
    run = TrainingRun(
        what="the run", key="key", training=replace(training, **of_training), views=TWO, mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3), seed=0, device=torch.device("cpu"), folder=folder, workers=workers,
    )  # fmt: skip
    return replace(run, **changes)


def make_method(seed: int = 0, *, per_sample: bool = False) -> Method:
    """Return a method on a network that takes images of any size.

    It has batch norm and dropout, but for one that works on each image by itself.
    """
    torch.manual_seed(seed)
    noise = () if per_sample else (nn.BatchNorm2d(4), nn.Dropout(0.2))
    network = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, stride=2), *noise, nn.ReLU()),
        *(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    return EveryView(network, 6, None, DatasetInfo(classes=("a", "b"), channels=3, size=SIZE))


def train(images: FileStream | Images, run: TrainingRun, seed: int = 0) -> Result:
    """Return the weights after a run, and its lines."""
    method = make_method(seed)
    pretrain(method, images, run)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    untimed = [{name: value for name, value in line.items() if name not in TIMES} for line in lines]
    return method.state_dict(), untimed


def same(one: Result, other: Result) -> bool:
    """Tell whether two trainings agree in every bit."""
    return one[1] == other[1] and all(torch.equal(x, other[0][name]) for name, x in one[0].items())


def two_batches(epoch: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield the two batches of an epoch, a step each."""
    for index in torch.arange(COUNT).flip(0)[: 2 * 20].split(20):
        yield ((index + epoch) % COUNT,)
