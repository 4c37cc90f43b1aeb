"""LARS follows google-research/simclr lars_optimizer.py; groups are by dimension; lr by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.contracts.recipe import Training
from bench.pretraining import optimizers as optim
from bench.pretraining.optimizers import LARS, build_optimizer
from bench.pretraining.schedules import lr_factor, set_lr

RATES = (0.1, 0.4, 0.9, 0.5, 0.05)  # a learning rate that changes at every step


class OddNorm(nn.Module):
    """A norm layer that no list of names knows, with a scalar beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.offset = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (x - x.mean(dim=0)) * self.gain + self.offset


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), OddNorm(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))


def training(optimizer: str = "lars", **changes: Any) -> Training:
    values = {
        "epochs": 10,
        "batch_size": 8,
        "image_size": 32,
        "precision": "float32",
        "optimizer": optimizer,
        "lr": 0.5,
        "weight_decay": 0.01,
        "momentum": 0.9,
        "warmup_epochs": 1.0,
    }
    return Training(**{**values, **changes})


def gradients(net: nn.Module, step: int) -> None:
    """Give every parameter a gradient that depends on the step and on where it is."""
    generator = torch.Generator().manual_seed(step)
    for p in net.parameters():
        p.grad = torch.randn(p.shape, generator=generator) + 0.1 * p.detach()


def google_lars(
    w: list[float], grads: Sequence[list[float]], rates: Sequence[float], decay: float, *, adapt: bool = True
) -> list[float]:
    """Return `w` after a step a gradient, by apply_gradients of lars_optimizer.py, number by number."""
    v = [0.0] * len(w)
    for grad, lr in zip(grads, rates, strict=True):
        g = [a + decay * b for a, b in zip(grad, w, strict=True)]
        w_norm, g_norm = math.sqrt(sum(a * a for a in w)), math.sqrt(sum(a * a for a in g))
        ratio = 0.001 * w_norm / g_norm if adapt and w_norm > 0 and g_norm > 0 else 1.0
        v = [0.9 * a + lr * ratio * b for a, b in zip(v, g, strict=True)]
        w = [a - b for a, b in zip(w, v, strict=True)]
    return w


def outside_lars(w: Tensor, grads: Sequence[Tensor], rates: Sequence[float], decay: float) -> Tensor:
    """Return `w` by the form of facebookresearch/vicreg: the learning rate outside of the buffer."""
    v = torch.zeros_like(w)
    for grad, lr in zip(grads, rates, strict=True):
        g = grad + decay * w
        v = 0.9 * v + 0.001 * w.norm() / g.norm() * g
        w = w - lr * v
    return w


def stepped(w: Tensor, grads: Sequence[Tensor], rates: Sequence[float], decay: float) -> Tensor:
    """Return `w` after our LARS."""
    p = nn.Parameter(w.clone())
    optimizer = LARS([p], lr=1.0, momentum=0.9, weight_decay=decay)
    for grad, lr in zip(grads, rates, strict=True):
        p.grad = grad.clone()
        set_lr(optimizer, lr)
        optimizer.step()
    return p.detach()


def case() -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 4, generator=generator), [torch.randn(5, 4, generator=generator) for _ in RATES]


@pytest.mark.parametrize("decay", [0.0, 1e-6, 0.1])
def test_lars_is_googles_in_plain_loops(decay: float) -> None:
    w, grads = case()
    wanted = google_lars(w.flatten().tolist(), [g.flatten().tolist() for g in grads], RATES, decay)

    torch.testing.assert_close(stepped(w, grads, RATES, decay).flatten(), torch.tensor(wanted))


