"""Resample a batch of images, each with weights of its own: first the rows, then the columns.

A row of the result is a weighted sum of a few rows of the image, its taps. Columns are the rows of the
transposed image. A CPU reads only the taps: at 224 pixels that is ten times faster than a product with a
matrix that is nearly all zeros. Accelerators are made for such products, and compute them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows that are a multiple of CONFLICT values long share a few sets of a processor's cache, which triples the
# time of transposing an image: they are made longer by PADDING.
CONFLICT, PADDING = 128, 16


@dataclass(frozen=True)
class Taps:
    """Which rows of an image each row of the result is a sum of, and their weights.

    Args:
        index: (n or 1, rows of the result, taps), int32, rows of the image; one may come twice.
        weight: (n, rows of the result or 1, taps), float32. A 1 stands for all.
    """

    index: Tensor
    weight: Tensor

    def __getitem__(self, images: slice | Tensor) -> Taps:
        """Return the taps of some of the images."""
        parts = (part if len(part) == 1 else part[images] for part in (self.index, self.weight))
        return Taps(*parts)


Kind = TypeVar("Kind", Taps, Tensor)
Weights = Taps | Tensor  # taps on a CPU, else a matrix an image: (n, rows of the result, rows of the image)


def triangle(start: Tensor, length: Tensor, source: int, size: int, mirrored: Tensor | None = None) -> Taps:
    """Return the taps that resize the rows [start, start + length) to `size` rows, bilinearly.

    Where that shrinks them, the filter is as wide as a row of the result, as with Pillow and torchvision's
    antialias=True. Weights outside of the crop are dropped and the rest normalised.

    Args:
        start: (n,), in rows of the image.
        length: (n,), in rows of the image.
        source: rows of the image.
        size: rows of the result.
        mirrored: (n,), 1 or True where the result starts with its last row, else 0.
    """
    taps = min(source, math.ceil(2 * max(1.0, source / size)))  # as many as a crop of the whole side needs
    centre, reach, start, end = _filters(start, length, size, mirrored)
    first = (centre - reach - 0.5).ceil_().clamp_(0, source - taps)
    index = first + torch.arange(taps, device=start.device)
    return Taps(index.int(), _triangle_weights(index + 0.5, centre, reach, start, end))


def triangle_matrix(
    start: Tensor, length: Tensor, source: int, size: int, mirrored: Tensor | None = None
) -> Tensor:
    """Return the taps of `triangle` as matrices, (n, size, source)."""
    rows = torch.arange(0.5, source, device=start.device)
    return _triangle_weights(rows, *_filters(start, length, size, mirrored))


def _filters(
    start: Tensor, length: Tensor, size: int, mirrored: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the centre and the reach of each row's filter, and where the crops start and end: (n, …, 1)."""
    start, length = start.view(-1, 1, 1), length.view(-1, 1, 1)
    scale = length / size
    out = torch.arange(0.5, size, device=start.device).view(1, -1, 1)
    if mirrored is not None:
        out = (out - mirrored.view(-1, 1, 1) * size).abs_()
    return start + out * scale, scale.clamp(min=1), start, start + length


def _triangle_weights(at: Tensor, centre: Tensor, reach: Tensor, start: Tensor, end: Tensor) -> Tensor:
    weight = (at - centre).abs_().div_(reach)
    weight = (1 - weight).clamp_(min=0)
    weight *= (at > start) & (at < end)
    return weight.div_(weight.sum(dim=2, keepdim=True))


def gaussian(sigma: Tensor, side: int, radius: int) -> Taps:
    """Return the taps of a Gaussian blur with reflected borders.

    Args:
        sigma: (n,), in rows; 0 leaves an image as it is.
        side: rows of the images.
        radius: of the kernel, in rows.
    """
    offsets = torch.arange(-radius, radius + 1, device=sigma.device)
    blurred = sigma.unsqueeze(1) > 0
    kernel = torch.exp(-0.5 * (offsets / torch.where(blurred, sigma.unsqueeze(1), 1.0)) ** 2)
    kernel = torch.where(blurred, kernel, (offsets == 0).float())
    at = (torch.arange(side, device=sigma.device).unsqueeze(1) + offsets).abs()
    at = torch.where(at >= side, 2 * (side - 1) - at, at)
    return Taps(at.int().unsqueeze(0), (kernel / kernel.sum(dim=1, keepdim=True)).unsqueeze(1))


