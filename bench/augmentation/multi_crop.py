"""Multi-crop: a few large views of an image, and several small ones that cost little."""

from __future__ import annotations

from dataclasses import asdict

from bench.augmentation.view import View
from bench.config import build
from bench.errors import BadValue


def multi_crop(
    large: View, small: View, *, large_count: int = 2, small_count: int, small_size: int
) -> tuple[View, ...]:
    """Return the views of multi-crop: the large ones first, then the small ones.

    The two recipes say how much of an image a crop keeps (`crop_min`, `crop_max`): of the area, SwAV's large
    crops keep 0.14 to 1 and its small ones 0.05 to 0.14; DINO's keep 0.4 to 1 and 0.05 to 0.4.

    Args:
        large: recipe of the large views, which have the run's image size unless it sets another.
        small: recipe of the small views.
        large_count: at least 1.
        small_count: 0 or more.
        small_size: side of the small views, in pixels; 96 beside 224 in both papers.

    Raises:
        BadValue: a count or the size is out of range.

    Source: Caron 2020 (SwAV), section 3.2; facebookresearch/swav src/multicropdataset.py.
    """
    for name, count, least in (("large_count", large_count, 1), ("small_count", small_count, 0)):
        if count < least:
            raise BadValue(f"multi_crop: {name} is {count}. Use at least {least}.")
    sized = build(View, {**asdict(small), "size": small_size}, "multi_crop")
    return (large,) * large_count + (sized,) * small_count