def test_lars_has_the_learning_rate_inside_its_momentum() -> None:
    w, grads = case()
    found, constant = stepped(w, grads, RATES, 0.0), [0.3] * len(RATES)

    assert not torch.allclose(found, outside_lars(w, grads, RATES, 0.0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        stepped(w, grads, constant, 0.0), outside_lars(w, grads, constant, 0.0), rtol=1e-5, atol=1e-6
    )


def test_lars_adapts_without_weight_decay_too() -> None:
    w = torch.full((2, 2), 3.0)
    moved = w - stepped(w, [torch.full((2, 2), 2.0)], [1.0], 0.0)

    torch.testing.assert_close(moved, torch.full((2, 2), 0.001 * 3.0))


@pytest.mark.parametrize(("weight", "gradient"), [(0.0, 2.0), (3.0, 0.0), (0.0, 0.0)])
def test_lars_takes_a_plain_step_where_a_norm_is_zero(weight: float, gradient: float) -> None:
    w = torch.full((2, 2), weight)
    found = stepped(w, [torch.full((2, 2), gradient)] * 3, [0.5] * 3, 0.0)
    wanted = google_lars([weight] * 4, [[gradient] * 4] * 3, [0.5] * 3, 0.0)

    torch.testing.assert_close(found.flatten(), torch.tensor(wanted))
    assert bool(found.isfinite().all())


def test_lars_leaves_a_parameter_without_gradient_alone() -> None:
    used, idle = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = LARS([used, idle], lr=1.0, weight_decay=0.1)
    used.grad = torch.ones(2, 2)
    optimizer.step()

    assert torch.equal(idle, torch.ones(2, 2))
    assert not torch.equal(used, torch.ones(2, 2))


def test_lars_takes_one_parameter_at_a_time_as_it_takes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at a time is how it is on a GPU."""

    def after(net: nn.Module) -> list[Tensor]:
        optimizer = build_optimizer(net, training("lars"))
        for step in range(4):
            gradients(net, step)
            optimizer.step()
        return [p.detach() for p in net.parameters()]

    single = after(network())
    monkeypatch.setattr(optim, "_taken_together", lambda params: [params])

    assert all(torch.equal(a, b) for a, b in zip(single, after(network()), strict=True))


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_a_fused_step_has_the_numbers_of_one_that_is_not(
    name: str, kind: type[torch.optim.Optimizer]
) -> None:
    """Of both, whether or not the fused one is what a CPU gets."""
    ours, plain, fused = network(), network(), network()
    made = build_optimizer(ours, training(name))
    settings = {key: made.defaults[key] for key in ("lr", "momentum", "betas", "eps") if key in made.defaults}
    alone = kind(groups_like(plain, made), **settings, foreach=False)
    at_once = kind(groups_like(fused, made), **settings, fused=True)
    for step in range(5):
        for net, optimizer in ((ours, made), (plain, alone), (fused, at_once)):
            gradients(net, step)
            optimizer.step()

    for net in (ours, fused):
        for a, b in zip(net.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def groups_like(net: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the groups of `optimizer` with the parameters of `net`, which are as those in their order."""
    kinds = ([p for p in net.parameters() if p.ndim > 1], [p for p in net.parameters() if p.ndim <= 1])
    return [
        {"params": params, "weight_decay": group["weight_decay"]}
        for params, group in zip(kinds, optimizer.param_groups, strict=True)
    ]


@pytest.mark.parametrize(("name", "fused"), [("sgd", None), ("adamw", True)])
def test_a_cpu_gets_the_fused_optimizer_that_is_faster_there(name: str, fused: bool | None) -> None:  # noqa: FBT001
    assert build_optimizer(network(), training(name)).defaults["fused"] is fused


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_device_without_fused_optimizers_gets_the_others(name: str) -> None:
    assert build_optimizer(network().to("meta"), training(name)).defaults["fused"] is None


def test_lars_refuses_a_closure() -> None:
    with pytest.raises(ValueError, match="LARS: a closure was given"):
        LARS([nn.Parameter(torch.ones(1))], lr=1.0).step(lambda: 0.0)


@pytest.mark.parametrize("name", ["lars", "sgd", "adamw"])
def test_a_stopped_optimizer_goes_on_bitwise(name: str) -> None:
    def run(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            gradients(net, step)
            set_lr(optimizer, RATES[step])
            optimizer.step()

    whole, first, second = network(), network(), network()
    run(whole, build_optimizer(whole, training(name)), range(5))
    stopped = build_optimizer(first, training(name))
    run(first, stopped, range(2))
    second.load_state_dict(first.state_dict())
    resumed = build_optimizer(second, training(name))
    resumed.load_state_dict(stopped.state_dict())
    run(second, resumed, range(2, 5))

    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_lars_excludes_parameters_of_one_dimension_whatever_they_are_called() -> None:
    net = network()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = build_optimizer(net, training("lars", lr=0.5, weight_decay=0.1))
    grads: dict[str, list[Tensor]] = {name: [] for name in before}
    for step in range(4):
        gradients(net, step)
        for name, p in net.named_parameters():
            assert p.grad is not None
            grads[name].append(p.grad.clone())
        optimizer.step()

    for name, p in net.named_parameters():
        many = p.ndim > 1
        wanted = google_lars(
            before[name].flatten().tolist(),
            [g.flatten().tolist() for g in grads[name]],
            [0.5] * 4,
            decay=0.1 if many else 0.0,
            adapt=many,
        )
        torch.testing.assert_close(
            p.detach().flatten(), torch.tensor(wanted), msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("name", ["lars", "sgd", "adamw"])
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


@pytest.mark.parametrize("name", ["lars", "sgd", "adamw"])
def test_each_parameter_is_in_one_group_once_and_what_is_frozen_in_none(name: str) -> None:
    net = network()
    net.append(net[0])  # shared: reached by two paths
    net[2].requires_grad_(requires_grad=False)
    optimizer = build_optimizer(net, training(name))
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]

    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in net.parameters() if p.requires_grad}
    assert id(net[2].weight) not in held


@pytest.mark.parametrize(
    ("name", "kind"), [("lars", LARS), ("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)]
)
def test_the_optimizer_asked_for_is_built_with_its_numbers(name: str, kind: type) -> None:
    optimizer = build_optimizer(network(), training(name, lr=0.3, momentum=0.8))

    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {0.3}
    assert all(group.get("momentum", 0.8) == 0.8 for group in optimizer.param_groups)


def test_setting_the_learning_rate_sets_it_in_every_group() -> None:
    optimizer = build_optimizer(network(), training())
    set_lr(optimizer, 0.125)

    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]


# ---- the schedule


def test_the_warm_up_is_linear_and_its_first_step_is_not_lost() -> None:
    assert [lr_factor(step, 100, 10) for step in range(10)] == pytest.approx(
        [(i + 1) / 10 for i in range(10)]
    )


def test_after_the_warm_up_it_is_half_a_cosine_from_one_to_zero() -> None:
    for step in range(10, 101):
        wanted = 0.5 * (1 + math.cos(math.pi * (step - 10) / 90))

        assert lr_factor(step, 100, 10) == pytest.approx(wanted)
    assert lr_factor(10, 100, 10) == 1
    assert lr_factor(55, 100, 10) == pytest.approx(0.5)
    assert lr_factor(100, 100, 10) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("warmup", [0, 0.4, 1, 2.5, 10, 33.3])
def test_it_rises_to_one_and_falls_without_a_jump(warmup: float) -> None:
    factors = [lr_factor(step, 100, warmup) for step in range(100)]
    top = factors.index(max(factors))

    assert max(factors) == pytest.approx(1, abs=1e-3)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert max(abs(a - b) for a, b in pairwise(factors)) < max(0.03, 1.01 / max(warmup, 1))
    assert factors[0] > 0
    assert factors[-1] < 0.01


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_runs_learn_at_every_step(steps: int) -> None:
    factors = [lr_factor(step, steps, 0.1 * steps) for step in range(steps)]

    assert all(0 < factor <= 1 for factor in factors)
    assert factors[0] == 1
