"""What training on images by steps takes: the order of the rows, their views, and the learning rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.api import Network, View, seed_of, to_device


def crop_and_flip(crop_min: float) -> View:
    """Return the views that classifiers are trained on: a random crop, mirrored or not.

    Args:
        crop_min: smallest share of the area that a crop keeps.
    """
    return View(crop_min=crop_min, jitter=0.0, grey=0.0)


def cosine(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: from 1 to 0 along half a cosine.

    Args:
        step: counted from 0.
        steps: of the whole training.
    """
    return (1 + math.cos(math.pi * step / steps)) / 2


def shuffle_rows(rows: Tensor, *names: int | str) -> Tensor:
    """Return `rows`, (n,), in an order that `names` seed."""
    generator = torch.Generator().manual_seed(seed_of(*names))
    return rows[torch.randperm(len(rows), generator=generator)]


def draw_views(network: Network, rows: Tensor, view: View, *names: int | str) -> Tensor:
    """Return a view of each of the labelled images at `rows`, as `names` seed it.

    Args:
        network: has the images.
        rows: (n,), int64, on the CPU.
        view: the recipe.
        names: the seed, and what the draw is for.

    Returns:
        (n, channels, h, w), what the backbone takes.
    """
    generator = torch.Generator().manual_seed(seed_of(*names))
    pixels = network.train.pixels
    return network.augment(pixels[to_device(rows, pixels.device)], view, generator)
