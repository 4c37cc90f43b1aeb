"""Images of a folder that are decoded whenever they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bench.api import LazyPixels

from .decoding import CHUNK, MOST_PIXELS, Failures, decode_all
from .layout import Paths
from .packed_file import Shape


def decode_lazily(
    paths: Paths,
    shape: Shape,
    refuse: Callable[[Sequence[int], Failures], None],
    most: int = MOST_PIXELS,
) -> LazyPixels:
    """Return the images of n files, of which rows are decoded when they are taken.

    Args:
        paths: n files.
        shape: of the images.
        refuse: is told which images were decoded, by their indices, and which of them could not be; raises
            the error about those, and about files that have changed.
        most: pixels of an image that is decoded.
    """

    def decode(indices: Sequence[int]) -> Tensor:
        some = Paths(paths.root, [paths.names[index] for index in indices])
        pixels = np.empty((len(some), *shape[1:]), dtype=np.uint8)
        failures: Mapping[int, str] = decode_all(some, shape[1], shape[2], out=pixels, most=most)
        refuse(indices, {indices[i]: why for i, why in failures.items()})
        return torch.from_numpy(pixels)

    return LazyPixels(shape, decode, ahead=CHUNK * torch.get_num_threads())
