"""Start a residual network with its branches on, as published code of some methods does."""

from __future__ import annotations

import torch
from torch import nn

NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def switch_on_branches(backbone: nn.Module) -> None:
    """Set the scales of norms that are all 0 to 1, in place.

    Residual networks start with their branches off, the scale of each branch's last norm being 0 (Goyal 2017,
    arXiv:1706.02677, section 5.1). What is left is a network of strided shortcuts: timm's resnet18 sees 6x6
    of 32x32 pixels, until the scales have grown, which takes plain SGD at a small rate hundreds of steps.
    torchvision's networks, which much published code uses, start with their branches on.

    Args:
        backbone: a network before its first step; one with trained weights has no such scale.
    """
    for module in backbone.modules():
        if isinstance(module, NORMS) and module.weight is not None and not torch.any(module.weight):
            nn.init.ones_(module.weight)
