"""Decode image files into one array of bytes: whatever their mode, size and orientation.

An image is turned upright by its EXIF tag, laid over white where it is transparent, converted to
grey or RGB, and its largest centred square is resized to the side asked for (bicubic, antialiased),
which is the same as resizing the short side and cropping the centre; or all of it is, if that is asked.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median_low
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from tqdm import tqdm

from bench.api import BadData

from .formats import advise, is_decodable, open_plugins, read_format

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})  # grey of 16 bits
CLEAR_MODES = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
SAMPLED = 1_000  # headers that are read to find channels and size
MOST_SIDE, LEAST_SIDE = 224, 8  # of images of mixed sizes; of any: our choice
CHUNK = 64  # images a task: a task an image costs as much as decoding a small one
PROGRESS_FROM = 5_000
MOST_PIXELS = 178_956_970  # of an image that is decoded: from there on Pillow's default is to refuse it
TEXT_BYTES = 1 << 28  # that a PNG says beside its image; Pillow's 1 MB is less than editors write
ORIENTATION, SIDEWAYS = 0x0112, frozenset({5, 6, 7, 8})  # the EXIF tag, and its values of a turned camera

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the tag's value  # fmt: skip
CUT_SHORT = ("truncated", "not processed", "end of file", "buffer is not large enough", "incomplete")

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

Image.MAX_IMAGE_PIXELS = None  # the limit is ours, and is said in our words
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = TEXT_BYTES

T = TypeVar("T")
Failures = dict[int, str]  # why, by the index of the image that cannot be decoded


class UndecodableError(ValueError):
    """An image that is whole and cannot be used, and why in our own words."""


def decode(
    path: Path,
    channels: int,
    size: int,
    whole: bool = False,  # noqa: FBT001, FBT002
    most: int = MOST_PIXELS,
) -> NDArray[np.uint8]:
    """Return one image as (channels, size, size).

    Args:
        path: of the file; of several frames the first is taken.
        channels: 1 or 3.
        size: side in pixels.
        whole: nothing is cropped, the image is stretched to a square.
        most: pixels that are decoded; of a JPEG, after it was made smaller.

    Raises:
        OSError: the file is missing, empty, truncated or no image; Pillow's decoders raise other
            errors on damaged files as well, those of `DAMAGED`.
    """
    with _open(path) as image:
        image.draft(None, (2 * size, 2 * size))  # JPEG only: decodes at 1/2, 1/4 or 1/8, never below
        _refuse_large(image, most)
        plain = _square(_plain(_turn_upright(image), "L" if channels == 1 else "RGB"), size, whole=whole)
        pixels: NDArray[np.uint8] = np.asarray(plain).reshape(size, size, channels).transpose(2, 0, 1)
        return pixels


def read(
    path: Path, shrink: Callable[[int, int], float], *, channels: int, most: int = MOST_PIXELS
) -> NDArray[np.uint8] | str:
    """Return a whole image upright as (h, w, channels), or why it cannot be decoded.

    Args:
        path: of the file; of several frames the first is taken.
        shrink: says how many pixels may become one, from the image's height and width. A JPEG is then
            decoded at 1/2, 1/4 or 1/8 of its size, never below that.
        channels: 1 or 3.
        most: as of `decode`.
    """
    with quiet():
        return _or_reason(_read, path, shrink, channels, most)


def _read(path: Path, shrink: Callable[[int, int], float], channels: int, most: int) -> NDArray[np.uint8]:
    with _open(path) as image:
        lies = _orientation(image) in SIDEWAYS
        height, width = reversed(image.size) if not lies else image.size
        least = max(1.0, shrink(height, width))
        image.draft(None, (math.ceil(image.width / least), math.ceil(image.height / least)))
        _refuse_large(image, most)
        pixels: NDArray[np.uint8] = np.array(_plain(_turn_upright(image), "L" if channels == 1 else "RGB"))
        return pixels.reshape(*pixels.shape[:2], channels)


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        open_plugins()  # of packages that are installed: it takes a moment, and most need none
        return Image.open(path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings, of tags that are odd, from people who can do nothing about them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        yield


def _refuse_large(image: Image.Image, most: int) -> None:
    """Refuse an image of too many pixels: a small file may say that it has billions.

    Raises:
        UndecodableError: it has.
    """
    if image.width * image.height > most:
        raise UndecodableError(
            f"{image.width}x{image.height} are {image.width * image.height / 1e6:.4g} megapixels, more than "
            f"dataset.max_megapixels, which is {most / 1e6:.4g}"
        )


def _orientation(image: Image.Image) -> int | None:
    """Return what the image's EXIF tag says; none where there is none, or it is damaged."""
    try:
        return image.getexif().get(ORIENTATION)
    except DAMAGED:
        return None


