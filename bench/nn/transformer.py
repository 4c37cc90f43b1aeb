"""MAE's decoder: from the tokens of the patches that are seen to something for every patch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.errors import BadValue
from bench.nn.positions import sincos_positions


class TokenDecoder(nn.Module):
    """A light transformer over all patches, a trained token standing where a patch was masked.

    A linear layer to `width`, mask tokens, fixed positions, `depth` blocks (layer norm first, MLP of 4
    times the width, GELU, no dropout), layer norm, a linear layer. Layer norms have an eps of 1e-6.
    Weights start as in the authors' code: Xavier uniform, biases 0, the mask token normal with 0.02.

    Args:
        dim: of the encoder's tokens.
        width: of the blocks, a multiple of 4 and of `heads`; 512 in MAE.
        depth: blocks; 8 in MAE.
        heads: of attention; 16 in MAE.
        out_dim: of what is predicted of a patch.
        rows: of the grid of patches.
        columns: of the grid.

    Raises:
        BadValue: width is not a multiple of heads, or of 4.

    Source: He 2022 (MAE), arXiv:2111.06377, section 3 and appendix A.1; facebookresearch/mae
    models_mae.py, whose blocks are timm's.
    """

    positions: Tensor

    def __init__(
        self, dim: int, width: int, depth: int, heads: int, out_dim: int, rows: int, columns: int
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise BadValue(
                f"decoder: a width of {width} is not a multiple of {heads} heads. Set one that is."
            )
        self.register_buffer("positions", sincos_positions(rows, columns, width))
        self.embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.empty(width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                *(width, heads, 4 * width),
                dropout=0.0,
                activation="gelu",
                layer_norm_eps=1e-6,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, out_dim)
        nn.init.normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):  # attention's first layer is a parameter that starts so, too
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, visible: Tensor, prefix: Tensor | None = None) -> Tensor:
        """Return what is predicted of every patch, seen or not.

        Args:
            tokens: (n, k, dim), the encoder's, of the patches that are seen.
            visible: (n, k), int64, which patches these are.
            prefix: (n, q, dim), tokens without a place, such as the class token; nothing is predicted of
                them.

        Returns:
            (n, rows * columns, out_dim).
        """
        seen = self.embed(tokens)
        n, _, width = seen.shape
        x = self.mask_token.to(seen.dtype).expand(n, len(self.positions), width)
        x = x.scatter(1, visible.unsqueeze(2).expand(-1, -1, width), seen) + self.positions
        ahead = 0 if prefix is None else prefix.shape[1]
        if prefix is not None:
            x = torch.cat([self.embed(prefix).to(x.dtype), x], dim=1)
        for block in self.blocks:
            x = block(x)
        predicted: Tensor = self.head(self.norm(x[:, ahead:]))
        return predicted
