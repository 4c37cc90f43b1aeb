"""The picture of what a method sees, for those who observe a training."""

from __future__ import annotations

import io

import torch

from bench.augmentation.contact_sheet import draw_sheet, list_names, make_blocks
from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.planning.cells import Cell
from bench.splits.stratified import pick_examples

COUNT, DRAWS = 8, 2  # images, and draws of each view of each


def draw_training_views(cell: Cell, images: Images, info: DatasetInfo) -> bytes:
    """Return a PNG of training images, of as many classes as possible, and of draws of their views.

    Args:
        cell: with the views.
        images: that are trained on.
        info: of the data.
    """
    labels = images.labels.cpu().numpy()
    rows = pick_examples(labels, COUNT, cell.seed, "views")
    pixels = images.pixels[torch.as_tensor(rows)].cpu()
    names = list_names(labels[rows].tolist(), info.classes)
    blocks = make_blocks(pixels, cell.views, cell.image_size, DRAWS, cell.seed)
    buffer = io.BytesIO()
    draw_sheet(cell.training_title, list(blocks), names).save(buffer, "PNG")
    return buffer.getvalue()
