"""Files as cameras, browsers and editors write them: found by their content, decoded right, or said."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archives import fill
from bench_plugins.datasets.image_files import decoding
from bench_plugins.datasets.image_files.formats import is_decodable, name_format, read_format
from bench_plugins.datasets.image_folder import Config, ImageFolder
from PIL import Image, PngImagePlugin

from bench.api import BadData, DataLocation

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def opened(root: Path, **settings: Any) -> ImageFolder:
    return ImageFolder("image_folder", Config(**settings), DataLocation(root=root))


def written(mode: str = "RGB", form: str = "PNG", shade: Any = 90, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.new(mode, (8, 8), shade).save(content, form, **options)
    return content.getvalue()


def large_png(width: int, height: int) -> bytes:
    """Return a grey image of that many pixels without an image in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("PNG", "PNG"), ("JPEG", "JPEG"), ("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF"), ("WEBP", "WEBP"),
        ("PPM", "PNM"), ("JPEG2000", "JPEG 2000"), ("AVIF", "AVIF"), ("QOI", "QOI"),
    ],
)  # fmt: skip
def test_a_format_is_known_by_its_content(form: str, kind: str) -> None:
    if form not in Image.SAVE and form != "AVIF":
        Image.init()

    assert name_format(written(form=form)) == kind
    assert is_decodable(kind)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (HEIC, "HEIC"), (b"\0\0\0\x18ftypcrx \0\0\0\1crx ", "camera raw"), (b"\xff\n\0\0", "JPEG XL"),
        (bytes(128) + b"DICM", "DICOM"), (b"II*\0\x10\0\0\0CR\x02\0", "camera raw"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", ""), (b"BMW is a make of cars", ""), (b"P1 is a prize", ""),
        (b"filename,label\n", ""), (b"", ""),
    ],
)  # fmt: skip
def test_what_looks_like_an_image_and_is_none_is_told_apart(head: bytes, kind: str) -> None:
    assert name_format(head) == kind


def test_images_are_found_whatever_they_are_called(tmp_path: Path) -> None:
    fill(tmp_path)
    names = {
        "a.jfif": "JPEG",
        "b": "PNG",
        "c.avif": "AVIF",
        "d.jp2": "JPEG2000",
        "e.dat": "WEBP",
        "f.png": "JPEG",
    }
    for name, form in names.items():
        (tmp_path / "ant" / name).write_bytes(written(form=form))
    data = opened(tmp_path)

    assert len(data.labels("train")) + len(data.labels("test")) == 15 + len(names)
    assert len(data.load("train")) == len(data.labels("train"))


def test_what_cannot_be_decoded_here_is_counted_with_what_helps(tmp_path: Path) -> None:
    fill(tmp_path)
    plain = opened(tmp_path).fingerprint()
    for number in range(3):
        (tmp_path / "ant" / f"{number}.HEIC").write_bytes(HEIC)
    data = opened(tmp_path)

    assert "left out: 3 HEIC images, not decodable here (pip install pillow-heif)" in data.info.notes
    assert data.fingerprint() == plain


def test_a_folder_of_nothing_else_says_what_helps(tmp_path: Path) -> None:
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "1.HEIC").write_bytes(HEIC)

    with pytest.raises(BadData, match=r"found 1 HEIC image, not decodable here \(pip install pillow-heif\)"):
        opened(tmp_path / "phone")


def test_an_image_of_another_format_than_its_ending_says_which(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "ant" / "0.png").write_bytes(HEIC)

    with pytest.raises(
        BadData, match=r"ant/0\.png \(HEIC, which cannot be decoded here: pip install pillow-heif"
    ):
        opened(tmp_path)


def test_only_odd_endings_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    (tmp_path / "ant" / "odd").write_bytes(written())
    looked = []

    def watched(path: str) -> str:
        looked.append(Path(path).name)
        return read_format(path)

    monkeypatch.setattr("bench_plugins.datasets.image_files.tree.read_format", watched)
    opened(tmp_path)

    assert looked == ["odd"]


def decoded(tmp_path: Path, content: bytes, channels: int = 3) -> np.ndarray:
    (tmp_path / "image").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return decoding.decode(tmp_path / "image", channels, 8)


@pytest.mark.parametrize(
    ("mode", "shade", "expected"),
    [
        ("1", 1, (255, 255, 255)), ("L", 70, (70, 70, 70)), ("LA", (70, 0), (255, 255, 255)),
        ("LA", (70, 255), (70, 70, 70)), ("I;16", 70 * 257, (70, 70, 70)),
        ("RGBA", (9, 9, 9, 0), (255, 255, 255)),
    ],
)  # fmt: skip
def test_depth_and_transparency_are_decoded_right(
    tmp_path: Path, mode: str, shade: Any, expected: tuple[int, ...]
) -> None:
    assert tuple(decoded(tmp_path, written(mode, shade=shade))[:, 0, 0]) == expected


def test_a_palette_with_transparency_in_bytes_is_laid_over_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    content = io.BytesIO()
    image.save(content, "PNG", transparency=b"\xff\x00")

    assert tuple(decoded(tmp_path, content.getvalue())[:, 0, 0]) == (255, 255, 255)


def test_cmyk_becomes_the_colour_that_it_is(tmp_path: Path) -> None:
    red = decoded(tmp_path, written("CMYK", "JPEG", (0, 255, 255, 0), quality=100))[:, 4, 4]

    assert red[0] > 240
    assert max(red[1:]) < 15


@pytest.mark.parametrize("tag", range(1, 9))
def test_an_image_is_turned_upright_as_pillow_does(tmp_path: Path, tag: int) -> None:
    from PIL import ImageOps

    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = tag
    image.save(tmp_path / "turned.png", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "turned.png")))

    assert np.array_equal(decoding.decode(tmp_path / "turned.png", 1, 8)[0], expected)


def test_much_text_beside_an_image_is_no_hindrance(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("note", "x" * 3_000_000, zip=True)

    assert decoded(tmp_path, written(pnginfo=text)).shape == (3, 8, 8)


def test_a_very_large_image_is_said_with_the_setting_that_lifts_the_limit(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    fill(tmp_path)
    (tmp_path / "ant" / "0.png").write_bytes(large_png(20_000, 20_000))

    with pytest.raises(
        BadData,
        match=r"ant/0.png \(20000x20000 are 400 megapixels, more than dataset.max_megapixels, which is 179\)",
    ):
        opened(tmp_path)
    assert not recwarn.list


def test_the_limit_is_a_setting_and_a_jpeg_is_measured_when_it_was_made_smaller(tmp_path: Path) -> None:
    fill(tmp_path, mode="RGB")
    Image.new("RGB", (800, 800)).save(tmp_path / "ant" / "0.jpg")

    assert len(opened(tmp_path, size=16, max_megapixels=0.05).load("train")) == 13
    Image.new("RGB", (800, 800)).save(tmp_path / "ant" / "1.png")
    with pytest.raises(BadData, match=r"800x800 are 0\.64 megapixels"):
        opened(tmp_path, size=16, max_megapixels=0.05)
    assert len(opened(tmp_path, size=16, max_megapixels=1).load("train")) == 13


@pytest.mark.parametrize(("cut", "why"), [(60, "cut short"), (9, "PNG that is damaged, or of a rare kind")])
def test_a_damaged_image_is_said_in_our_words(tmp_path: Path, cut: int, why: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:cut])

    assert list(decoding.decode_each([tmp_path / "x.png"], 3, 8)) == [why]
