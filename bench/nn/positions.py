"""Where a patch is, as a vector that is not trained."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.errors import BadValue


def sincos_positions(
    rows: int, columns: int, dim: int, prefix: int = 0, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return a vector for each patch of a grid, in raster order.

    The first half of it tells the column, the second the row; each half is the sines, then the cosines,
    of the number times 10000^(-i / (dim / 4)), i from 0 to dim / 4 - 1.

    Args:
        rows: of the grid.
        columns: of the grid.
        dim: of a vector, a multiple of 4.
        prefix: rows of zeros at the start, for tokens without a place, such as the class token.
        dtype: of the table, which is made in float64 on the CPU.

    Returns:
        (prefix + rows * columns, dim).

    Raises:
        BadValue: dim is not a multiple of 4.

    Source: He 2022 (MAE), arXiv:2111.06377, appendix A.1; facebookresearch/mae util/pos_embed.py.
    """
    if dim < 4 or dim % 4:
        raise BadValue(f"positions: a width of {dim} is not a multiple of 4. Set one that is.")
    frequencies = 10000 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [number.reshape(-1, 1) * frequencies for number in (column, row)]
    table = torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1)
    return torch.cat([table.new_zeros(prefix, dim), table]).to(dtype)
