"""Which patches of an image are hidden: masks, their index, and images as rows of patches.

Everything is drawn on the CPU from the generator that is passed in: the number of patches that are left
sets shapes, and reading it from a device would wait for that. Send what comes out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.errors import BadValue

TRIES = 10  # at a block, of BEiT and iBOT
PLACES = 20  # tries at a context block, of I-JEPA, before it may overlap one more target


def random_mask(n: int, patches: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Return a mask for each image, of the same number of patches, every choice as likely.

    Args:
        n: images.
        patches: of an image.
        ratio: in [0, 1); int(patches * (1 - ratio)) patches are left, at least one.
        generator: of the CPU.

    Returns:
        (n, patches), bool, True where masked.

    Raises:
        BadValue: ratio leaves none, or is negative.

    Source: He 2022 (MAE), arXiv:2111.06377, section 3; facebookresearch/mae models_mae.py.
    """
    return keep_smallest(torch.rand(n, patches, generator=generator), ratio)


def keep_smallest(noise: Tensor, ratio: float) -> Tensor:
    """Return the mask (n, patches), bool, that leaves the int(patches (1 - ratio)) smallest of each row.

    Args:
        noise: (n, patches).
        ratio: in [0, 1).

    Raises:
        BadValue: ratio leaves none, or is negative.
    """
    patches = noise.shape[1]
    count = int(patches * (1 - ratio))
    if ratio < 0 or count < 1:
        raise BadValue(
            f"mask: a ratio of {ratio} leaves {count} of {patches} patches. "
            f"Set it in [0, {1 - 1 / patches:.4g}]."
        )
    mask = torch.ones_like(noise, dtype=torch.bool)
    return mask.scatter_(1, noise.argsort(dim=1)[:, :count], value=False)


def visible(mask: Tensor) -> Tensor:
    """Return the patches that are not masked, in ascending order.

    Args:
        mask: (n, patches), bool, True where masked, the same number in each row. On a device this waits.

    Returns:
        (n, k), int64.

    Raises:
        ValueError: rows differ in how many are masked.
    """
    left = mask.logical_not()
    counts = left.sum(dim=1).unique()
    if len(counts) > 1:
        raise ValueError(f"visible: images have {counts.tolist()} patches left. Mask as many of each image.")
    return left.nonzero()[:, 1].view(len(mask), -1)


