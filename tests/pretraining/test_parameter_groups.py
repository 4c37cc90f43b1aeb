"""Which parameters are trained alike, and which in a way of their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_training import gradients, network, training

from bench.contracts.backbone import Backbone
from bench.contracts.recipe import ParamGroup
from bench.errors import BadValue
from bench.pretraining.optimizers import build_optimizer
from bench.pretraining.parameter_groups import build_groups

OPTIMIZERS = ("lars", "sgd", "adamw")
DEPTH = 12


class Layered(Backbone):
    """A network with the names of a vision transformer, which tells its layers."""

    def __init__(self, layers: dict[str, int] | None = None) -> None:
        super().__init__("layered", None, 3, 8)
        self.patch_embed, self.norm = nn.Linear(2, 2), nn.LayerNorm(2)
        self.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(DEPTH))
        self.layers = layers

    def parameter_layers(self) -> dict[str, int] | None:
        if self.layers is not None:
            return self.layers
        blocks = {f"blocks.{i}.{name}": i + 1 for i in range(DEPTH) for name in ("weight", "bias")}
        return {
            "patch_embed.weight": 0,
            "patch_embed.bias": 0,
            **blocks,
            "norm.weight": DEPTH + 1,
            "norm.bias": DEPTH + 1,
        }


class Headed(nn.Module):
    """A method's shape: a backbone and a predictor."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.predictor = backbone, nn.Linear(2, 2)


def options_by_name(net: nn.Module, **changes: Any) -> dict[str, dict[str, Any]]:
    """Return the options of the group of each parameter."""
    owners = {id(p): group for group in build_groups(net, training(**changes)) for p in group["params"]}
    return {name: owners[id(p)] for name, p in net.named_parameters()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_is_of_parameters_of_two_dimensions_or_more(name: str) -> None:
    net = network()
    decays = {
        id(p): group["weight_decay"]
        for group in build_optimizer(net, training(name)).param_groups
        for p in group["params"]
    }

    assert {n: decays[id(p)] for n, p in net.named_parameters()} == {
        n: 0.01 if p.ndim > 1 else 0.0 for n, p in net.named_parameters()
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_parameter_is_in_one_group_once_and_what_is_frozen_too(name: str) -> None:
    net = network()
    net.append(net[0])  # shared: reached by two paths
    net[2].requires_grad_(requires_grad=False)
    optimizer = build_optimizer(net, training(name))
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]

    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in net.parameters()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_are_numbered_weights_first_and_then_the_rest(name: str) -> None:
    """Checkpoints of earlier versions number them so."""
    net = network()
    optimizer = build_optimizer(net, training(name))
    numbered = [id(p) for group in optimizer.param_groups for p in group["params"]]
    weights = [id(p) for p in net.parameters() if p.ndim > 1]

    assert numbered == weights + [id(p) for p in net.parameters() if p.ndim <= 1]
    assert len(optimizer.param_groups) == 2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_parameter_that_is_thawed_later_is_trained(name: str) -> None:
    net = network()
    net[2].requires_grad_(requires_grad=False)
    before = net[2].weight.clone()
    optimizer = build_optimizer(net, training(name))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        net(torch.randn(8, 4, generator=torch.Generator().manual_seed(0))).square().sum().backward()
        optimizer.step()

    step()

    assert torch.equal(net[2].weight, before)
    assert net[2].weight not in optimizer.state

    net[2].requires_grad_(requires_grad=True)
    step()

    assert not torch.equal(net[2].weight, before)


def test_an_integer_parameter_is_in_no_group() -> None:
    net = network()
    net.counter = nn.Parameter(torch.zeros(1, dtype=torch.int64), requires_grad=False)
    held = [id(p) for group in build_groups(net, training()) for p in group["params"]]

    assert id(net.counter) not in held


# ---- patterns


def test_a_pattern_gives_its_parameters_other_numbers() -> None:
    groups = (
        ParamGroup(match="predictor.*", constant_lr=True, lr_factor=10.0),
        ParamGroup(match="backbone.blocks.0.*", weight_decay=0.0, freeze_epochs=2),
    )
    options = options_by_name(Headed(Layered()), groups=groups)
    predictor, frozen = options["predictor.weight"], options["backbone.blocks.0.weight"]
    usual = options["backbone.blocks.1.weight"]

    assert (predictor["constant_lr"], predictor["lr_factor"], predictor["weight_decay"]) == (True, 10.0, 0.01)
    assert (frozen["freeze_epochs"], frozen["weight_decay"], frozen["scheduled_decay"]) == (2, 0.0, False)
    assert (usual["constant_lr"], usual["lr_factor"], usual["freeze_epochs"]) == (False, 1.0, 0)
    assert options["predictor.bias"]["weight_decay"] == 0.0


def test_the_first_pattern_that_matches_has_the_parameter() -> None:
    groups = (
        ParamGroup(match="predictor.bias", lr_factor=2.0),
        ParamGroup(match="predictor.*", lr_factor=3.0),
    )
    options = options_by_name(Headed(Layered()), groups=groups)

    assert options["predictor.bias"]["lr_factor"] == 2.0
    assert options["predictor.weight"]["lr_factor"] == 3.0


def test_a_pattern_may_be_of_biases_and_norms_only() -> None:
    """Barlow Twins: biases and norms learn at 0.0048 where weights do at 0.2."""
    options = options_by_name(Headed(Layered()), groups=(ParamGroup(match="*", max_ndim=1, lr_factor=0.024),))

    assert {name: group["lr_factor"] for name, group in options.items()} == {
        name: 0.024 if name.endswith("bias") or "norm" in name else 1.0 for name in options
    }


def test_a_pattern_decides_whether_weight_decay_is_applied() -> None:
    """SimSiam: biases and norms are decayed like weights, and follow the same schedule."""
    groups = (
        ParamGroup(match="predictor.*", decay=False),
        ParamGroup(match="backbone.norm.*", decay=True, weight_decay=0.5),
        ParamGroup(match="*", decay=True),
    )
    options = options_by_name(Headed(Layered()), groups=groups)

    assert {options[name]["weight_decay"] for name in ("predictor.weight", "predictor.bias")} == {0.0}
    assert not options["predictor.weight"]["scheduled_decay"]
    assert options["backbone.norm.bias"]["weight_decay"] == 0.5
    assert not options["backbone.norm.bias"]["scheduled_decay"]
    assert options["backbone.blocks.0.bias"]["weight_decay"] == 0.01
    assert options["backbone.blocks.0.bias"]["scheduled_decay"]


def test_a_pattern_decides_whether_lars_adapts() -> None:
    groups = (ParamGroup(match="predictor.*", adapt=False), ParamGroup(match="backbone.norm.*", adapt=True))
    options = options_by_name(Headed(Layered()), groups=groups)

    assert not options["predictor.weight"]["adapt"]
    assert options["backbone.norm.weight"]["adapt"]
    assert options["backbone.blocks.0.weight"]["adapt"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            (ParamGroup(match="predicter.*"),),
            r"^groups: 'predicter.\*' matches no .* Did you mean 'predictor'",
        ),
        ((ParamGroup(match="predictor.weight", max_ndim=1),), "'predictor.weight' matches no parameter"),
        (
            (ParamGroup(match="*"), ParamGroup(match="predictor.*")),
            r"'predictor.\*' matches no parameter, or",
        ),
    ],
)
def test_a_pattern_without_a_parameter_is_refused(groups: tuple[ParamGroup, ...], message: str) -> None:
    with pytest.raises(BadValue, match=message) as caught:
        build_optimizer(Headed(Layered()), training(groups=groups))

    assert "\n" not in str(caught.value)


