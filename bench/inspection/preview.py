"""Draw training images and the views that a method sees of them: the picture of `bench preview`."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bench.augmentation.clean import resize
from bench.augmentation.sample_views import draw_views, to_colour
from bench.contracts.dataset import Images
from bench.errors import BadData, BadValue, UsageError, refuse_unreadable
from bench.keys import seed_of
from bench.planning.cells import PluginChoice
from bench.planning.open_datasets import Datasets
from bench.planning.options import Runtime, merge_options
from bench.planning.views import ChosenViews, ResolvedViews, choose_views
from bench.registry.registry import Registry
from bench.splits.selection import Selection
from bench.splits.stratified import stratified_order

READABLE_SIDE = 96  # that an image is enlarged to, about; in pixels, as are the next five
GAP, BETWEEN_VIEWS, MARGIN = 3, 18, 16
TEXT, TITLE = 14, 17  # heights of type
WHITE, BLACK, GREY = (255, 255, 255), (20, 20, 20), (110, 110, 110)
LONGEST_NAME = 24  # of a class, in letters

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What is drawn: `count` images, and `draws` draws of each view of each of them."""

    count: int
    draws: int
    seed: int


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


def write(registry: Registry, options: Mapping[str, Any], sheet: Sheet, output: Path) -> None:
    """Write the picture into a file.

    Args:
        registry: of plugins.
        options: of `bench run`, by name; those that were left out are none or an empty tuple.
        sheet: what is drawn.
        output: the file; its suffix is the format.

    Raises:
        UsageError: something is not there, cannot be used or written.
    """
    file_format = _choose_format(output)
    merged = merge_options(None, options)
    runtime = Runtime(**merged.runtime)
    datasets = Datasets(registry, runtime.data_dir, download=runtime.download)
    chosen = choose_views(merged, registry, datasets, open_data=True)
    if not chosen.views.applied:
        raise BadValue(f"preview: {chosen.method} trains nothing, so it has no views. Name another --method.")
    with refuse_unreadable():
        images = _choose_images(chosen, datasets, sheet)
    names = [_shorten(chosen.info.classes[label]) for label in images.labels.tolist()]
    size = chosen.views.image_size
    title = f"{chosen.method} on {chosen.dataset.name}, {size}x{size} pixels"
    picture = _draw(title, list(_make_blocks(images.pixels, chosen.views, sheet)), names)
    _save(picture, output, file_format)


# ---- the images


def _choose_images(chosen: ChosenViews, datasets: Datasets, sheet: Sheet) -> Images:
    """Return labelled training images of as many classes as possible, in the order of their labels."""
    dataset = datasets.open(select_few(chosen.dataset, len(chosen.info.classes), sheet.count))
    images: Images = dataset.load("train")
    orders = stratified_order(images.labels.numpy(), sheet.seed, "preview")
    if not orders:
        raise BadData(
            f"{chosen.dataset.name}: there is no labelled training image. Choose another --dataset."
        )
    counts = [len(order) for order in orders.values()]
    turns = np.concatenate([np.arange(count) for count in counts])  # a class's first image, its second, ...
    generator = torch.Generator().manual_seed(seed_of(sheet.seed, "preview", "classes"))
    classes = np.repeat(torch.randperm(len(orders), generator=generator).numpy(), counts)
    index = np.concatenate(list(orders.values()))[np.lexsort((classes, turns))][: sheet.count]
    index = index[np.argsort(images.labels.numpy()[index], kind="stable")]
    return Images(images.pixels[index], images.labels[index])


def select_few(data: PluginChoice, classes: int, count: int) -> PluginChoice:
    """Return the dataset with few images, where it can select some, so that not all have to be decoded.

    Args:
        data: the dataset; one whose number of images is set stays as it is.
        classes: of the dataset.
        count: images that are drawn.
    """
    if not isinstance(data.config, Selection) or data.config.max_train is not None:
        return data
    return replace(data, config=replace(data.config, max_train=max(classes, 4 * count)))


def _make_blocks(pixels: Tensor, views: ResolvedViews, sheet: Sheet) -> Iterator[Block]:
    """Yield the images as they are, and the draws of each view at its own size."""
    yield Block("image", to_colour(resize(pixels, views.image_size))[None])
    numbered = list(enumerate(views.applied, 1))
    for (number, view), columns in zip(
        numbered, draw_views(pixels, numbered, views.image_size, sheet.draws, sheet.seed), strict=True
    ):
        side = view.side(views.image_size)
        size = "" if side == views.image_size else f", {side}x{side}"
        yield Block(f"view {number}{size}", columns)


# ---- the picture


def _draw(title: str, blocks: Sequence[Block], names: Sequence[str]) -> Image.Image:
    """Return the picture: a title, headings, and for each image a row with its class before it.

    All images are enlarged alike: a view of half the side is drawn half as large.
    """
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


# ---- the file


def _choose_format(output: Path) -> str:
    """Return the name that Pillow has for the format of a file.

    Raises:
        UsageError: Pillow cannot write it.
    """
    file_format = Image.registered_extensions().get(output.suffix.lower(), "")
    if file_format not in Image.SAVE:
        problem = f"no picture can be written as {output.suffix!r}" if output.suffix else "it has no suffix"
        raise UsageError(f"--output {output}: {problem}. Use .png.")
    return file_format


def _save(picture: Image.Image, output: Path, file_format: str) -> None:
    """Write the picture: first into memory, so that a format that cannot hold it leaves no file."""
    buffer = io.BytesIO()
    try:
        picture.save(buffer, file_format)
    except (OSError, ValueError, KeyError) as error:  # e.g. of GIF's and JPEG's limits
        raise UsageError(f"--output {output}: {file_format} cannot hold it ({error}). Use .png.") from None
    try:
        output.write_bytes(buffer.getvalue())
    except OSError as error:
        raise UsageError(f"--output: {output} cannot be written ({error.strerror}).") from None
