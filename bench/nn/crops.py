"""Views of several sizes through one network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def each_size(network: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> list[Tensor]:
    """Return what the network makes of each view, having run it once for each size of image.

    Views of a size go through together, sizes in the order in which they are first met: so batch norm's
    statistics are of all views of a size.

    Args:
        network: maps (m, c, h, w) to (m, ...), a row an image.
        views: each (n, c, h, w); h and w may differ between them, and n may.

    Returns:
        An output (n, ...) a view, in the order of the views.

    Source: the multi-crop wrapper of facebookresearch/dino utils.py, where only views that follow each
    other go through together; Caron 2020 (SwAV), arXiv:2006.09882, 3.2.
    """
    sizes = [tuple(view.shape[2:]) for view in views]
    outputs: dict[int, Tensor] = {}
    for size in dict.fromkeys(sizes):
        numbers = [number for number, other in enumerate(sizes) if other == size]
        rows = network(torch.cat([views[number] for number in numbers]))
        outputs.update(zip(numbers, rows.split([len(views[number]) for number in numbers]), strict=True))
    return [outputs[number] for number in range(len(views))]
