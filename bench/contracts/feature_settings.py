"""Settings of a probe that say which features of the backbone it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from bench.config import setting
from bench.errors import BadValue

if TYPE_CHECKING:
    from bench.contracts.evaluator import FeatureSpec

Pool = Literal["class", "mean", "class+mean"]


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
        from bench.contracts.evaluator import FeatureSpec  # which imports torch

        return FeatureSpec(blocks=self.blocks, pool=cast("Pool", self.pool))
