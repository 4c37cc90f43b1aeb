"""Draw training images and the views a method is given of them: the picture of `bench preview`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bench.augmentation.apply import augment
from bench.augmentation.clean import resize
from bench.augmentation.view import RGB
from bench.contracts.dataset import Images
from bench.errors import BadData, BadValue, UsageError, refuse_unreadable
from bench.keys import seed_of
from bench.planning.cells import PluginChoice
from bench.planning.open_datasets import Datasets
from bench.planning.options import Runtime, merge_options
from bench.planning.views import ChosenViews, choose_views
from bench.registry.registry import Registry
from bench.splits.selection import Selection
from bench.splits.stratified import stratified_order

READABLE = 96  # pixels that an image is enlarged to, about
GAP, BETWEEN_VIEWS, MARGIN = 3, 18, 16  # pixels
TEXT, TITLE = 14, 17  # sizes of type, in pixels
PAPER, INK, SOFT = (255, 255, 255), (20, 20, 20), (110, 110, 110)
LONGEST = 24  # letters of a class's name


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What is drawn: `count` images, each in `draws` draws of every view."""

    count: int
    draws: int
    seed: int


@dataclass(frozen=True)
class Block:
    """Columns under one heading: pictures (columns, rows, 3, side, side), float in [0, 1]."""

    heading: str
    columns: Tensor


def write(registry: Registry, options: Mapping[str, Any], sheet: Sheet, output: Path) -> None:
    """Write the picture.

    Args:
        registry: of plugins.
        options: as `bench run` has them; those that were left out are none or an empty tuple.
        sheet: what is drawn.
        output: its suffix says in which format.

    Raises:
        UsageError: something is not there, cannot be used or written.
    """
    style = _format(output)
    wanted = merge_options(None, options)
    runtime = Runtime(**wanted.runtime)
    datasets = Datasets(registry, runtime.data_dir, download=runtime.download)
    chosen = choose_views(wanted, registry, datasets, open_data=True)
    if not chosen.views.applied:
        raise BadValue(f"preview: {chosen.method} trains nothing, so it has no views. Name another --method.")
    with refuse_unreadable():
        images = _images(chosen, datasets, sheet)
    names = [_short(chosen.info.classes[label]) for label in images.labels.tolist()]
    picture = _draw(_title(chosen), list(_blocks(images.pixels, chosen, sheet)), names)
    _save(picture, output, style)


# ---- the images


def _images(chosen: ChosenViews, datasets: Datasets, sheet: Sheet) -> Images:
    """Return labelled training images of as many classes as possible, in the order of their labels."""
    dataset = datasets.open(with_few(chosen.dataset, len(chosen.info.classes), sheet.count))
    images: Images = dataset.load("train")
    orders = stratified_order(images.labels.numpy(), sheet.seed, "preview")
    if not orders:
        raise BadData(
            f"{chosen.dataset.name}: there is no labelled training image. Choose another --dataset."
        )
    turns = np.concatenate(
        [np.arange(len(order)) for order in orders.values()]
    )  # a class's first, second, ...
    generator = torch.Generator().manual_seed(seed_of(sheet.seed, "preview", "classes"))
    classes = np.repeat(
        torch.randperm(len(orders), generator=generator).numpy(), [*map(len, orders.values())]
    )
    index = np.concatenate(list(orders.values()))[np.lexsort((classes, turns))][: sheet.count]
    index = index[np.argsort(images.labels.numpy()[index], kind="stable")]
    return Images(images.pixels[index], images.labels[index])


def with_few(data: PluginChoice, classes: int, count: int) -> PluginChoice:
    """Return the dataset with few images, where it can select some: not all have to be decoded."""
    if not isinstance(data.config, Selection) or data.config.max_train is not None:
        return data
    return replace(data, config=replace(data.config, max_train=max(classes, 4 * count)))


def _blocks(pixels: Tensor, chosen: ChosenViews, sheet: Sheet) -> Iterator[Block]:
    """Yield the images as they are, and the draws of each view."""
    size = chosen.views.image_size
    yield Block("image", _colour(resize(pixels, size))[None])
    for number, view in enumerate(chosen.views.applied, 1):
        seeds = (seed_of(sheet.seed, "preview", number, turn) for turn in range(sheet.draws))
        draws = [augment(pixels, view, size, torch.Generator().manual_seed(seed)) for seed in seeds]
        yield Block(f"view {number}", _colour(torch.stack(draws)))


def _colour(x: Tensor) -> Tensor:
    """Return images (..., channels, side, side) with three channels."""
    return x.expand(*x.shape[:-3], RGB, *x.shape[-2:])


# ---- the picture


def _draw(title: str, blocks: Sequence[Block], names: Sequence[str]) -> Image.Image:
    """Return the picture: a title, headings, and a row an image with its class before it."""
    side = blocks[0].columns.shape[-1]
    factor = max(1, round(READABLE / side))
    step = side * factor + GAP
    type_, large = ImageFont.load_default(TEXT), ImageFont.load_default(TITLE)
    left = MARGIN + max(round(type_.getlength(name)) for name in names) + 10
    top = MARGIN + TITLE + 14 + TEXT + 8
    widths = [len(block.columns) * step + BETWEEN_VIEWS for block in blocks]
    width = max(left + sum(widths) - BETWEEN_VIEWS, MARGIN + round(large.getlength(title))) + MARGIN
    picture = Image.new("RGB", (width, top + len(names) * step + MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN), title, INK, large)
    for row, name in enumerate(names):
        pen.text((left - 10, top + row * step + (step - GAP) // 2), name, INK, type_, anchor="rm")
    for block, across in zip(blocks, widths, strict=True):
        middle = left + (across - BETWEEN_VIEWS - GAP) // 2
        pen.text((middle, top - 8), block.heading, SOFT, type_, anchor="ms")
        for place, column in enumerate(block.columns):
            for row, image in enumerate(column):
                picture.paste(_enlarge(image, factor), (left + place * step, top + row * step))
        left += across
    return picture


def _enlarge(image: Tensor, factor: int) -> Image.Image:
    """Return an image (3, side, side) in [0, 1], each pixel a square of `factor` pixels."""
    shown = (image * 255).round().to(torch.uint8).permute(1, 2, 0)
    shown = shown.repeat_interleave(factor, dim=0).repeat_interleave(factor, dim=1)
    return Image.fromarray(shown.numpy())


def _title(chosen: ChosenViews) -> str:
    size = chosen.views.image_size
    return f"{chosen.method} on {chosen.dataset.name}, {size}x{size} pixels"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1].rstrip()}…"


# ---- the file


def _format(output: Path) -> str:
    """Return the name Pillow has for the format of a file.

    Raises:
        UsageError: it can write no such format.
    """
    style = Image.registered_extensions().get(output.suffix.lower(), "")
    if style not in Image.SAVE:
        found = f"no picture can be written as {output.suffix!r}" if output.suffix else "it has no suffix"
        raise UsageError(f"--output {output}: {found}. Use .png.")
    return style


def _save(picture: Image.Image, output: Path, style: str) -> None:
    buffer = io.BytesIO()
    try:
        picture.save(buffer, style)
    except (OSError, ValueError, KeyError) as error:  # e.g. of GIF's and JPEG's limits
        raise UsageError(f"--output {output}: {style} cannot hold it ({error}). Use .png.") from None
    try:
        output.write_bytes(buffer.getvalue())
    except OSError as error:
        raise UsageError(f"--output: {output} cannot be written ({error.strerror}).") from None
