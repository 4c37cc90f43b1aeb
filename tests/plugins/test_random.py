"""Random: nothing is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Step
from bench.registry.registry import Registry

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
    method.after_step(Step())

    assert method.backbone is backbone
    assert torch.equal(backbone.weight, before)
    assert {id(p) for p in method.parameters()} == {id(p) for p in backbone.parameters()}


def test_residual_branches_that_start_switched_off_are_on() -> None:
    """Without them the output depends on a corner of the image: what is left are strided shortcuts."""
    torch.manual_seed(0)
    cls = Registry.load().load_class("backbones", "resnet18")
    backbone = cls("resnet18", cls.Config(stem="standard"), 3, 32)
    seen = []
    for _ in ("as it comes", "as it is the floor of a table"):
        images = torch.rand(1, 3, 32, 32, requires_grad=True)
        backbone.eval()(images).sum().backward()
        seen.append(int((images.grad != 0).any(1).sum()))
        Random(backbone, backbone.dim, Random.Config(), DATA)

    assert seen == [36, 1024]


def test_norms_that_have_been_trained_are_left_as_they_are() -> None:
    norm = nn.BatchNorm2d(3)
    nn.init.uniform_(norm.weight)
    before = norm.weight.detach().clone()
    Random(nn.Sequential(norm), 3, Random.Config(), DATA)

    assert torch.equal(norm.weight, before)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(4)])
def test_a_norm_of_any_kind_that_switches_its_branch_off_is_switched_on(norm: Any) -> None:
    nn.init.zeros_(norm.weight)
    Random(nn.Sequential(norm), 4, Random.Config(), DATA)

    assert torch.equal(norm.weight, torch.ones(4))
    assert not norm.bias.any()


def test_a_norm_without_weights_and_layers_that_are_no_norm_are_left_as_they_are() -> None:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    Random(nn.Sequential(nn.LayerNorm(3, elementwise_affine=False), layer), 2, Random.Config(), DATA)

    assert not layer.weight.any()


def test_its_version_is_that_of_norms_switched_on() -> None:
    assert Random.version == 2
