"""Recipes of augmentation: a `View` says with which probability and how strongly an image is changed.

`bench.augmentation.draws` draws the parameters of each image, `bench.augmentation.apply` applies them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bench.config import check_fields, setting
from bench.errors import BadValue

GREY, RGB = 1, 3  # channels


class Symmetries(Protocol):
    """What a dataset says of its labels: which changes of an image keep them."""

    @property
    def channels(self) -> int:
        """Grey images have 1, colour images 3."""

    @property
    def flip(self) -> bool:
        """Whether a mirrored image keeps its label."""

    @property
    def colour(self) -> bool:
        """Whether an image keeps its label when its colours change."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One augmentation recipe; the defaults are SimCLR's for ImageNet without its blur."""

    crop_min: float = setting(0.08, "smallest share of the area a crop keeps", above=0, most=1)
    crop_max: float = setting(1.0, "largest share of the area a crop keeps", above=0, most=1)
    crop_ratio: float = setting(4 / 3, "largest aspect ratio of a crop, and its inverse", least=1)
    flip: float = setting(0.5, "probability of a mirrored image", least=0, most=1)
    jitter: float = setting(0.8, "probability of colour jitter", least=0, most=1)
    brightness: float = setting(0.8, "factor within 1 ± this", least=0)
    contrast: float = setting(0.8, "factor within 1 ± this", least=0)
    saturation: float = setting(0.8, "factor within 1 ± this", least=0)
    hue: float = setting(0.2, "shift within ± this share of the circle", least=0, most=0.5)
    grey: float = setting(0.2, "probability of a grey image", least=0, most=1)
    blur: float = setting(0.0, "probability of a Gaussian blur over 10 % of the side", least=0, most=1)
    blur_min: float = setting(0.1, "smallest sigma, in pixels", above=0)
    blur_max: float = setting(2.0, "largest sigma, in pixels", above=0)
    solarise: float = setting(0.0, "probability of inverting what is bright", least=0, most=1)
    affine: float = setting(0.0, "probability of an affine map", least=0, most=1)
    rotate: float = setting(15.0, "of the affine map: within ± degrees", least=0, most=180)
    translate: float = setting(0.1, "of the affine map: within ± this share of the side", least=0, most=1)
    zoom: float = setting(0.1, "of the affine map: factor within 1 ± this", least=0, most=0.9)
    shear: float = setting(10.0, "of the affine map: within ± degrees", least=0, most=60)
    size: int | None = setting(
        None, "side in pixels; none is the run's image size", least=8, most=1024, later=True
    )

    def __post_init__(self) -> None:
        check_fields(self, "views")
        for low, high in (("crop_min", "crop_max"), ("blur_min", "blur_max")):
            least, most = getattr(self, low), getattr(self, high)
            if least > most:
                raise BadValue(f"views.{low}: {least:g} is more than {high} ({most:g}). Set both.")

    def side(self, image_size: int) -> int:
        """Return the side of the view in pixels, in a run whose image size is `image_size`."""
        return self.size or image_size

    def label_preserving(self, data: Symmetries) -> View:
        """Return the view without what would change a label of `data` or does nothing to grey images."""
        view = self if data.flip else replace(self, flip=0.0)
        if data.channels == RGB and not data.colour:
            view = replace(view, solarise=0.0)  # of each channel by itself: red becomes black
        if data.channels == RGB and data.colour:
            return view
        return replace(view, saturation=0.0, hue=0.0, grey=0.0)


def blur_radius(side: int) -> int:
    """Return how far the kernel of a blur reaches on images of `side` pixels."""
    return min(max(1, side // 20), side - 1)


def join_views(views: Sequence[View]) -> View:
    """Return a view in which every operation is on that is on in one of several: they can be applied as one.

    What is applied to an image is in its draws, which are each view's own.
    """
    chances = {
        name: max(getattr(view, name) for view in views)
        for name in ("affine", "jitter", "grey", "blur", "solarise")
    }
    return replace(views[0], **chances)


def relative_cost(views: Iterable[View], image_size: int) -> float:
    """Return what the views of an image cost, in views of the run's image size.

    A network's arithmetic grows with the pixels: a view of half the side counts as a quarter. Attention
    grows faster: in a transformer a small view costs still less.

    Args:
        views: of one image.
        image_size: of the run, in pixels.
    """
    return sum((view.side(image_size) / image_size) ** 2 for view in views)
