"""Folders of images that can be told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def photos(root: Path, splits: dict[str, int], channels: str = "RGB") -> Path:
    """Write images of three classes, so many of each a split, that are told apart by their brightness."""
    rng = np.random.default_rng(0)
    for split, count in splits.items():
        for label, name in enumerate(("ant", "bee", "cow")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                shape = (12, 12, 3) if channels == "RGB" else (12, 12)
                pixels = rng.integers(70 * label, 70 * label + 90, shape, dtype=np.uint8)
                Image.fromarray(pixels, channels).save(root / split / name / f"{number}.png")
    return root
