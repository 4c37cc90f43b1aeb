"""Draw images and views of them side by side, each image a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bench.augmentation.clean import resize
from bench.augmentation.sample_views import draw_views, to_colour
from bench.augmentation.view import View

READABLE_SIDE = 96  # that an image is enlarged to, about; in pixels, as are the next five
GAP, BETWEEN_VIEWS, MARGIN = 3, 18, 16
TEXT, TITLE = 14, 17  # heights of type
WHITE, BLACK, GREY = (255, 255, 255), (20, 20, 20), (110, 110, 110)
LONGEST_NAME = 24  # of a class, in letters

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Block:
    """Columns of pictures under one heading.

    Args:
        heading: of all columns.
        columns: (columns, rows, 3, side, side), float in [0, 1].
    """

    heading: str
    columns: Tensor

    @property
    def side(self) -> int:
        """The side of its pictures, in pixels of theirs."""
        return int(self.columns.shape[-1])


def make_blocks(
    pixels: Tensor, views: Sequence[View], image_size: int, draws: int, seed: int
) -> Iterator[Block]:
    """Yield the images as they are, and the draws of each view at its own size.

    Args:
        pixels: (n, channels, h, w), uint8, on the CPU.
        views: of the method.
        image_size: side of a view that has no size of its own, in pixels.
        draws: of each view.
        seed: of the draws.
    """
    yield Block("image", to_colour(resize(pixels, image_size))[None])
    numbered = list(enumerate(views, 1))
    for (number, view), columns in zip(
        numbered, draw_views(pixels, numbered, image_size, draws, seed), strict=True
    ):
        side = view.side(image_size)
        size = "" if side == image_size else f", {side}x{side}"
        yield Block(f"view {number}{size}", columns)


def list_names(labels: Iterable[int], classes: Sequence[str]) -> list[str]:
    """Return what stands before each image: the name of its class, nothing where it has no label."""
    return [classes[label] if label >= 0 else "" for label in labels]


def draw_sheet(title: str, blocks: Sequence[Block], names: Sequence[str]) -> Image.Image:
    """Return the picture: a title, headings, and for each image a row with its class before it.

    All images are enlarged alike: a view of half the side is drawn half as large.

    Args:
        title: of the picture.
        blocks: of columns, the images as they are first.
        names: of the class of each image; a long one is cut.
    """
    names = [_shorten(name) for name in names]
    factor = max(1, round(READABLE_SIDE / blocks[0].side))
    row_height = max(block.side for block in blocks) * factor + GAP
    text, large = ImageFont.load_default(TEXT), ImageFont.load_default(TITLE)
    left = MARGIN + max(round(text.getlength(name)) for name in names) + 10
    top = MARGIN + TITLE + 14 + TEXT + 8
    widths = [_measure_width(block, factor, text) for block in blocks]
    width = left + sum(widths) + BETWEEN_VIEWS * (len(blocks) - 1)
    width = max(width, MARGIN + round(large.getlength(title))) + MARGIN
    picture = Image.new("RGB", (width, top + len(names) * row_height + MARGIN), WHITE)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN), title, BLACK, large)
    for row, name in enumerate(names):
        middle = top + row * row_height + (row_height - GAP) // 2
        pen.text((left - 10, middle), name, BLACK, text, anchor="rm")
    for block, block_width in zip(blocks, widths, strict=True):
        pen.text((left + (block_width - GAP) // 2, top - 8), block.heading, GREY, text, anchor="ms")
        _paste(block, picture, (left, top), row_height, factor)
        left += block_width + BETWEEN_VIEWS
    return picture


def _measure_width(block: Block, factor: int, text: Font) -> int:
    """Return how wide the columns of a block are, or its heading if that is wider."""
    columns = len(block.columns) * (block.side * factor + GAP)
    return max(columns, math.ceil(text.getlength(block.heading)) + GAP)


def _paste(block: Block, picture: Image.Image, corner: tuple[int, int], row_height: int, factor: int) -> None:
    """Paste the images of a block into the picture, each in the middle of its row.

    Args:
        block: its images.
        picture: changed in place.
        corner: left and top of the block, in pixels.
        row_height: with the gap below a row, in pixels.
        factor: by which images are enlarged.
    """
    left, top = corner
    side = block.side * factor
    above = (row_height - GAP - side) // 2
    for number, column in enumerate(block.columns):
        for row, image in enumerate(column):
            position = (left + number * (side + GAP), top + row * row_height + above)
            picture.paste(_enlarge(image, factor), position)


def _enlarge(image: Tensor, factor: int) -> Image.Image:
    """Return an image (3, side, side) in [0, 1], each pixel a square of `factor` pixels."""
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0)
    pixels = pixels.repeat_interleave(factor, dim=0).repeat_interleave(factor, dim=1)
    return Image.fromarray(pixels.numpy())


def _shorten(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1].rstrip()}…"
