"""Views a second and core: ours, and torchvision's and kornia's, of the same images by the same recipe.

Torchvision's take the PIL image of a dataset at a time, as most training codes have them do; kornia's take a
batch, and are measured where kornia is installed. Everything runs on one thread, in turns.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from side_by_side import side_by_side
from torch import Tensor
from torchvision import transforms

from bench.augmentation.apply import augment
from bench.augmentation.image_ops import blur_radius
from bench.augmentation.view import View
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
