"""Which features of the backbone an evaluator reads, and the settings that say so.

Its module imports no torch: the settings of a probe are known without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from bench.config import setting
from bench.errors import BadValue, Unsupported, suggest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.contracts.backbone import Backbone, BackboneInfo, Tokens

Pool = Literal["class", "mean", "class+mean"]


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """Which features of the backbone an evaluator is given.

    Args:
        blocks: how many of the last blocks or stages are read; 0 is what `forward` returns, pooled in the
            backbone's own way.
        pool: what is taken of blocks: the `class` token of each, the `mean` over each one's patches or map,
            or the class token of each and the mean over the patches of the last (`class+mean`).

    Source: DINO, eval_linear.py; for several blocks `class+mean` is DINOv2's, eval/linear.py.
    """

    blocks: int = 0
    pool: Pool = "class"

    def __post_init__(self) -> None:
        if self.pool not in get_args(Pool):
            raise BadValue(f"features.pool: {self.pool!r} is unknown.{suggest(self.pool, get_args(Pool))}")
        if self.blocks < 0:
            raise BadValue(f"features.blocks: {self.blocks} is less than 0. Use 0 for the pooled features.")

    def check(self, name: str, info: BackboneInfo) -> None:
        """Refuse a backbone that does not have these features.

        Args:
            name: of the backbone.
            info: what is known of it.

        Raises:
            Unsupported: it has fewer blocks, or no class token.
        """
        if self.blocks > info.blocks:
            raise Unsupported(
                f"{name}: the outputs of {self.blocks} blocks are asked for, but it offers {info.blocks}. "
                "Set fewer blocks, or use another backbone."
            )
        if self.blocks and self.pool != "mean" and not info.class_token:
            raise Unsupported(
                f"{name}: it has no class token, which pool={self.pool} is about. Set pool to mean."
            )

    def key_fields(self) -> dict[str, Any]:
        """Return what the key of features says of them: nothing of those that `forward` returns."""
        return {"blocks": self.blocks, "pool": self.pool} if self.blocks else {}

    def describe(self) -> dict[str, str]:
        """Return what a record's protocol says of the features: nothing of those that `forward` returns."""
        if not self.blocks:
            return {}
        tokens = {"class": "class token", "mean": "mean", "class+mean": "class token"}[self.pool]
        which = "the last block" if self.blocks == 1 else f"each of the last {self.blocks} blocks"
        patches = ", and mean over the last one's patches" if self.pool == "class+mean" else ""
        return {"layer": f"{tokens} of {which}{patches}"}

    def read(self, backbone: nn.Module, images: Tensor) -> Tensor:
        """Return the features of images, (n, dim); those of several blocks stand side by side.

        Args:
            backbone: a `Backbone`; where `blocks` is 0, any network.
            images: (n, channels, h, w), as of `Backbone.forward`.

        Raises:
            Unsupported: the backbone does not have that many blocks.
        """
        import torch

        from bench.contracts.backbone import Tokens

        if not self.blocks:
            pooled: Tensor = backbone(images)
            return pooled
        outputs = cast("Backbone", backbone).blocks(images, self.blocks)
        if self.pool == "mean":
            return torch.cat([_mean_patches(output) for output in outputs], 1)
        parts = [output.prefix[:, 0] for output in outputs if isinstance(output, Tokens)]
        if self.pool == "class+mean":
            parts.append(_mean_patches(outputs[-1]))
        return torch.cat(parts, 1)


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """Settings of a probe that may read blocks of the backbone; its `Config` extends them."""

    blocks: int = setting(
        0,
        "last blocks whose outputs are read side by side; 0 is what the backbone itself pools",
        source="DINO, eval_linear.py: 4 of a ViT-S, 1 of a ViT-B",
        least=0,
        later=True,
    )
    pool: str = setting(
        "class",
        "what is read of blocks: their class tokens, their mean, or both (the mean of the last one only)",
        source="DINO, eval_linear.py: class of a ViT-S, class+mean of a ViT-B",
        choices=get_args(Pool),
        later=True,
    )

    @property
    def spec(self) -> FeatureSpec:
        """The features that these settings ask for.

        Raises:
            BadValue: a pooling is set, but there is nothing to pool.
        """
        if self.pool != "class" and not self.blocks:
            raise BadValue(f"pool is {self.pool}, but no blocks are read. Set the evaluator's blocks, too.")
        return FeatureSpec(blocks=self.blocks, pool=cast("Pool", self.pool))


def _mean_patches(output: Tensor | Tokens) -> Tensor:
    """Return the mean over the patches of a block, or over its map (n, c, h, w), as (n, c)."""
    from bench.contracts.backbone import Tokens

    return output.patches.mean(1) if isinstance(output, Tokens) else output.mean((2, 3))
