"""Small pictures inside a figure or a page: data URIs, and one sheet that many figures share."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.report.drawing import escape

Pixels = NDArray[np.uint8]
BLUE = (0, 114, 178)  # of a heat map; what is not shaded is transparent, so that a page may be dark
SHEET_COLUMNS = 40
SHEET_QUALITY, PICTURE_QUALITY = 55, 80  # of WebP and of JPEG: what a map shows is looked at for a second


@dataclass(frozen=True)
class Sheet:
    """Thumbnails in one picture, which the maps of a page show parts of.

    Args:
        name: that the figures know it by.
        uri: of the picture.
        count: how many there are, in rows of `SHEET_COLUMNS`.
        side: of each, in pixels.
    """

    name: str
    uri: str
    count: int
    side: int

    def to_html(self) -> str:
        """Return the hidden `<img>` that the script of the maps looks for."""
        return (
            f'<img id="sheet-{escape(self.name)}" src="{self.uri}" data-side="{self.side}" '
            f'data-columns="{SHEET_COLUMNS}" alt="" hidden>'
        )


def make_thumbnail(pixels: Pixels, side: int) -> Image.Image:
    """Return an image in a square of `side` pixels: made smaller to fit, or larger by a whole factor.

    Args:
        pixels: (channels, h, w), uint8, of any size and shape.
        side: of the square, in pixels.
    """
    colours = pixels if len(pixels) == 3 else np.repeat(pixels[:1], 3, axis=0)
    image = Image.fromarray(np.ascontiguousarray(colours.transpose(1, 2, 0)))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    factor = side // max(image.size)
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    square = Image.new("RGB", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


class Collage:
    """Pictures here and there on a figure, in one JPEG that is clipped to them.

    An element a picture would take several times as much. In the figure's units lengths are multiples of 5.

    Args:
        name: of the figure.
        native: the side of the images, in pixels: small ones are kept as they are.
    """

    SIDE = 40  # of a picture, in the figure's units
    SMALL, LARGE = 32, 48  # the pixels of a side: as CIFAR's, or of a photo that is made smaller

    def __init__(self, name: str, native: int) -> None:
        self.name, self.pixels = name, self.SMALL if native <= self.SMALL else self.LARGE
        self._pictures: list[tuple[int, int, Image.Image]] = []

    def add(self, x: int, y: int, pixels: Pixels) -> None:
        """Add the picture of an image (channels, h, w) with its left upper corner at (x, y)."""
        self._pictures.append((x, y, make_thumbnail(pixels, self.pixels)))

    def draw(self, width: int, height: int) -> str:
        """Return the elements: a clip, and the picture that it clips."""
        in_pixels = self.pixels / self.SIDE
        sheet = Image.new("RGB", (round(width * in_pixels), round(height * in_pixels)), "grey")
        for x, y, picture in self._pictures:
            sheet.paste(picture, (round(x * in_pixels), round(y * in_pixels)))
        squares = "".join(f"M{x} {y}h{self.SIDE}v{self.SIDE}h-{self.SIDE}z" for x, y, _ in self._pictures)
        return (
            f'<clipPath id="{self.name}-pictures"><path d="{squares}"/></clipPath><image width="{width}" '
            f'height="{height}" clip-path="url(#{self.name}-pictures)" preserveAspectRatio="none" '
            f'href="{photo_uri(sheet)}"/>'
        )


def make_sheet(name: str, pixels: Pixels, side: int) -> Sheet:
    """Return a sheet of images.

    Args:
        name: of the sheet.
        pixels: (n, channels, h, w), uint8.
        side: of a thumbnail, in pixels.
    """
    rows = -(-len(pixels) // SHEET_COLUMNS)
    picture = Image.new("RGB", (SHEET_COLUMNS * side, max(1, rows) * side))
    for number in range(len(pixels)):
        place = (number % SHEET_COLUMNS * side, number // SHEET_COLUMNS * side)
        picture.paste(make_thumbnail(pixels[number], side), place)
    return Sheet(name, to_uri(picture, "WEBP", quality=SHEET_QUALITY, method=6), len(pixels), side)


def to_uri(picture: Image.Image, kind: str, **options: Any) -> str:
    """Return a picture as a data URI; `kind` is Pillow's name of its format."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def photo_uri(picture: Image.Image) -> str:
    """Return a picture as a JPEG, which every program that reads SVG knows."""
    return to_uri(picture, "JPEG", quality=PICTURE_QUALITY, subsampling=0, optimize=True)


def heat_map_uri(shares: NDArray[np.float64]) -> str:
    """Return a matrix of shares in [0, 1] as a picture, a pixel each, the larger the less transparent."""
    pixels = np.empty((*shares.shape, 4), dtype=np.uint8)
    pixels[..., :3] = BLUE
    # small confusions of a hundred classes are all that there is to see: the root makes them visible
    pixels[..., 3] = np.round(255 * np.sqrt(shares))
    return to_uri(Image.fromarray(pixels), "PNG", optimize=True)
