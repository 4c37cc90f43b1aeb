"""What a step does before it is taken: rates, decay, freezing, clipping."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toy_training import gradients, network, training

from bench.contracts.method import Step
from bench.contracts.recipe import ParamGroup, Training
from bench.pretraining.checkpoint import Checkpoint, TrainingProgress
from bench.pretraining.optimizer_step import begin_step, clip_gradients, finish_gradients
from bench.pretraining.optimizers import build_optimizer
from bench.pretraining.schedules import lr_factor

OPTIMIZERS = ("lars", "sgd", "adamw")
EPOCHS, STEPS = 10, 4  # of the toy training, and of one of its epochs


def at(number: int) -> Step:
    return Step(number=number, total=EPOCHS * STEPS, epoch=number // STEPS, epochs=EPOCHS)


def scaler(*, enabled: bool = False) -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", enabled=enabled)


def take_step(net: nn.Module, optimizer: torch.optim.Optimizer, training: Training, number: int) -> None:
    begin_step(optimizer, training, at(number))
    gradients(net, number)
    finish_gradients(optimizer, training, at(number), scaler())
    optimizer.step()


def with_gradients(*values: list[float]) -> list[nn.Parameter]:
    params = [nn.Parameter(torch.zeros(len(value))) for value in values]
    for param, value in zip(params, values, strict=True):
        param.grad = torch.tensor(value)
    return params


# ---- the learning rate and the weight decay


@pytest.mark.parametrize("number", [0, 1, 3, 4, 17, 39])
def test_every_group_has_the_learning_rate_of_the_schedule(number: int) -> None:
    net, settings = network(), training()
    optimizer = build_optimizer(net, settings)
    lr = begin_step(optimizer, settings, at(number))

    assert lr == 0.5 * lr_factor(number, EPOCHS * STEPS, 1.0 * STEPS)
    assert [group["lr"] for group in optimizer.param_groups] == [lr, lr]


def test_the_lowest_learning_rate_is_where_the_cosine_ends() -> None:
    settings = training(min_lr=0.1)
    optimizer = build_optimizer(network(), settings)

    assert begin_step(optimizer, settings, at(STEPS)) == 0.5
    assert begin_step(optimizer, settings, at(EPOCHS * STEPS - 1)) == pytest.approx(0.1, abs=1e-3)


def test_a_constant_group_has_no_warm_up_and_no_decay_and_a_factor_is_of_the_schedule() -> None:
    """SimSiam's predictor learns at the full rate throughout."""
    groups = (ParamGroup(match="4.*", constant_lr=True), ParamGroup(match="0.*", lr_factor=0.1))
    settings = training(groups=groups)
    optimizer = build_optimizer(network(), settings)
    for number in (0, 1, 20, 39):
        lr = begin_step(optimizer, settings, at(number))
        rates = {
            group["lr_factor"]: group["lr"] for group in optimizer.param_groups if not group["constant_lr"]
        }
        constant = {group["lr"] for group in optimizer.param_groups if group["constant_lr"]}

        assert lr < 0.5 or number == 20
        assert constant == {0.5}
        assert rates == {1.0: lr, 0.1: lr * 0.1}


def test_the_weight_decay_follows_its_cosine_where_it_is_the_recipes() -> None:
    settings = training("adamw", weight_decay=0.04, weight_decay_end=0.4,
                        groups=(ParamGroup(match="4.*", weight_decay=0.2),))  # fmt: skip
    optimizer = build_optimizer(network(), settings)
    for number in range(EPOCHS * STEPS):
        begin_step(optimizer, settings, at(number))
        expected = 0.4 + 0.5 * (0.04 - 0.4) * (1 + math.cos(math.pi * number / (EPOCHS * STEPS)))
        decays = sorted({group["weight_decay"] for group in optimizer.param_groups})

        assert decays == pytest.approx(sorted({expected, 0.0, 0.2}), rel=1e-12)


def test_a_constant_weight_decay_stays_as_it_was_set() -> None:
    settings = training()
    optimizer = build_optimizer(network(), settings)
    begin_step(optimizer, settings, at(30))

    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]


# ---- freezing


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_frozen_group_takes_no_step_no_decay_and_no_momentum(name: str) -> None:
    """What is frozen for two epochs is, afterwards, as if the training had begun then."""
    settings = training(name, groups=(ParamGroup(match="4.*", freeze_epochs=2),))
    net = network()
    before = [p.detach().clone() for p in net[4].parameters()]
    optimizer = build_optimizer(net, settings)
    for number in range(2 * STEPS):
        take_step(net, optimizer, settings, number)

    assert all(torch.equal(a, b) for a, b in zip(net[4].parameters(), before, strict=True))
    assert all(p not in optimizer.state for p in net[4].parameters())
    assert all(p in optimizer.state for p in net[0].parameters())

    take_step(net, optimizer, settings, 2 * STEPS)

    assert not any(torch.equal(a, b) for a, b in zip(net[4].parameters(), before, strict=True))


# ---- clipping