def block_mask(
    n: int,
    rows: int,
    columns: int,
    ratio: float | Tensor,
    generator: torch.Generator,
    *,
    smallest: int | None = None,
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
) -> Tensor:
    """Return a mask for each image, of blocks that may overlap, in raster order.

    Blocks are added to an image until the share is reached, or ten in a row have failed: by not fitting,
    adding nothing, or adding more than is missing. So at most the share is masked, often a little less.
    The area of a block is uniform from `smallest` to what is missing, its aspect log-uniform.

    Args:
        n: images.
        rows: of an image's grid of patches.
        columns: of the grid.
        ratio: in [0, 1], of all images or (n,) of each; iBOT draws it: 0, or around 0.3.
        generator: of the CPU.
        smallest: patches of a block; left out, (min(rows, columns) // 3) ** 2 (iBOT); 16 in BEiT.
        aspect: least and greatest height over width.

    Returns:
        (n, rows * columns), bool, True where masked.

    Raises:
        BadValue: a ratio is not in [0, 1].

    Source: Bao 2022 (BEiT), arXiv:2106.08254, algorithm 1, whose published code demands as here that a
    block spans neither side; bytedance/ibot loader.py. Differs from the code: all images are drawn at
    once, and a draw that fails takes four numbers, too.
    """
    share = torch.as_tensor(ratio, dtype=torch.float64).expand(n)
    if n and not 0 <= float(share.min()) <= float(share.max()) <= 1:
        raise BadValue(f"block mask: ratio is {ratio}. Set a number in [0, 1].")
    least = float((min(rows, columns) // 3) ** 2 if smallest is None else smallest)
    low, high = math.log(aspect[0]), math.log(aspect[1])
    mask = torch.zeros(n, rows, columns, dtype=torch.bool)
    missing, failed = share * (rows * columns), torch.zeros(n, dtype=torch.int64)
    while (going := (missing > 0) & (failed < TRIES)).any():
        u = torch.rand(4, n, generator=generator, dtype=torch.float64)
        area, tall = least + u[0] * (missing - least), torch.exp(low + u[1] * (high - low))
        height, width = (area * tall).sqrt().round(), (area / tall).sqrt().round()
        top, left = (u[2] * (rows - height + 1)).floor(), (u[3] * (columns - width + 1)).floor()
        block = _blocks(rows, columns, top, left, height, width) & ~mask
        added = block.sum(dim=(1, 2))
        good = going & (height < rows) & (width < columns) & (added > 0) & (added <= missing)
        mask |= block & good[:, None, None]
        missing = missing - added * good
        failed = torch.where(good, 0, failed + 1)
    return mask.flatten(1)


def multi_block_masks(
    n: int,
    rows: int,
    columns: int,
    generator: torch.Generator,
    *,
    targets: int = 4,
    target_scale: tuple[float, float] = (0.15, 0.2),
    target_aspect: tuple[float, float] = (0.75, 1.5),
    context_scale: tuple[float, float] = (0.85, 1.0),
    min_keep: int = 10,
) -> tuple[Tensor, Tensor]:
    """Return the context and the targets of each image, as patches in raster order.

    One size of target and one of context is drawn for the batch, positions for each image. The context is
    a square block without the targets; the contexts of a batch are cut to the smallest, at their end.

    Args:
        n: images, at least 1.
        rows: of an image's grid of patches.
        columns: of the grid.
        generator: of the CPU.
        targets: blocks an image, at least 1.
        target_scale: least and greatest share of the patches in a target.
        target_aspect: least and greatest height over width of a target.
        context_scale: least and greatest share of the patches in the context's block.
        min_keep: a context has more patches than that. It is placed anew if not; after 20 places it may
            overlap the last target, after 20 more the last two, and so on. 4 for a grid of 8 by 8.

    Returns:
        context (n, k) and targets (n, targets, m), both int64, ascending.

    Raises:
        BadValue: even a context that overlaps all targets has not more than `min_keep`.

    Source: Assran 2023 (I-JEPA), arXiv:2301.08243, section 3 and appendix A; facebookresearch/ijepa
    src/masks/multiblock.py. Differs from the code: a scale and an aspect are two draws (one there, so that
    large targets are tall), and blocks reach the last row and column (never there).
    """
    u = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    scale, aspect = _between(target_scale, u[0]), _between(target_aspect, u[1])
    size = block_size(rows, columns, scale, aspect)
    context_size = block_size(rows, columns, _between(context_scale, u[2]), 1.0)
    if math.prod(context_size) <= min_keep:
        raise BadValue(
            f"I-JEPA masks: a context of {context_size} patches, of {rows} by {columns}, has not more than "
            f"min_keep (={min_keep}). Lower min_keep, or use smaller patches."
        )
    hidden = _place_blocks(n * targets, rows, columns, size, generator).view(n, targets, rows * columns)
    context, waiting, tries = torch.zeros(n, rows * columns, dtype=torch.bool), torch.arange(n), 0
    while len(waiting):
        avoided = hidden[waiting, : max(targets - tries // PLACES, 0)].any(dim=1)
        context[waiting] = (
            _place_blocks(len(waiting), rows, columns, context_size, generator).flatten(1) & ~avoided
        )
        waiting = waiting[context[waiting].sum(dim=1) <= min_keep]
        tries += 1
    fewest = int(context.sum(dim=1).min())
    order = context.logical_not().to(torch.int8).argsort(dim=1, stable=True)  # the context's come first
    return order[:, :fewest], hidden.nonzero()[:, 2].view(n, targets, math.prod(size))


def block_size(rows: int, columns: int, scale: float, aspect: float) -> tuple[int, int]:
    """Return height and width of a block, in patches, at most those of the grid and at least 1.

    Args:
        rows: of the grid.
        columns: of the grid.
        scale: share of the grid's patches; its number is cut to an integer first.
        aspect: height over width.

    Source: facebookresearch/ijepa src/masks/multiblock.py, where a block is a row and a column smaller
    than the grid at the most.
    """
    area = int(rows * columns * scale)
    height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return max(1, min(height, rows)), max(1, min(width, columns))


def patchify(images: Tensor, patch: int) -> Tensor:
    """Return images as rows of patches in raster order; in a patch row, column, then channel.

    Args:
        images: (n, c, h, w).
        patch: side of a patch, in pixels.

    Returns:
        (n, h * w / patch ** 2, patch * patch * c).

    Raises:
        ValueError: the sides are no multiples of `patch`.

    Source: facebookresearch/mae models_mae.py.
    """
    n, channels, height, width = images.shape
    if height % patch or width % patch:
        raise ValueError(
            f"patchify: images of {height} by {width} are not made of patches of {patch}. "
            "Use a divisor of both sides."
        )
    cut = images.reshape(n, channels, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch: int, rows: int, columns: int) -> Tensor:
    """Return the images (n, c, rows * patch, columns * patch) of which `patchify` makes the patches.

    Args:
        patches: (n, rows * columns, patch * patch * c).
        patch: side of a patch, in pixels.
        rows: of the grid of patches.
        columns: of the grid.
    """
    cut = patches.reshape(len(patches), rows, columns, patch, patch, -1)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, rows * patch, columns * patch)


def _between(ends: tuple[float, float], u: float) -> float:
    """Return the number at a share of the way between two."""
    return ends[0] + u * (ends[1] - ends[0])


def _place_blocks(
    n: int, rows: int, columns: int, size: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Return n blocks of a size, (n, rows, columns), bool, each anywhere on the grid."""
    height, width = size
    top = torch.randint(rows - height + 1, (n,), generator=generator)
    left = torch.randint(columns - width + 1, (n,), generator=generator)
    return _blocks(rows, columns, top, left, torch.tensor(height), torch.tensor(width))


def _blocks(rows: int, columns: int, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Return the blocks (n, rows, columns), bool, True inside, of corners (n,) and sizes (n,) or ()."""
    row, column = torch.arange(rows), torch.arange(columns)
    down = (row >= top[:, None]) & (row < (top + height)[:, None])
    across = (column >= left[:, None]) & (column < (left + width)[:, None])
    return down[:, :, None] & across[:, None, :]
