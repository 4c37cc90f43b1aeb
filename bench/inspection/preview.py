"""Draw training images and the views that a method sees of them: the picture of `bench preview`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from bench.augmentation.contact_sheet import draw_sheet, list_names, make_blocks
from bench.contracts.dataset import Images
from bench.errors import BadValue, UsageError, refuse_unreadable
from bench.planning.cells import PluginChoice
from bench.planning.open_datasets import Datasets
from bench.planning.options import Runtime, merge_options
from bench.planning.views import ChosenViews, choose_views
from bench.registry.registry import Registry
from bench.splits.selection import Selection
from bench.splits.stratified import pick_examples


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What is drawn: `count` images, and `draws` draws of each view of each of them."""

    count: int
    draws: int
    seed: int


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
    names = list_names(images.labels.tolist(), chosen.info.classes)
    size = chosen.views.image_size
    title = f"{chosen.method} on {chosen.dataset.name}, {size}x{size} pixels"
    blocks = make_blocks(images.pixels, chosen.views.applied, size, sheet.draws, sheet.seed)
    picture = draw_sheet(title, list(blocks), names)
    _save(picture, output, file_format)


# ---- the images


def _choose_images(chosen: ChosenViews, datasets: Datasets, sheet: Sheet) -> Images:
    """Return training images of as many classes as possible; where none has a label, any of them."""
    dataset = datasets.open(select_few(chosen.dataset, len(chosen.info.classes), sheet.count))
    has_labels = any(label >= 0 for label in dataset.labels("train"))
    images: Images = dataset.load("train" if has_labels else dataset.pretrain)
    index = torch.as_tensor(pick_examples(images.labels.numpy(), sheet.count, sheet.seed, "preview"))
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
