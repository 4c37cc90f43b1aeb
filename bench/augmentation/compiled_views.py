"""Make the views of a batch on a processor with a kernel in C, to the bit as torch makes them, only sooner.

Each of torch's operations passes over memory; `views.c` does all that an image needs while a cache has it. It
is compiled on first use. Where it cannot be, or rounds otherwise than libtorch, torch makes the views: which
of the two does changes no number.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.augmentation.draws import draw
from bench.augmentation.image_ops import NEVER, blur_taps
from bench.augmentation.preparation import Block, Index, Numbers, Preparation, prepare
from bench.augmentation.resampling import crop_taps
from bench.augmentation.torch_views import make_by_torch
from bench.augmentation.view import GREY, RGB, View
from bench.system.c_library import load_c

SOURCE = Path(__file__).with_name("views.c")
EXACT = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")  # all round as the source says
PROCESSORS = {"AVX2": ("-mavx2", "-mfma"), "AVX512": ("-mavx2", "-mfma"), "DEFAULT": ()}  # by torch's name
FLAGS = {"flip": 1, "jitter": 2, "grey": 4, "blur": 8, "solarise": 16}
BLENDS, BY_MEAN = 3, 2  # of `blend_weights`: how many turns, and which weight is that of the mean
SHARE = 2**18  # values of a batch that are worth a thread
SAMPLES = ((GREY, 16, 16), (RGB, 37, 24), (RGB, 12, 33))  # channels, side and size, to compare with torch's


class Batch(ctypes.Structure):
    """What `views.c` says of its own of that name: pointers, then numbers."""

    _fields_ = [
        *(
            (name, ctypes.c_void_p)
            for name in (
                "pixels", "out", "greys", "mean", "image", "place", "changes", "hue_turn", "mean_turn",
                "blends", "hue_offsets", "row_first", "row_weight", "column_first", "column_weight",
                "blur_weight",
            )
        ),
        *(
            (name, ctypes.c_int64)
            for name in (
                "n", "first_grey", "channels", "height", "width", "size", "row_taps", "column_taps", "radius",
            )
        ),
    ]  # fmt: skip


def make_compiled(pixels: Tensor, prepared: Preparation) -> Tensor | None:
    """Return what `make_by_torch` returns, to the bit, or nothing where torch has to do it.

    That is on an accelerator, where there is no kernel, for a recipe with an affine map, and for images other
    than those that were prepared for: the kernel trusts its arguments.
    """
    expected = pixels.dtype == torch.uint8 and pixels.shape == prepared.images
    if pixels.device.type != "cpu" or prepared.view.affine or not expected:
        return None
    kernel = find_kernel()
    return None if kernel is None else make_by_kernel(kernel, pixels, prepared)


@functools.cache
def find_kernel() -> ctypes.CDLL | None:
    """Return the kernel if it can be compiled here, and rounds as this machine's libtorch does."""
    flags = PROCESSORS.get(torch.backends.cpu.get_cpu_capability())
    kernel = None if flags is None else load_c(SOURCE, (*EXACT, *flags))
    return kernel if kernel is not None and rounds_as_torch(kernel) else None


def rounds_as_torch(kernel: ctypes.CDLL) -> bool:
    """Tell whether the kernel makes the same of a few images as torch: with another libtorch it may not."""
    view = View(blur=0.5, solarise=0.5, grey=0.5)
    generator = torch.Generator().manual_seed(0)
    for channels, side, size in SAMPLES:
        shape = torch.Size((16, channels, side, side))
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        prepared = prepare(draw(view, 16, side, side, generator), view, shape, size, pixels.device)
        if not torch.equal(make_by_kernel(kernel, pixels, prepared), make_by_torch(pixels, prepared)):
            return False
    return True