def _turn_upright(image: Image.Image) -> Image.Image:
    """Return an image as it was seen by who took it, as PIL.ImageOps.exif_transpose does."""
    turn = UPRIGHT.get(_orientation(image) or 1)
    return image if turn is None else image.transpose(turn)


def _plain(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in DEEP_MODES:
        image = _eight_bits(image)
    elif image.mode in CLEAR_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode == "F":
        raise UndecodableError("the range of its floating-point values is not known")
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a grey image of 16 bits scaled to 8: Pillow's own conversion clips at 255."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise UndecodableError("the range of its 32-bit values is not known")
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
    paths: Sequence[Path], channels: int, size: int, *, whole: bool = False, most: int = MOST_PIXELS
) -> Iterator[NDArray[np.uint8] | str]:
    """Yield each image as `decode` returns it, or why it cannot be decoded."""
    return (_or_reason(decode, path, channels, size, whole, most) for path in paths)


def decode_all(
    paths: Sequence[Path],
    channels: int,
    size: int,
    out: NDArray[np.uint8] | None = None,
    *,
    whole: bool = False,
    most: int = MOST_PIXELS,
) -> Failures:
    """Decode all images in threads, and return what failed.

    Args:
        paths: n files.
        channels: 1 or 3.
        size: side in pixels.
        out: (n, channels, size, size), filled in; none to find out only which can be decoded.
        whole: as of `decode`.
        most: as of `decode`.
    """
    import torch  # not by a process that only decodes: it takes ten times the memory of the rest

    failures: Failures = {}
    visible = len(paths) > PROGRESS_FROM and sys.stderr.isatty()
    bar = tqdm(total=len(paths), desc="decoding", unit=" images", leave=False, disable=not visible)

    def work(start: int) -> None:
        part = paths[start : start + CHUNK]
        for i, pixels in enumerate(decode_each(part, channels, size, whole=whole, most=most), start):
            if isinstance(pixels, str):
                failures[i] = pixels
            elif out is not None:
                out[i] = pixels
        bar.update(len(part))

    with (
        quiet(),
        bar,
        ThreadPoolExecutor(torch.get_num_threads()) as threads,
    ):  # Pillow decodes without the GIL
        list(threads.map(work, range(0, len(paths), CHUNK)))
    return dict(sorted(failures.items()))


def measure(paths: Sequence[Path], most: int = MOST_PIXELS) -> tuple[int, int, Failures]:
    """Return the channels and the side that fit these images, from up to 1,000 of their headers.

    One channel if all are grey. The side is theirs if all are squares of one size, else the median
    short side, at most 224; at least 8 in both cases.

    Args:
        paths: n files, of which some, evenly spaced, are opened.
        most: as of `decode`.

    Returns:
        Channels, side, and what failed; 3 and 8 if nothing could be opened.
    """
    failures: Failures = {}
    modes, sizes = set(), []
    for i in space_evenly(len(paths), SAMPLED):
        with quiet():
            header = _or_reason(_header, paths[i], most)
        if isinstance(header, str):
            failures[i] = header
        else:
            modes.add(header[0])
            sizes.append(header[1])
    channels = 1 if modes and modes <= GREY_MODES else 3
    return channels, _common_side(sizes), failures


def _header(path: Path, most: int) -> tuple[str, tuple[int, int]]:
    with _open(path) as image:
        if image.format != "JPEG":  # which may be decoded at a part of its size
            _refuse_large(image, most)
        return image.mode, image.size


def _or_reason(make: Callable[..., T], path: Path, *rest: Any) -> T | str:
    """Return what `make` makes of the file, or why it cannot, in words that say what to do about it."""
    try:
        return make(path, *rest)
    except UndecodableError as error:
        return str(error)
    except UnidentifiedImageError:
        return _say_unidentified(path)
    except FileNotFoundError:
        return "a link to nothing"
    except DAMAGED as error:
        text = str(error).lower()
        is_short = isinstance(error, EOFError) or any(word in text for word in CUT_SHORT)
        return "cut short" if is_short else "damaged"


def _say_unidentified(path: Path) -> str:
    """Return why Pillow cannot tell what a file is."""
    if not path.stat().st_size:
        return "empty"
    kind = read_format(path)
    if kind and not is_decodable(kind):
        return f"{kind}, which cannot be decoded here: {advise(kind)}"
    return f"{kind} that is damaged, or of a rare kind" if kind else "not an image"


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