def crop_weights(
    start: Tensor, length: Tensor, mirrored: Tensor, height: int, width: int, size: int
) -> tuple[Weights, Weights]:
    """Return the weights that crop a box from each image, resize it with `triangle` and mirror it.

    Args:
        start: (2, n), down and across, in pixels.
        length: (2, n), likewise.
        mirrored: (2, n), 1 where it is mirrored.
        height: of the images, in pixels.
        width: of the images, in pixels.
        size: side of the result, in pixels.

    Returns:
        The weights of the rows, and those of the columns.
    """
    if start.device.type == "cpu":
        return crop_taps(start, length, mirrored, height, width, size)
    return _of_both_sides(triangle_matrix, start, length, mirrored, height, width, size)


def crop_taps(
    start: Tensor, length: Tensor, mirrored: Tensor, height: int, width: int, size: int
) -> tuple[Taps, Taps]:
    """Return what `crop_weights` does on a CPU."""
    return _of_both_sides(triangle, start, length, mirrored, height, width, size)


def _of_both_sides(
    weights: Callable[..., Kind],
    start: Tensor,
    length: Tensor,
    mirrored: Tensor,
    height: int,
    width: int,
    size: int,
) -> tuple[Kind, Kind]:
    if height != width:
        rows, columns = zip(start, length, (height, width), (size, size), mirrored, strict=True)
        return weights(*rows), weights(*columns)
    both = weights(start.flatten(), length.flatten(), height, size, mirrored.flatten())
    n = start.shape[1]
    return both[:n], both[n:]


def resample(x: Tensor, rows: Weights, columns: Weights) -> Tensor:
    """Return images (n, c, h, w) resampled by the weights of their rows and of their columns."""
    if x.device.type != "cpu" or isinstance(rows, Tensor) or isinstance(columns, Tensor):
        return resample_by_matrices(x, rows, columns)
    if x.shape[3] % CONFLICT == 0:
        x = F.pad(x, (0, PADDING))  # columns that no tap reads
    transposed = mix_rows(x, rows).transpose(2, 3).contiguous()
    return mix_rows(transposed, columns).transpose(2, 3).contiguous()


def mix_rows(x: Tensor, taps: Taps) -> Tensor:
    """Return (n, c, rows, w), each row a weighted sum of the rows of its own plane.

    That is what an embedding bag computes: from a table of rows, sums given by indices and weights.

    Args:
        x: (n, c, h, w).
        taps: of the rows.
    """
    n, c, h, w = x.shape
    plane = torch.arange(0, n * c * h, h, device=x.device, dtype=torch.int32).view(n, c, 1, 1)
    index = plane + taps.index.unsqueeze(1)  # (n, c, rows, taps)
    weight = taps.weight.unsqueeze(1).expand(index.shape).flatten(0, 2)
    mixed = F.embedding_bag(
        index.flatten(0, 2), x.reshape(n * c * h, w), mode="sum", per_sample_weights=weight
    )
    return mixed.view(n, c, index.shape[2], w)


def resample_by_matrices(x: Tensor, rows: Weights, columns: Weights) -> Tensor:
    """Return what `resample` returns, computed as a product with two matrices an image."""
    n, c, h, w = x.shape
    down, across = as_matrices(rows, n, h), as_matrices(columns, n, w)
    narrow = torch.bmm(x.reshape(n, c * h, w), across.transpose(1, 2))
    return down.unsqueeze(1) @ narrow.view(n, c, h, -1)


def as_matrices(taps: Weights, n: int, source: int) -> Tensor:
    """Return the weights as (n, rows of the result, source)."""
    if isinstance(taps, Tensor):
        return taps
    shape = (n, taps.index.shape[1])
    index, weight = (part.expand(*shape, -1) for part in (taps.index.long(), taps.weight))
    return torch.zeros(*shape, source, device=weight.device).scatter_add_(2, index, weight)