def test_a_gradient_is_clipped_by_the_norm_over_all_parameters() -> None:
    params = with_gradients([3.0, 0.0], [0.0, 4.0])
    clip_gradients(params, 2.5, "all")

    assert params[0].grad is not None
    assert params[1].grad is not None
    torch.testing.assert_close(params[0].grad, torch.tensor([1.5, 0.0]))
    torch.testing.assert_close(params[1].grad, torch.tensor([0.0, 2.0]))


def test_a_gradient_is_clipped_parameter_by_parameter_as_dinos() -> None:
    """facebookresearch/dino utils.py clip_gradients at 7c446df, number by number."""
    values = [[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [30.0, -40.0]]
    params = with_gradients(*values)
    clip_gradients(params, 3.0, "parameter")
    for param, value in zip(params, values, strict=True):
        factor = 3.0 / (math.sqrt(sum(v * v for v in value)) + 1e-6)
        expected = [v * factor if factor < 1 else v for v in value]

        assert param.grad is not None
        torch.testing.assert_close(param.grad, torch.tensor(expected))


@pytest.mark.parametrize("scope", ["all", "parameter"])
def test_a_gradient_within_the_norm_keeps_every_bit(scope: str) -> None:
    params = with_gradients([0.1, 0.7], [0.3])
    before = [param.grad.clone() for param in params if param.grad is not None]
    clip_gradients(params, 1.0, scope)

    assert all(
        param.grad is not None and torch.equal(param.grad, grad)
        for param, grad in zip(params, before, strict=True)
    )


@pytest.mark.parametrize("scope", ["all", "parameter"])
def test_without_a_gradient_there_is_nothing_to_clip(scope: str) -> None:
    clip_gradients([], 1.0, scope)


def test_the_gradient_of_what_is_frozen_is_not_in_the_norm() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    settings = training("sgd", clip_norm=1.0, groups=(ParamGroup(match="1.*", freeze_epochs=1),))
    optimizer = build_optimizer(net, settings)
    net[0].weight.grad, net[1].weight.grad = torch.tensor([[0.5]]), torch.tensor([[1000.0]])
    finish_gradients(optimizer, settings, at(0), scaler())

    assert torch.equal(net[0].weight.grad, torch.tensor([[0.5]]))
    assert net[1].weight.grad is None


def test_scaled_gradients_are_unscaled_before_they_are_clipped() -> None:
    """A norm of 0.5 stays below 1 although float16 training scales it by 65,536."""
    layer, settings = nn.Linear(1, 1, bias=False), training("sgd", clip_norm=1.0)
    optimizer, scale = build_optimizer(layer, settings), scaler(enabled=True)
    scale.scale(0.5 * layer.weight.sum()).backward()
    finish_gradients(optimizer, settings, at(0), scale)

    assert torch.equal(layer.weight.grad, torch.tensor([[0.5]]))


def test_without_clipping_gradients_stay_as_they_are() -> None:
    net, settings = network(), training()
    gradients(net, 0)
    before = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    finish_gradients(build_optimizer(net, settings), settings, at(0), scaler())

    assert all(
        torch.equal(p.grad, g) for p, g in zip(net.parameters(), before, strict=True) if p.grad is not None
    )


@pytest.mark.parametrize("scope", ["all", "parameter"])
def test_no_step_waits_for_its_device(scope: str) -> None:
    """On the device that has no values, reading one is an error."""
    net = network().to("meta")
    settings = training("sgd", clip_norm=1.0, clip_scope=scope, weight_decay_end=0.1)
    optimizer = build_optimizer(net, settings)
    for param in net.parameters():
        param.grad = torch.zeros_like(param)
    begin_step(optimizer, settings, at(3))
    finish_gradients(optimizer, settings, at(3), torch.amp.GradScaler("cuda", enabled=False))
    optimizer.step()

    assert all(param in optimizer.state for param in net.parameters())


# ---- stopped and resumed


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("stop", [2, 10])
def test_a_stopped_training_with_all_of_it_goes_on_bitwise(tmp_path: Path, name: str, stop: int) -> None:
    """Stopped while a group is frozen, or after."""
    changes: dict[str, Any] = {"adamw": {"betas": (0.8, 0.99)}, "sgd": {"nesterov": True}}.get(name, {})
    settings = training(
        name, min_lr=0.01, weight_decay_end=0.1, clip_norm=2.0, clip_scope="parameter", **changes,
        groups=(ParamGroup(match="4.*", freeze_epochs=2), ParamGroup(match="0.*", constant_lr=True)),
    )  # fmt: skip

    def run(net: nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
        for number in numbers:
            take_step(net, optimizer, settings, number)

    whole, first, second = network(), network(), network()
    run(whole, build_optimizer(whole, settings), range(16))
    stopped, resumed = build_optimizer(first, settings), build_optimizer(second, settings)
    run(first, stopped, range(stop))
    Checkpoint(tmp_path, "key").save(first, stopped, scaler(), TrainingProgress([{"epoch": 1}]))
    Checkpoint(tmp_path, "key").resume(second, resumed, scaler())
    run(second, resumed, range(stop, 16))

    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))
