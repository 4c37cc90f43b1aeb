"""Stems for small images."""

from __future__ import annotations

from torch import nn


def small_stem(first: nn.Conv2d) -> nn.Conv2d:
    """Return the convolution that stands in place of a network's first one where images are small.

    It is 3x3, of stride 1 and padding 1, without a bias. A ResNet loses its max-pool beside it:

        network.conv1, network.maxpool = small_stem(network.conv1), nn.Identity()

    Args:
        first: as the network was built, whose channels it has.

    Source: Chen 2020 (SimCLR), arXiv:2002.05709, appendix B.9; its weights are drawn as those of He 2015,
    arXiv:1502.01852, by the outputs.
    """
    conv = nn.Conv2d(first.in_channels, first.out_channels, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
