"""Views a second and core: ours, and torchvision's and kornia's, of the same images by the same recipe.

Torchvision's take the PIL image of a dataset at a time, as most training codes have them do; kornia's take a
batch, and are measured where kornia is installed. Everything runs on one thread, in turns. Then what a host
has to do for the views of a step: it is to be done before a fast GPU has trained the step before.
"""

from __future__ import annotations

import importlib.util
import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from dispatched import Dispatched
from side_by_side import side_by_side
from torch import Tensor
from torchvision import transforms

from bench.augmentation.apply import augment
from bench.augmentation.image_ops import blur_radius
from bench.augmentation.view import View
from bench.contracts.dataset import Images
from bench.contracts.recipe import Training
from bench.pretraining.training_run import TrainingRun
from bench.pretraining.view_sources import MemoryViews
from bench.system.malloc import keep_freed_pages

PLAIN = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)  # SimCLR's for CIFAR
FULL = View(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, blur=0.5, solarise=0.2)


@dataclass(frozen=True)
class Case:
    what: str
    view: View
    source: int  # side of the images, in pixels
    size: int  # side of the views
    batch: int


CASES = {
    "32": Case("32 px, SimCLR's for CIFAR", PLAIN, 32, 32, 256),
    "32_blur_solarise": Case("32 px with blur and solarise", FULL, 32, 32, 256),
    "96_blur_solarise": Case("96 px with blur and solarise", FULL, 96, 96, 64),
    "224_blur_solarise": Case("224 px with blur and solarise", FULL, 256, 224, 32),
}


@pytest.mark.parametrize("name", CASES)
def test_against_torchvision(benchmark: Any, name: str) -> None:
    """Augment a batch, and the same images one by one."""
    case = CASES[name]
    pixels = random_pixels(case)
    images = [transforms.ToPILImage()(image) for image in pixels]
    transform = transforms.Compose([*operations(case), transforms.ToTensor()])
    compare(
        benchmark, case, pixels, lambda: [transform(image) for image in images], "torchvision's one by one", 8
    )


@pytest.mark.skipif(not importlib.util.find_spec("kornia"), reason="kornia is not installed")
@pytest.mark.parametrize("name", CASES)
def test_against_kornia(benchmark: Any, name: str) -> None:
    """Augment a batch, and the same batch with kornia."""
    case = CASES[name]
    pixels = random_pixels(case)
    compare(benchmark, case, pixels, kornia(case, pixels), "kornia's", 3)


def two_views(tmp_path: Path, device: str, images: int, side: int) -> MemoryViews:
    """Return what makes SimCLR's two views of a batch."""
    training = Training(
        epochs=1, batch_size=images, image_size=side, precision="float32", optimizer="lars", lr=0.1,
        weight_decay=0.0, momentum=0.9, warmup_epochs=0.0,
    )  # fmt: skip
    run = TrainingRun(
        what="views", key="", training=training, views=(PLAIN, PLAIN), mean=(0.5,) * 3, std=(0.25,) * 3,
        seed=0, device=torch.device(device), folder=tmp_path,
    )  # fmt: skip
    pixels = torch.zeros(images, 3, side, side, dtype=torch.uint8, device=device)
    return MemoryViews(Images(pixels, torch.zeros(images, dtype=torch.int64, device=device)), run)


def test_operators_of_a_step(benchmark: Any, tmp_path: Path) -> None:
    """Count what the views of a batch dispatch to an accelerator, on one that has nothing to compute."""
    source = two_views(tmp_path, "meta", images=256, side=32)
    index = torch.arange(256, device="meta")
    source.views(index, 0, 0)(slice(0, 256))

    def count() -> int:
        with Dispatched() as dispatched:
            source.views(index, 0, 1)(slice(0, 256))
        return dispatched.count

    operators = benchmark.pedantic(count, rounds=1)
    source.close()
    benchmark.extra_info.update(
        what="operators dispatched for SimCLR's two views of a batch", ratio=operators, goal="at most 330"
    )


def test_host_time_of_a_step(benchmark: Any, tmp_path: Path) -> None:
    """Time the thread that trains while it makes views of images so small that all of it is dispatching."""
    source = two_views(tmp_path, "cpu", images=12, side=8)
    index = torch.arange(12)
    numbers = itertools.count()

    def step() -> float:
        begun = time.thread_time()
        source.views(index, 0, next(numbers))(slice(0, 12))
        taken = time.thread_time() - begun
        time.sleep(0.005)  # the rest of a step, in which the next batch is drawn
        return taken

    def add() -> float:
        begun = time.thread_time()
        for _ in range(1000):
            small.add_(1.0)
        return (time.thread_time() - begun) / 1000

    small = torch.zeros(1)
    times = benchmark.pedantic(lambda: [(step(), add()) for _ in range(100)], rounds=1, warmup_rounds=1)
    source.close()
    ours, addition = (statistics.median(column) for column in zip(*times, strict=True))
    benchmark.extra_info.update(
        what="host time of SimCLR's two views of a batch, against an addition of two numbers",
        ratio=ours / addition,
        goal="at most 850",
    )


def random_pixels(case: Case) -> Tensor:
    shape = (case.batch, 3, case.source, case.source)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def compare(
    benchmark: Any, case: Case, pixels: Tensor, theirs: Callable[[], Any], whose: str, goal: int
) -> None:
    keep_freed_pages()  # as a run does
    generator = torch.Generator().manual_seed(0)
    side_by_side(
        benchmark,
        lambda: augment(pixels, case.view, case.size, generator),
        theirs,
        what=f"views a second, {case.what}, against {whose}",
        goal=f"at least {goal}",
        rounds=9,
        faster=True,
    )


def operations(case: Case) -> list[Any]:
    """Return the recipe as torchvision's transforms."""
    view, kernel = case.view, 2 * blur_radius(case.size) + 1
    jitter = transforms.ColorJitter(view.brightness, view.contrast, view.saturation, view.hue)
    chain = [
        transforms.RandomResizedCrop(case.size, scale=(view.crop_min, view.crop_max), antialias=True),
        transforms.RandomHorizontalFlip(view.flip),
        transforms.RandomApply([jitter], p=view.jitter),
        transforms.RandomGrayscale(view.grey),
    ]
    if view.blur:
        chain.append(
            transforms.RandomApply(
                [transforms.GaussianBlur(kernel, (view.blur_min, view.blur_max))], view.blur
            )
        )
    if view.solarise:
        chain.append(transforms.RandomSolarize(128, view.solarise))
    return chain


def kornia(case: Case, pixels: Tensor) -> Callable[[], Tensor]:
    """Return the recipe as kornia's batched transforms, of the whole batch."""
    import kornia.augmentation as K  # type: ignore[import-not-found]

    view, kernel = case.view, 2 * blur_radius(case.size) + 1
    strengths = (view.brightness, view.contrast, view.saturation, view.hue)
    chain = [
        K.RandomResizedCrop((case.size, case.size), scale=(view.crop_min, view.crop_max)),
        K.RandomHorizontalFlip(p=view.flip),
        K.ColorJitter(*strengths, p=view.jitter),
        K.RandomGrayscale(p=view.grey),
    ]
    if view.blur:
        chain.append(K.RandomGaussianBlur((kernel, kernel), (view.blur_min, view.blur_max), p=view.blur))
    if view.solarise:
        chain.append(K.RandomSolarize(0.0, 0.0, p=view.solarise))
    transform = torch.nn.Sequential(*chain)
    return lambda: transform(pixels.float().div_(255))
