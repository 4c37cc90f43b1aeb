"""What cells have in common, worked out once: a backbone of any seed, one of a seed, a share of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.contracts.recipe import Training
from bench.errors import Unsupported
from bench.planning.cells import PluginChoice

if TYPE_CHECKING:
    from bench.contracts.backbone import Normalisation


@dataclass(frozen=True, kw_only=True, eq=False)
class BackbonePlan:
    """What cells of one backbone and of any seed have in common; the fields are those of `Cell`.

    Args:
        digested: what its key is a digest of, but for the seed and labels.
        unsupported: why the method or the backbone cannot work on these images, if one cannot.
        notes: what a user should know of how the backbone is built for them.
    """

    method: PluginChoice
    backbone: PluginChoice
    dataset: PluginChoice
    split: str
    training: Training | None
    views: tuple[Any, ...]
    image_size: int
    epoch_images: int
    normalisation: Normalisation | None
    digested: Mapping[str, Any]
    unsupported: str | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeededPlan:
    """What cells of one trained backbone have in common.

    Args:
        trained: the backbone, of any seed.
        seed: of training and evaluation.
        label_share: of the labels of train and val that the method sees, 0 where it looks at none.
        label_count: how many that are.
        key: of the backbone.
        skip: why it cannot be trained, if it cannot.
    """

    trained: BackbonePlan
    seed: int
    label_share: float
    label_count: int
    key: str
    skip: str | None


@dataclass(frozen=True)
class LabelSubset:
    """The labels that a fraction gives.

    Args:
        count: how many.
        digest: of which; empty where none can be drawn.
        refusal: why none can be drawn, if so.
    """

    count: int
    digest: str
    refusal: str | None

    @classmethod
    def draw(cls, draw: Callable[[], tuple[int, str]]) -> LabelSubset:
        """Return what is drawn, or why the fraction gives none."""
        try:
            return cls(*draw(), refusal=None)
        except Unsupported as error:
            return cls(0, "", refusal=str(error))