def make_by_kernel(kernel: ctypes.CDLL, pixels: Tensor, prepared: Preparation) -> Tensor:
    """Return what `make_by_torch` returns, of images on the CPU and a recipe without an affine map.

    Args:
        kernel: of `find_kernel`.
        pixels: (m, channels, h, w), uint8.
        prepared: of n results.

    Raises:
        MemoryError: there is none for a plane a thread.
    """
    channels, size = pixels.shape[1], prepared.size
    numbers = Numbers(*prepared.numbers.on(pixels.device))
    n = len(numbers.sigma)
    threads = max(1, min(torch.get_num_threads(), n * channels * size**2 // SHARE))
    groups = [prepared.blocks[i : i + threads] for i in range(0, len(prepared.blocks), threads)]
    spans = [slice(group[0].rows.start, group[-1].rows.stop) for group in groups]
    like: dict[str, Any] = {"dtype": torch.float32, "device": pixels.device}
    arrays = {
        "pixels": pixels.contiguous(),
        "out": torch.empty(n, channels, size, size, **like),
        "greys": torch.empty(max((rows.stop - rows.start for rows in spans), default=0), 1, size**2, **like),
        "mean": torch.zeros(n, **like),
        **_changes(prepared, numbers, channels),
        **_weights(prepared, numbers, *pixels.shape[2:]),
    }
    batch = _as_batch(arrays)
    with ThreadPoolExecutor(max(1, threads - 1), thread_name_prefix="views") as pool:
        for group, rows in zip(groups, spans, strict=True):
            batch.first_grey = rows.start
            _share_out(kernel.start_views, batch, rows, pool, threads)
            pausing = [block for block in group if _take_means(arrays, block, rows.start)]
            if pausing:
                _share_out(kernel.finish_views, batch, rows, pool, threads)
    return arrays["out"]


def _changes(prepared: Preparation, numbers: Numbers, channels: int) -> dict[str, Tensor]:
    """Return what is done to each image, and where it comes from and goes."""
    n = len(numbers.sigma)
    image, place = np.empty((2, n), dtype=np.int64)
    changes, hue_turn = np.zeros(n, dtype=np.uint8), np.empty(n, dtype=np.uint8)
    for block in prepared.blocks:
        rows, index = block.rows, Index(*(part.numpy() for part in block.index.on(torch.device("cpu"))))
        image[rows] = index.image
        place[rows][index.back] = np.arange(rows.start, rows.stop)
        hue_turn[rows] = np.searchsorted(block.ends, np.arange(rows.stop - rows.start), side="right")
        for name in ("flip", "grey", "blur", "solarise"):
            if channels == RGB or name != "grey":
                changes[rows][getattr(index, name)] |= FLAGS[name]
    jittered = hue_turn < NEVER
    changes[jittered] |= FLAGS["jitter"]
    contrast = (numbers.weights[:, BY_MEAN].numpy() != 0) & jittered
    mean_turn = np.where(contrast.any(axis=0), contrast.argmax(axis=0), BLENDS).astype(np.uint8)
    hue_turn = hue_turn if prepared.shifts_hue else np.full_like(hue_turn, NEVER)
    made = {"image": image, "place": place, "changes": changes, "hue_turn": hue_turn, "mean_turn": mean_turn}
    return {name: torch.from_numpy(array) for name, array in made.items()}


def _weights(prepared: Preparation, numbers: Numbers, height: int, width: int) -> dict[str, Tensor]:
    """Return what images are changed by, the taps of a crop by the first of each sequence."""
    weights = {"blends": numbers.weights, "hue_offsets": numbers.offsets}
    if not prepared.whole:
        crops = crop_taps(*numbers[:3], height, width, prepared.size)
        for name, taps in zip(("row", "column"), crops, strict=True):
            weights[f"{name}_first"] = taps.index[:, :, 0].contiguous()
            weights[f"{name}_weight"] = taps.weight
        weights["column_weight"] = weights["column_weight"].transpose(1, 2).contiguous()
    if prepared.view.blur:
        weights["blur_weight"] = blur_taps(numbers.sigma, prepared.size).weight.squeeze(1)
    return weights


def _as_batch(arrays: dict[str, Tensor]) -> Batch:
    """Return a batch that points to arrays, which have to be kept while it is used."""
    _, channels, height, width = arrays["pixels"].shape
    n, _, size, _ = arrays["out"].shape
    counts = {"n": n, "channels": channels, "height": height, "width": width, "size": size}
    if "row_weight" in arrays:
        counts |= {"row_taps": arrays["row_weight"].shape[2], "column_taps": arrays["column_weight"].shape[1]}
    if "blur_weight" in arrays:
        counts["radius"] = arrays["blur_weight"].shape[1] // 2
    return Batch(**{name: array.data_ptr() for name, array in arrays.items()}, **counts)


def _take_means(arrays: dict[str, Tensor], block: Block, first: int) -> bool:
    """Take the mean grey of a block as `blend_` does, of all at once; tell whether any image pauses for it.

    Args:
        arrays: of the batch.
        block: of it.
        first: row of the batch that the first of the grey images is of.
    """
    start, end = block.rows.start, block.rows.start + block.ends[-1]
    pausing = bool((arrays["mean_turn"][start:end] < BLENDS).any())
    if pausing:
        arrays["mean"][start:end] = arrays["greys"][start - first : end - first].mean(dim=2)[:, 0]
    return pausing


def _share_out(
    take: Callable[..., int], batch: Batch, rows: slice, pool: ThreadPoolExecutor, threads: int
) -> None:
    """Have several threads take the rows of a batch in turn.

    Raises:
        MemoryError: there is none for a plane a thread.
    """
    following = ctypes.c_int64(rows.start)
    arguments = (ctypes.byref(batch), ctypes.byref(following), ctypes.c_int64(rows.stop))
    others = [pool.submit(take, *arguments) for _ in range(threads - 1)]
    if any([take(*arguments), *(other.result() for other in others)]):
        raise MemoryError("views: there is no memory for a plane of an image a thread")
