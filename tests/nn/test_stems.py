"""The stem for small images."""

from __future__ import annotations

import torch
from torch import nn

from bench.nn.stems import small_stem


def test_a_small_stem_keeps_the_side_of_an_image_and_the_channels_of_the_network() -> None:
    conv = small_stem(nn.Conv2d(1, 24, 7, stride=2, padding=3))
    deviation = (2 / (24 * 9)) ** 0.5  # He 2015, by the outputs

    assert conv(torch.zeros(2, 1, 16, 16)).shape == (2, 24, 16, 16)
    assert conv.bias is None
    assert abs(conv.weight.std().item() / deviation - 1) < 0.2
