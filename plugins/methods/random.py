"""Random: the backbone with random weights. The floor of a table.

Nothing is trained: what an evaluator finds in these features is what the architecture alone gives.
A method that does not beat it has learnt nothing.

Residual networks start with their branches switched off, the scale of each branch's last norm being 0
(Goyal 2017, arXiv:1706.02677, section 5.1): that helps training, and without training leaves a network
of strided shortcuts. timm's resnet18 then sees 6x6 of 32x32 pixels. So such scales are 1 here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bench.api import DatasetInfo, Method

NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


class Random(Method):
    """Keep random weights, as the floor every table needs."""

    reference = "Saxe et al. 2011, On random weights and unsupervised feature learning, ICML"
    version = 2

    def __init__(self, backbone: nn.Module, dim: int, config: Any, data: DatasetInfo) -> None:
        super().__init__(backbone, dim, config, data)
        for module in backbone.modules():
            if isinstance(module, NORMS) and module.weight is not None and not torch.any(module.weight):
                nn.init.ones_(module.weight)
