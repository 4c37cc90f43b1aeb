"""The kernel makes the views that torch makes, to the bit, or is not used."""

from __future__ import annotations

import ctypes
import dataclasses
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from environment import environment
from torch import Tensor

from bench.augmentation import compiled_views
from bench.augmentation.apply import apply_prepared
from bench.augmentation.compiled_views import (
    EXACT,
    PROCESSORS,
    SOURCE,
    find_kernel,
    make_by_kernel,
    make_compiled,
    rounds_as_torch,
)
from bench.augmentation.draws import draw
from bench.augmentation.preparation import Preparation, prepare
from bench.augmentation.torch_views import make_by_torch
from bench.augmentation.view import View
from bench.system.c_library import COMPILERS, SWITCH, load_c

CAPABILITY = torch.backends.cpu.get_cpu_capability()
PROMISED = (
    sys.platform.startswith("linux")
    and any(map(shutil.which, COMPILERS))
    and (platform.machine(), CAPABILITY) == ("x86_64", "AVX2")
)
needs_kernel = pytest.mark.skipif(
    not PROMISED and find_kernel() is None, reason="there is no C compiler, or libtorch rounds otherwise here"
)

WHOLE = View(crop_min=1.0, crop_ratio=1.0)
RECIPES = {
    "SimCLR's": View(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "BYOL's": View(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, blur=0.5, solarise=0.2),
    "all": View(flip=1.0, jitter=1.0, hue=0.5, grey=0.5, blur=1.0, blur_min=0.3, solarise=0.5),
    "small crops": View(crop_min=0.01, crop_max=0.2, blur=0.5, solarise=0.5),
    "crop": View(flip=0.0, jitter=0.0, grey=0.0),
    "whole": dataclasses.replace(WHOLE, blur=0.5, solarise=0.5),
    "whole, not jittered": dataclasses.replace(WHOLE, jitter=0.0, blur=0.5),
    "nothing": dataclasses.replace(WHOLE, flip=0.0, jitter=0.0, grey=0.0),
    "hue": View(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.5, jitter=1.0),
    "contrast": View(brightness=0.0, contrast=5.0, saturation=0.0, hue=0.0, jitter=1.0),
    "no contrast": View(contrast=0.0, jitter=1.0),
    "strong": View(brightness=3.0, contrast=3.0, saturation=3.0, hue=0.5, jitter=1.0, solarise=0.5),
}
SIDES = {8: (8, 8), 28: (28, 28), 32: (32, 32), 33: (50, 37), 64: (40, 90), 96: (96, 96), 224: (256, 256)}


@pytest.fixture(scope="module")
def kernel() -> ctypes.CDLL:
    found = find_kernel()
    assert found is not None
    return found


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(n: int, channels: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=seeded(n))


def prepared(x: Tensor, view: View, size: int, turns: int = 1, seed: int = 0) -> Preparation:
    """Return draws of `turns` results of each image."""
    _, _, height, width = x.shape
    draws = draw(view, turns * len(x), height, width, seeded(seed))
    return prepare(draws, view, x.shape, size, x.device)


def same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


@needs_kernel
@pytest.mark.parametrize("threads", [1, 3], indirect=True)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIDES)
@pytest.mark.parametrize("name", RECIPES)
def test_views_are_the_same_to_the_bit(
    name: str, size: int, channels: int, threads: int, kernel: ctypes.CDLL
) -> None:
    for n, (height, width) in ((11, SIDES[size]), (5, (size, size)), (1, (size, size + 1))):
        x = pixels(n, channels, height, width)
        known = prepared(x, RECIPES[name], size)

        assert same_bits(make_by_kernel(kernel, x, known), make_by_torch(x, known))


@needs_kernel
@pytest.mark.parametrize("threads", [1, 4], indirect=True)
def test_a_large_batch_is_the_same_in_all_its_blocks(threads: int, kernel: ctypes.CDLL) -> None:
    for size, n in ((32, 800), (96, 90), (224, 23)):
        x = pixels(n, 3, size, size)
        known = prepared(x, RECIPES["BYOL's"], size, turns=2)

        assert len(known.blocks) > 4
        assert same_bits(make_by_kernel(kernel, x, known), make_by_torch(x, known))


@needs_kernel
@pytest.mark.parametrize("value", [0, 1, 127, 128, 255])
def test_images_without_contrast_or_colour_are_the_same(value: int, kernel: ctypes.CDLL) -> None:
    x = torch.full((32, 3, 24, 24), value, dtype=torch.uint8)
    x[16:, 1] = 255 - value  # two channels alike
    for view in RECIPES.values():
        known = prepared(x, view, 24)

        assert same_bits(make_by_kernel(kernel, x, known), make_by_torch(x, known))


@needs_kernel
@pytest.mark.parametrize(("height", "width", "size"), [(1, 1, 8), (1, 9, 8), (300, 7, 8), (9, 500, 40)])
def test_images_of_odd_shapes_are_the_same(height: int, width: int, size: int, kernel: ctypes.CDLL) -> None:
    x = pixels(24, 3, height, width)
    known = prepared(x, RECIPES["all"], size)

    assert same_bits(make_by_kernel(kernel, x, known), make_by_torch(x, known))