# ---- layers


@pytest.mark.parametrize(
    ("decay", "embedding", "blocks"),
    [
        (0.75, 0.0237572640181, {0: 0.0316763520241, 5: 0.133483886719, 11: 0.75}),
        (0.65, 0.00369720589102, {0: 0.00568800906311, 5: 0.0490222789063, 11: 0.65}),
    ],
)
def test_the_learning_rate_decays_from_layer_to_layer_as_maes(
    decay: float, embedding: float, blocks: dict[int, float]
) -> None:
    """Of facebookresearch/mae util/lr_decay.py at efb2a80, twelve blocks."""
    options = options_by_name(Headed(Layered()), layer_decay=decay)

    assert options["backbone.patch_embed.weight"]["lr_factor"] == pytest.approx(embedding, rel=1e-9)
    for number, factor in blocks.items():
        assert options[f"backbone.blocks.{number}.weight"]["lr_factor"] == pytest.approx(factor, rel=1e-9)
    assert options["backbone.norm.weight"]["lr_factor"] == 1.0
    assert options["predictor.weight"]["lr_factor"] == 1.0


def test_a_layer_has_a_group_of_weights_and_one_of_the_rest() -> None:
    """28 for twelve blocks, as in MAE's code."""
    groups = [g for g in build_groups(Headed(Layered()), training(layer_decay=0.75)) if g["params"]]

    assert len(groups) == 2 * (DEPTH + 2)


def test_a_pattern_multiplies_the_factor_of_a_layer() -> None:
    groups = (ParamGroup(match="backbone.blocks.11.*", lr_factor=10.0),)
    options = options_by_name(Headed(Layered()), layer_decay=0.5, groups=groups)

    assert options["backbone.blocks.11.weight"]["lr_factor"] == 5.0


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (network(), "^train.layer_decay: the layers of this backbone are not known."),
        (Headed(Layered(layers={})), "^train.layer_decay: the layers of this backbone are not known."),
        (Headed(Layered(layers={"norm.weight": 0})), "does not say the layer of patch_embed.weight"),
    ],
)
def test_a_decay_by_layers_that_are_not_known_is_refused(net: nn.Module, message: str) -> None:
    with pytest.raises(BadValue, match=message) as caught:
        build_optimizer(net, training(layer_decay=0.75))

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_stopped_optimizer_with_groups_goes_on_bitwise(name: str) -> None:
    groups = (ParamGroup(match="0.*", lr_factor=0.5), ParamGroup(match="*.gain", adapt=True))

    def run(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> list[Tensor]:
        for step in steps:
            gradients(net, step)
            optimizer.step()
        return [p.detach() for p in net.parameters()]

    def build(net: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(net, training(name, groups=groups))

    whole, first, second = network(), network(), network()
    uninterrupted = run(whole, build(whole), range(5))
    stopped, resumed = build(first), build(second)
    run(first, stopped, range(2))
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(stopped.state_dict())

    assert all(
        torch.equal(a, b) for a, b in zip(uninterrupted, run(second, resumed, range(2, 5)), strict=True)
    )
