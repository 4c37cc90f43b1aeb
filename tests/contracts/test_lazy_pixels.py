"""Images that are decoded when they are looked at are used as stored ones are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from bench.api import LazyPixels, lazy_images

STORED = torch.arange(10 * 3 * 2 * 2, dtype=torch.uint8).view(10, 3, 2, 2)


def test_rows_are_those_of_the_stored_images_and_taken_some_ahead() -> None:
    asked: list[list[int]] = []

    def decode(places: Sequence[int]) -> Tensor:
        asked.append(list(places))
        return STORED[list(places)]

    images = lazy_images(torch.arange(10), LazyPixels(STORED.shape, decode, ahead=4))
    index = torch.tensor([7, 0, 7])

    assert torch.equal(images.pixels[2:6], STORED[2:6])
    assert torch.equal(images.pixels[6:8], STORED[6:8])
    assert asked == [[0, 1, 2, 3], [4, 5, 6, 7]]  # the second block is not decoded twice
    assert torch.equal(images.take(index).pixels, STORED[index])
    assert torch.equal(torch.cat(list(images.pixels.split(3))), STORED)
    assert images.pixels[10:].shape == (0, 3, 2, 2)
    assert (len(images), images.pixels.nbytes, images.pixels.shape) == (10, 120, STORED.shape)


def test_a_label_an_image_is_asked_for() -> None:
    with pytest.raises(ValueError, match="Use a label an image"):
        lazy_images(torch.arange(9), LazyPixels(STORED.shape, lambda places: STORED[list(places)]))