@needs_kernel
def test_images_that_are_no_one_piece_of_memory_are_the_same(kernel: ctypes.CDLL) -> None:
    x = pixels(24, 3, 40, 40).transpose(2, 3)[::2]
    known = prepared(x, RECIPES["all"], 24)

    assert same_bits(make_by_kernel(kernel, x, known), make_by_torch(x, known))


@needs_kernel
def test_the_kernel_makes_the_views_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    x = pixels(2, 3, 16, 16)
    made: list[Tensor] = []

    def make(kernel: ctypes.CDLL, x: Tensor, known: Preparation) -> Tensor:
        made.append(make_by_kernel(kernel, x, known))
        return made[-1]

    monkeypatch.setattr(compiled_views, "make_by_kernel", make)

    assert apply_prepared(x, prepared(x, RECIPES["all"], 16)) is made[0]


def test_torch_makes_views_with_an_affine_map() -> None:
    x, view = pixels(6, 3, 24, 24), View(affine=0.5)
    known = prepared(x, view, 24)

    assert make_compiled(x, known) is None
    assert same_bits(apply_prepared(x, known), make_by_torch(x, known))


@pytest.mark.parametrize("what", ["type", "images", "shape"])
def test_torch_takes_what_was_not_prepared_for(what: str) -> None:
    x = pixels(6, 3, 24, 24)
    known = prepared(x, View(), 24)
    others = {"type": x.float(), "images": x[:5], "shape": x[:, :, :20]}

    assert make_compiled(others[what], known) is None


def test_torch_makes_views_on_an_accelerator() -> None:
    x = pixels(6, 3, 24, 24)

    assert make_compiled(x.to("meta"), prepared(x, View(), 24)) is None


WRONG = {
    "grey": ("0.114f", "0.1140001f"),
    "crop": (
        "to[i] = fmaf(weight[i], from[first[i] + tap], to[i])",
        "to[i] += weight[i] * from[first[i] + tap]",
    ),
    "blend": ("float reference = fmaf(", "float reference = 1e-8f + fmaf("),
    "contrast": ("batch->mean[row] *", "1.0000001f * batch->mean[row] *"),
    "hue": ("+ high - 2 * low", "- 2 * low + high"),
    "blur": ("sum.at[lane] = fmaf(weight, x[lane], sum.at[lane])", "sum.at[lane] += weight * x[lane]"),
    "border": ("2 * (size - 1) - at", "size - 1"),
    "solarise": ("x[i] <= dark", "x[i] < 0.6f"),
    "place": ("batch->place[row]", "row"),
}


@needs_kernel
@pytest.mark.parametrize(("right", "wrong"), WRONG.values(), ids=WRONG)
def test_a_kernel_that_rounds_otherwise_than_torch_is_found_out(
    right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = SOURCE.read_text()
    assert right in text
    (tmp_path / "views.c").write_text(text.replace(right, wrong))
    kernel = load_c(tmp_path / "views.c", (*EXACT, *PROCESSORS[CAPABILITY]))

    assert kernel is not None
    assert not rounds_as_torch(kernel)


def test_without_a_kernel_torch_makes_the_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    find_kernel.cache_clear()
    x = pixels(6, 3, 24, 24)
    known = prepared(x, RECIPES["all"], 24)
    try:
        assert find_kernel() is None
        assert make_compiled(x, known) is None
        assert same_bits(apply_prepared(x, known), make_by_torch(x, known))
    finally:
        find_kernel.cache_clear()


@needs_kernel
@pytest.mark.parametrize(
    "flags", [{"AVX2": ("-mno-fma",), "AVX512": ("-mno-fma",)}, {}], ids=["refused", "unknown"]
)
def test_on_another_processor_there_is_no_kernel(
    flags: dict[str, tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled_views, "PROCESSORS", flags)
    find_kernel.cache_clear()

    try:
        assert find_kernel() is None
    finally:
        find_kernel.cache_clear()


DIGEST = """
import hashlib, torch
from bench.augmentation.apply import augment
from bench.augmentation.compiled_views import find_kernel
from bench.augmentation.view import View
pixels = torch.randint(0, 256, (40, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
views = augment(pixels, View(blur=0.5, solarise=0.5), 32, torch.Generator().manual_seed(1))
print(hashlib.sha256(views.numpy().tobytes()).hexdigest(), find_kernel() is not None)
"""


@needs_kernel
def test_a_machine_without_a_compiler_makes_the_same_views(tmp_path: Path) -> None:
    def digest(**variables: str) -> list[str]:
        code = [sys.executable, "-c", DIGEST]
        variables |= {"XDG_CACHE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1", SWITCH: "1"}
        return subprocess.run(
            code, env=environment(**variables), capture_output=True, text=True, check=True
        ).stdout.split()

    without, compiled = digest(PATH=""), digest()

    assert (without[1], compiled[1]) == ("False", "True")
    assert without[0] == compiled[0]
