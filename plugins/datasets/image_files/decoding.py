"""Decode image files into one array of bytes: whatever their mode, size and orientation.

An image is turned upright by its EXIF tag, laid over white where it is transparent, converted to
grey or RGB, and its largest centred square is resized to the side asked for (bicubic, antialiased),
which is the same as resizing the short side and cropping the centre; or all of it is, if that is asked.
"""

from __future__ import annotations

import math
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median_low
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from bench.api import BadData

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})  # grey of 16 bits
CLEAR_MODES = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
SAMPLED = 1_000  # headers that are read to find channels and size
MOST_SIDE, LEAST_SIDE = 224, 8  # of images of mixed sizes; of any: our choice
CHUNK = 64  # images a task: a task an image costs as much as decoding a small one
PROGRESS_FROM = 5_000
ORIENTATION, SIDEWAYS = 0x0112, frozenset({5, 6, 7, 8})  # the EXIF tag, and its values of a turned camera

# What Pillow's decoders raise on a damaged file, beside its own errors, which are OSErrors.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

T = TypeVar("T")
Failures = dict[int, str]  # why, by the index of the image that cannot be decoded


def decode(path: Path, channels: int, size: int, whole: bool = False) -> NDArray[np.uint8]:  # noqa: FBT001, FBT002
    """Return one image as (channels, size, size).

    Args:
        path: of the file; of several frames the first is taken.
        channels: 1 or 3.
        size: side in pixels.
        whole: nothing is cropped, the image is stretched to a square.

    Raises:
        OSError: the file is missing, empty, truncated or no image; Pillow's decoders raise other
            errors on damaged files as well, those of `DAMAGED`.
    """
    with Image.open(path) as image:
        image.draft(None, (2 * size, 2 * size))  # JPEG only: decodes at 1/2, 1/4 or 1/8, never below
        ImageOps.exif_transpose(image, in_place=True)
        plain = _square(_plain(image, "L" if channels == 1 else "RGB"), size, whole=whole)
        pixels: NDArray[np.uint8] = np.asarray(plain).reshape(size, size, channels).transpose(2, 0, 1)
        return pixels


def read(path: Path, shrink: Callable[[int, int], float], *, channels: int) -> NDArray[np.uint8] | str:
    """Return a whole image upright as (h, w, channels), or why it cannot be decoded.

    Args:
        path: of the file; of several frames the first is taken.
        shrink: says how many pixels may become one, from the image's height and width. A JPEG is then
            decoded at 1/2, 1/4 or 1/8 of its size, never below that.
        channels: 1 or 3.
    """
    return _or_reason(_read, path, shrink, channels)


def _read(path: Path, shrink: Callable[[int, int], float], channels: int) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        lies = image.getexif().get(ORIENTATION) in SIDEWAYS
        height, width = reversed(image.size) if not lies else image.size
        least = max(1.0, shrink(height, width))
        image.draft(None, (math.ceil(image.width / least), math.ceil(image.height / least)))
        ImageOps.exif_transpose(image, in_place=True)
        pixels: NDArray[np.uint8] = np.array(_plain(image, "L" if channels == 1 else "RGB"))
        return pixels.reshape(*pixels.shape[:2], channels)


def _plain(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in DEEP_MODES:
        image = _eight_bits(image)
    elif image.mode in CLEAR_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode == "F":
        raise ValueError("the range of its floating-point values is not known")
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a grey image of 16 bits scaled to 8: Pillow's own conversion clips at 255."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise ValueError("the range of its 32-bit values is not known")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _square(image: Image.Image, size: int, *, whole: bool) -> Image.Image:
    width, height = image.size
    if width == height == size:
        return image
    if whole:
        return image.resize((size, size), Image.Resampling.BICUBIC)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)


def decode_each(
    paths: Sequence[Path], channels: int, size: int, *, whole: bool = False
) -> Iterator[NDArray[np.uint8] | str]:
    """Yield each image as `decode` returns it, or why it cannot be decoded."""
    return (_or_reason(decode, path, channels, size, whole) for path in paths)


