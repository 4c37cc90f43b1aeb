"""Image files of every mode become the right bytes, and damaged ones are named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_plugins.datasets.image_files.decoding import (
    DAMAGED,
    available_memory,
    decode,
    decode_all,
    measure,
    refuse_too_large,
    space_evenly,
)
from PIL import Image

from bench.api import BadData

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def saved(path: Path, image: Image.Image, **how: Any) -> Path:
    image.save(path, **how)
    return path


def corners(size: int = 8) -> Image.Image:
    """Return a red image whose upper left quarter is blue."""
    image = Image.new("RGB", (size, size), RED)
    image.paste(BLUE, (0, 0, size // 2, size // 2))
    return image


def pixel(pixels: np.ndarray, row: int, column: int) -> tuple[int, ...]:
    return tuple(pixels[:, row, column].tolist())


def noise(size: int, mode: str = "RGB") -> Image.Image:
    values = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "tiff", "ppm", "webp"])
def test_a_lossless_image_of_the_right_size_is_kept_as_it_is(tmp_path: Path, ending: str) -> None:
    image = noise(8)
    path = saved(tmp_path / f"a.{ending}", image, **({"lossless": True} if ending == "webp" else {}))

    assert (decode(path, 3, 8) == np.asarray(image).transpose(2, 0, 1)).all()


def test_grey_one_bit_and_pgm_images_become_one_channel_or_three(tmp_path: Path) -> None:
    grey = noise(8, "L")
    for path in (saved(tmp_path / "a.png", grey), saved(tmp_path / "a.pgm", grey)):
        assert (decode(path, 1, 8)[0] == np.asarray(grey)).all()
        assert (decode(path, 3, 8) == np.asarray(grey)).all()

    bits = saved(tmp_path / "b.png", grey.convert("1"))

    assert set(np.unique(decode(bits, 1, 8))) == {0, 255}


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, name: str) -> None:
    values = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    path = saved(tmp_path / name, Image.fromarray(values))

    assert (decode(path, 1, 8)[0] == np.rint(values / 257)).all()


def test_values_of_unknown_range_are_refused(tmp_path: Path) -> None:
    floats = saved(tmp_path / "f.tif", Image.fromarray(np.full((8, 8), 0.5, dtype=np.float32)))
    wide = saved(tmp_path / "i.tif", Image.fromarray(np.full((8, 8), 100_000, dtype=np.int32)))

    for path in (floats, wide):
        with pytest.raises(ValueError, match=r"range of its .* values is not known"):
            decode(path, 1, 8)


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (*GREEN, 0))
    clear.paste((*RED, 255), (0, 0, 4, 8))
    clear.paste((*BLUE, 128), (4, 0, 8, 4))
    pixels = decode(saved(tmp_path / "a.png", clear), 3, 8)

    assert pixel(pixels, 0, 0) == RED
    assert pixel(pixels, 7, 7) == WHITE
    assert pixel(pixels, 0, 7) == (127, 127, 255)


def test_transparent_palettes_greys_and_gifs_are_laid_over_white(tmp_path: Path) -> None:
    palette = corners().quantize(2)
    index = palette.getpixel((7, 7))
    grey = Image.new("LA", (8, 8), (0, 0))
    paths = [
        saved(tmp_path / "p.png", palette, transparency=index),
        saved(tmp_path / "b.png", palette, transparency=bytes([0 if i == index else 255 for i in range(2)])),
        saved(tmp_path / "g.gif", palette, transparency=index),
        saved(tmp_path / "la.png", grey),
    ]

    assert [pixel(decode(path, 3, 8), 7, 7) for path in paths] == [WHITE] * 4
    assert [pixel(decode(path, 3, 8), 0, 0) for path in paths[:3]] == [BLUE] * 3


def test_palette_images_have_their_colours(tmp_path: Path) -> None:
    pixels = decode(saved(tmp_path / "p.png", corners().quantize(2)), 3, 8)

    assert (pixel(pixels, 0, 0), pixel(pixels, 7, 7)) == (BLUE, RED)


def test_cmyk_images_have_their_colours(tmp_path: Path) -> None:
    plain = Image.new("RGB", (8, 8), (200, 100, 50))
    pixels = decode(saved(tmp_path / "c.jpg", plain.convert("CMYK"), quality=100), 3, 8)

    assert np.abs(pixels[:, 4, 4].astype(int) - (200, 100, 50)).max() <= 3


def test_an_image_is_turned_upright_by_its_exif_tag(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn to the left
    turned = saved(tmp_path / "a.png", corners(), exif=exif)

    assert pixel(decode(turned, 3, 8), 0, 7) == BLUE
    assert pixel(decode(turned, 3, 8), 0, 0) == RED


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (BLUE, RED)]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])

    assert pixel(decode(path, 3, 8), 4, 4) == BLUE


@pytest.mark.parametrize(("shape", "scaled"), [((24, 8), (24, 8)), ((48, 16), (24, 8)), ((17, 51), (8, 24))])
def test_the_short_side_is_resized_and_the_centre_cropped(
    tmp_path: Path, shape: tuple[int, int], scaled: tuple[int, int]
) -> None:
    image = noise(51).crop((0, 0, *shape))
    left, top = (scaled[0] - 8) // 2, (scaled[1] - 8) // 2
    plain = image.resize(scaled, Image.Resampling.BICUBIC).crop((left, top, left + 8, top + 8))
    expected = np.asarray(plain).transpose(2, 0, 1).astype(int)

    assert np.abs(decode(saved(tmp_path / "a.png", image), 3, 8) - expected).max() <= 1


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    board = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8))
    pixels = decode(saved(tmp_path / "a.png", board), 1, 8)

    assert np.abs(pixels.astype(int) - 127).max() <= 2


def test_a_large_jpeg_is_shrunk_to_nearly_what_its_png_is(tmp_path: Path) -> None:
    slope = Image.fromarray(np.linspace(0, 255, 512).astype(np.uint8)[None].repeat(512, 0))
    jpeg, png = saved(tmp_path / "a.jpg", slope, quality=95), saved(tmp_path / "a.png", slope)

    assert np.abs(decode(jpeg, 1, 16).astype(int) - decode(png, 1, 16)).max() <= 2


def whole(ending: str) -> bytes:
    buffer = io.BytesIO()
    noise(32).save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending))
    return buffer.getvalue()


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "tif", "ppm", "webp"])
def test_a_file_cut_short_is_damaged(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(whole(ending)[: len(whole(ending)) // 2])

    with pytest.raises(DAMAGED):
        decode(path, 3, 32)


def test_failures_are_told_by_place_and_the_others_are_decoded(tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"{i}.png", Image.new("L", (8, 8), i)) for i in range(200)]
    paths[70].write_bytes(b"")
    paths[150].write_bytes(b"no image")
    out = np.zeros((200, 1, 8, 8), dtype=np.uint8)
    failures = decode_all(paths, 1, 8, out=out)
    paths[3].unlink()

    assert failures == {70: "empty", 150: "not an image"}
    assert all((out[i] == i).all() for i in range(200) if i not in failures)
    assert decode_all(paths, 1, 8)[3] == "a link to nothing"


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ([(32, 32)] * 3, 32),
        ([(500, 500)] * 3, 500),
        ([(4, 4)] * 3, 8),
        ([(40, 30)] * 3, 30),
        ([(20, 90), (50, 30), (60, 40)], 30),
        ([(300, 900), (500, 300), (600, 400)], 224),
    ],
)
def test_the_side_is_the_common_one_or_the_median_short_one(
    tmp_path: Path, sizes: list[tuple[int, int]], side: int
) -> None:
    paths = [saved(tmp_path / f"{i}.png", Image.new("L", size)) for i, size in enumerate(sizes)]

    assert measure(paths) == (1, side, {})


def test_one_colour_image_makes_three_channels(tmp_path: Path) -> None:
    paths = [saved(tmp_path / f"{mode}.png", Image.new(mode, (8, 8))) for mode in ("L", "1", "I;16", "LA")]

    assert measure(paths)[0] == 1
    assert measure([*paths, saved(tmp_path / "p.png", corners().quantize(2))])[0] == 3


def test_a_sample_is_spread_over_all() -> None:
    assert space_evenly(3, 10) == [0, 1, 2]
    assert space_evenly(100, 4) == [0, 25, 50, 75]


def test_images_larger_than_memory_are_refused_with_both_sizes() -> None:
    message = (
        r"image_folder: 1,000,000 images of 224x224 take 140 GiB of memory, 16 GiB are free\. "
        r"Set a smaller dataset\.size, or dataset\.max_train\."
    )
    refuse_too_large(1_000, 3, 224, free=16 * 2**30)

    with pytest.raises(BadData, match=message):
        refuse_too_large(1_000_000, 3, 224, free=16 * 2**30)
    assert 2**20 < available_memory() < 2**50
