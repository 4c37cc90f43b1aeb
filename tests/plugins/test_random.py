"""Random: nothing is trained."""

from __future__ import annotations

import torch
from torch import nn

from bench.contract import DatasetInfo
from bench.registry import Registry

Random = Registry.load().load_class("methods", "random")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=8)


def test_it_has_nothing_to_train_with() -> None:
    assert Random.recipe is None
    assert Random.views(Random.Config(), DATA, 32) == ()
    assert not Random.uses_labels


def test_it_keeps_the_backbone_as_it_is_and_adds_nothing() -> None:
    backbone = nn.Linear(3, 2)
    before = backbone.weight.detach().clone()
    method = Random(backbone, 2, Random.Config(), DATA)
    method.after_step(1.0)

    assert method.backbone is backbone
    assert torch.equal(backbone.weight, before)
    assert {id(p) for p in method.parameters()} == {id(p) for p in backbone.parameters()}
