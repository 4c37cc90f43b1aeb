"""Tell what an image file is by its first bytes, whatever it is called, and what decodes it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
from pathlib import Path

from PIL import Image

HEAD = 132  # bytes that tell; those of DICOM end there
PNM = re.compile(rb"P[1-6](\s|#.*\n)+\d+\s+\d+\s")
STARTS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xffO\xffQ", "JPEG 2000"),
    (b"\xff\n", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"qoif", "QOI"),
    (b"v/1\x01", "OpenEXR"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"IIRO", "camera raw"),
    (b"IIU\0", "camera raw"),
)
BRANDS = {  # of the box `ftyp`; other brands are films
    b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"heim": "HEIC", b"heis": "HEIC",
    b"hevc": "HEIC", b"hevx": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"crx ": "camera raw",
}  # fmt: skip
BITMAP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # sizes in bytes
RAW_ENDINGS = (".3fr", ".arw", ".cr2", ".dng", ".erf", ".nef", ".nrw", ".pef", ".sr2", ".srw")  # TIFFs inside

PILLOW_NAMES = {"JPEG 2000": "JPEG2000", "HEIC": "HEIF", "JPEG XL": "JXL", "PNM": "PPM", "OpenEXR": "EXR"}
PLUGINS = {"pillow_heif": "register_heif_opener", "pillow_jxl": ""}  # modules, and what registers them
PACKAGES = {"HEIC": "pillow-heif", "AVIF": "pillow-heif", "JPEG XL": "pillow-jxl-plugin"}


def name_format(head: bytes, name: str = "") -> str:
    """Return what a file is whose first 132 bytes these are; empty if it is no image that is known.

    Args:
        head: the bytes, fewer of a short file.
        name: of the file; what cameras call raw looks like a TIFF.
    """
    found = next((kind for start, kind in STARTS if head.startswith(start)), "")
    if head[4:8] == b"ftyp":
        found = _name_box(head)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        found = "WEBP"
    elif head[128:132] == b"DICM":
        found = "DICOM"
    elif head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BITMAP_HEADERS:
        found = "BMP"
    elif PNM.match(head):
        found = "PNM"
    if found == "TIFF" and (head[8:10] == b"CR" or name.lower().endswith(RAW_ENDINGS)):
        return "camera raw"
    return found


def _name_box(head: bytes) -> str:
    """Return what a file is that begins with the box `ftyp`: its main brand, or any of the others."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length, 4))]
    return next((BRANDS[brand] for brand in brands if brand in BRANDS), "")


def read_format(path: str | Path) -> str:
    """Return what a file is by its content; empty if it is no image that is known, or cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path for every file takes longer
            return name_format(file.read(HEAD), str(path))
    except OSError:
        return ""


@functools.cache
def is_decodable(kind: str) -> bool:
    """Tell whether Pillow, with the plugins that are installed here, decodes a format."""
    open_plugins()
    return PILLOW_NAMES.get(kind, kind) in Image.OPEN


@functools.cache
def open_plugins() -> None:
    """Have Pillow know what it can open, by the packages that are installed as well."""
    Image.init()
    for module, register in PLUGINS.items():
        with contextlib.suppress(ImportError):
            plugin = importlib.import_module(module)
            if register:
                getattr(plugin, register)()


def advise(kind: str) -> str:
    """Return what helps where a format cannot be decoded."""
    package = PACKAGES.get(kind)
    return f"pip install {package}" if package else "save them as PNG or JPEG"