def decode_all(
    paths: Sequence[Path],
    channels: int,
    size: int,
    out: NDArray[np.uint8] | None = None,
    *,
    whole: bool = False,
) -> Failures:
    """Decode all images in threads, and return what failed.

    Args:
        paths: n files.
        channels: 1 or 3.
        size: side in pixels.
        out: (n, channels, size, size), filled in; none to find out only which can be decoded.
        whole: as of `decode`.
    """
    import torch  # not by a process that only decodes: it takes ten times the memory of the rest

    failures: Failures = {}
    visible = len(paths) > PROGRESS_FROM and sys.stderr.isatty()
    bar = tqdm(total=len(paths), desc="decoding", unit=" images", leave=False, disable=not visible)

    def work(start: int) -> None:
        part = paths[start : start + CHUNK]
        for i, pixels in enumerate(decode_each(part, channels, size, whole=whole), start):
            if isinstance(pixels, str):
                failures[i] = pixels
            elif out is not None:
                out[i] = pixels
        bar.update(len(part))

    with bar, ThreadPoolExecutor(torch.get_num_threads()) as threads:  # Pillow decodes without the GIL
        list(threads.map(work, range(0, len(paths), CHUNK)))
    return dict(sorted(failures.items()))


def measure(paths: Sequence[Path]) -> tuple[int, int, Failures]:
    """Return the channels and the side that fit these images, from up to 1,000 of their headers.

    One channel if all are grey. The side is theirs if all are squares of one size, else the median
    short side, at most 224; at least 8 in both cases.

    Args:
        paths: n files, of which some, evenly spaced, are opened.

    Returns:
        Channels, side, and what failed; 3 and 8 if nothing could be opened.
    """
    failures: Failures = {}
    modes, sizes = set(), []
    for i in space_evenly(len(paths), SAMPLED):
        header = _or_reason(_header, paths[i])
        if isinstance(header, str):
            failures[i] = header
        else:
            modes.add(header[0])
            sizes.append(header[1])
    channels = 1 if modes and modes <= GREY_MODES else 3
    return channels, _common_side(sizes), failures


def _header(path: Path) -> tuple[str, tuple[int, int]]:
    with Image.open(path) as image:
        return image.mode, image.size


def _or_reason(make: Callable[..., T], path: Path, *rest: Any) -> T | str:
    """Return what `make` makes of the file, or why it cannot."""
    try:
        return make(path, *rest)
    except UnidentifiedImageError:
        return "not an image" if path.stat().st_size else "empty"
    except FileNotFoundError:
        return "a link to nothing"
    except DAMAGED as error:
        return str(error) or type(error).__name__


def _common_side(sizes: Sequence[tuple[int, int]]) -> int:
    if not sizes:
        return LEAST_SIDE
    side = median_low([min(size) for size in sizes])
    alike = set(sizes) == {(side, side)}
    return max(LEAST_SIDE, side if alike else min(side, MOST_SIDE))


def space_evenly(count: int, most: int) -> list[int]:
    """Return at most `most` indices, evenly spaced in `range(count)`."""
    return list(range(count)) if count <= most else [i * count // most for i in range(most)]


def refuse_too_large(
    images: int,
    channels: int,
    size: int,
    free: int,
    where: str = "image_folder",
    remedy: str = "Set a smaller dataset.size, or dataset.max_train.",
) -> None:
    """Refuse images that do not fit into memory.

    Args:
        images: of one split.
        channels: 1 or 3.
        size: side in pixels.
        free: bytes of memory that are available.
        where: what the error starts with: the dataset's name.
        remedy: what to do.

    Raises:
        BadData: they take more.
    """
    need = images * channels * size * size
    if need > free:
        raise BadData(
            f"{where}: {images:,} images of {size}x{size} take {need / 2**30:.3g} GiB of memory, "
            f"{free / 2**30:.3g} GiB are free. {remedy}"
        )


def available_memory() -> int:
    """Return the bytes of memory that can be used without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines)
        return int(values["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):  # not Linux: free pages, or all of them where that is not told
        known = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
        return os.sysconf(known) * os.sysconf("SC_PAGE_SIZE")
