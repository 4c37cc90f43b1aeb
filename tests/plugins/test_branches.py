"""Residual networks start as the authors' code of each method starts them, but for SimSiam."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bench.contracts.dataset_info import DatasetInfo
from bench.registry.registry import Registry

REGISTRY = Registry.load()
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32, images=64)
ON = {  # by torchvision's default, or by a ResNet of their own that has it
    "deepcluster_v2", "dino", "mocov2", "npid", "random", "ressl", "simsiam", "supcon", "swav", "wmse",
}  # fmt: skip
METHODS = [
    entry.name
    for entry in REGISTRY.entries("methods")
    if entry.plugin.built_in and entry.name not in ("mae", "pixels")  # they take no residual network
]


@pytest.mark.parametrize("name", METHODS)
def test_branches_are_on_where_the_authors_have_them_on(name: str) -> None:
    """zero_init_residual is true in the code of Barlow Twins, VICReg, SimSiam and MoCo v3, as in timm.

    SimSiam's is for ImageNet; on CIFAR its rate is too small for it.
    """
    backbones: Any = REGISTRY.load_class("backbones", "test_resnet")
    cls: Any = REGISTRY.load_class("methods", name)
    backbone = backbones("test_resnet", backbones.Config(), 3, 32)
    method = cls(backbone, backbone.dim, cls.Config(), DATA)
    scales = [part.weight for part in method.modules() if isinstance(part, nn.BatchNorm2d)]

    assert any(not torch.any(scale) for scale in scales) == (name not in ON)
