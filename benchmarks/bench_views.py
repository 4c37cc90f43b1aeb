"""Views a second and core, ours and torchvision's, of the same images by the same recipe.

Theirs take an image at a time: v1 the PIL images of a dataset, as most training codes do, v2 tensors of
bytes. Kornia's take a batch, and are measured where it is installed. Everything runs on one thread, in
turns, and it is the processor's time that counts. `times_v1` in the extra info is how many times as many
views ours makes in the same time.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import transforms as v1
from torchvision.transforms import v2

from bench.imageops import blur_radius
from bench.views import View, augment

PLAIN = View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)  # SimCLR's for CIFAR
FULL = View(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, blur=0.5, solarise=0.2)


@dataclass(frozen=True)
class Case:
    what: str
    view: View
    source: int  # side of the images, in pixels
    size: int  # side of the views
    batch: int
    few: int  # images of a round of what takes one at a time


CASES = {
    "32": Case("32 px, SimCLR's for CIFAR", PLAIN, 32, 32, 512, 96),
    "32_blur_solarise": Case("32 px with blur and solarise", FULL, 32, 32, 512, 96),
    "96_blur_solarise": Case("96 px with blur and solarise", FULL, 96, 96, 128, 32),
    "224_blur_solarise": Case("224 px with blur and solarise", FULL, 256, 224, 32, 8),
}


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("name", CASES)
def test_views(benchmark: Any, name: str) -> None:
    """Augment a batch; between two rounds, the others augment theirs."""
    torch.set_num_threads(1)
    case = CASES[name]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (case.batch, 3, case.source, case.source), dtype=torch.uint8)
    others = {"v1": one_by_one(torchvision_v1(case), [v1.ToPILImage()(p) for p in pixels[: case.few]])}
    others["v2"] = one_by_one(torchvision_v2(case), list(pixels[: case.few]))
    counts = {"v1": case.few, "v2": case.few, "kornia": case.batch}
    if importlib.util.find_spec("kornia"):
        others["kornia"] = kornia(case, pixels)
    seconds: dict[str, list[float]] = {key: [] for key in others}

    def in_turn() -> None:
        for key, run in others.items():
            start = time.process_time()
            run()
            seconds[key].append((time.process_time() - start) / counts[key])

    args = (pixels, case.view, case.size, generator)
    made = benchmark.pedantic(augment, args, setup=in_turn, rounds=10, warmup_rounds=2)
    ours = benchmark.stats.stats.median / case.batch
    benchmark.extra_info["views_per_s"] = round(1 / ours)
    times = {key: [one / ours for one in each] for key, each in seconds.items()}
    for key, each in times.items():
        benchmark.extra_info[f"times_{key}"] = round(statistics.median(each), 1)
    benchmark.extra_info.update(
        what=f"views a second, {case.what}, against torchvision's one by one",
        ratio=statistics.median(times["v1"]),
        spread=f"{min(times['v1']):.3g} to {max(times['v1']):.3g}",
        goal="at least 8",
    )

    assert made.shape == (case.batch, 3, case.size, case.size)


def one_by_one(transform: Callable[[Any], Tensor], images: list[Any]) -> Callable[[], Tensor]:
    return lambda: torch.stack([transform(image) for image in images])


def torchvision_v1(case: Case) -> Callable[[Any], Tensor]:
    return v1.Compose([*operations(v1, case), v1.ToTensor()])


def torchvision_v2(case: Case) -> Callable[[Any], Tensor]:
    return v2.Compose([*operations(v2, case), v2.ToDtype(torch.float32, scale=True)])


def operations(module: Any, case: Case) -> list[Any]:
    """Return the recipe as the transforms of torchvision's `module`."""
    view, kernel = case.view, 2 * blur_radius(case.size) + 1
    jitter = module.ColorJitter(view.brightness, view.contrast, view.saturation, view.hue)
    chain = [
        module.RandomResizedCrop(case.size, scale=(view.crop_min, view.crop_max), antialias=True),
        module.RandomHorizontalFlip(view.flip),
        module.RandomApply([jitter], p=view.jitter),
        module.RandomGrayscale(view.grey),
    ]
    if view.blur:
        chain.append(
            module.RandomApply([module.GaussianBlur(kernel, (view.blur_min, view.blur_max))], view.blur)
        )
    if view.solarise:
        chain.append(module.RandomSolarize(128, view.solarise))
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
