"""The optimisers: LARS as google-research/simclr has it, torch's as they are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_training import gradients, network, training

from bench.pretraining import optimizers
from bench.pretraining.optimizers import LARS, build_optimizer

RATES = (0.1, 0.4, 0.9, 0.5, 0.05)  # a learning rate that changes at every step


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


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
    expected = google_lars(w.flatten().tolist(), [g.flatten().tolist() for g in grads], RATES, decay)

    torch.testing.assert_close(stepped(w, grads, RATES, decay).flatten(), torch.tensor(expected))


def solo_lars(
    w: list[float], grads: Sequence[list[float]], lr: float, trust: float, *, clip: bool
) -> list[float]:
    """Return `w` by solo-learn's utils/lars.py, which scales gradients and leaves the rest to SGD."""
    v = [0.0] * len(w)
    for grad in grads:
        w_norm, g_norm = math.sqrt(sum(a * a for a in w)), math.sqrt(sum(a * a for a in grad))
        if w_norm > 0 and g_norm > 0:
            adaptive = trust * w_norm / g_norm
            scale = min(adaptive / lr, 1.0) if clip else adaptive
        else:
            scale = 1.0
        v = [0.9 * a + scale * b for a, b in zip(v, grad, strict=True)]
        w = [a - lr * b for a, b in zip(w, v, strict=True)]
    return w


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("lr", [1e-4, 0.02, 0.3, 5.0])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_lars_with_another_trust_is_solo_learns_in_plain_loops(
    lr: float, scale: float, *, clip: bool
) -> None:
    w, grads = case()
    p = nn.Parameter(scale * w)
    optimizer = LARS([p], lr=lr, momentum=0.9, trust=0.02, clip_trust=clip)
    for grad in grads:
        p.grad = grad.clone()
        optimizer.step()
    flat = [grad.flatten().tolist() for grad in grads]
    expected = solo_lars((scale * w).flatten().tolist(), flat, lr, 0.02, clip=clip)

    torch.testing.assert_close(p.detach().flatten(), torch.tensor(expected))


@pytest.mark.parametrize("lr", [1e-4, 5.0])
def test_a_clipped_step_is_no_longer_than_sgds_nor_than_its_share_of_the_layer(lr: float) -> None:
    w, (grad, *_) = case()
    p = nn.Parameter(w.clone())
    optimizer = LARS([p], lr=lr, momentum=0.0, trust=0.02, clip_trust=True)
    p.grad = grad.clone()
    optimizer.step()
    moved = float((p.detach() - w).norm())

    assert moved == pytest.approx(min(lr * float(grad.norm()), 0.02 * float(w.norm())), rel=1e-3)


def test_a_training_has_the_trust_of_its_recipe() -> None:
    (group, *_) = build_optimizer(network(), training("lars", trust=0.02, clip_trust=True)).param_groups

    assert (group["trust"], group["clip_trust"]) == (0.02, True)


def test_lars_has_the_learning_rate_inside_its_momentum() -> None:
    w, grads = case()
    varying, constant = stepped(w, grads, RATES, 0.0), [0.3] * len(RATES)

    assert not torch.allclose(varying, outside_lars(w, grads, RATES, 0.0), rtol=1e-5, atol=1e-6)
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
    result = stepped(w, [torch.full((2, 2), gradient)] * 3, [0.5] * 3, 0.0)
    expected = google_lars([weight] * 4, [[gradient] * 4] * 3, [0.5] * 3, 0.0)

    torch.testing.assert_close(result.flatten(), torch.tensor(expected))
    assert bool(result.isfinite().all())


def test_lars_leaves_a_parameter_without_gradient_alone() -> None:
    used, idle = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = LARS([used, idle], lr=1.0, weight_decay=0.1)
    used.grad = torch.ones(2, 2)
    optimizer.step()

    assert torch.equal(idle, torch.ones(2, 2))
    assert not torch.equal(used, torch.ones(2, 2))


def test_lars_takes_one_parameter_at_a_time_as_it_takes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at a time is how it is on a GPU."""

    def weights_after_steps(net: nn.Module) -> list[Tensor]:
        optimizer = build_optimizer(net, training("lars"))
        for step in range(4):
            gradients(net, step)
            optimizer.step()
        return [p.detach() for p in net.parameters()]

    single = weights_after_steps(network())
    monkeypatch.setattr(optimizers, "_split_for_device", lambda params: [params])

    assert all(torch.equal(a, b) for a, b in zip(single, weights_after_steps(network()), strict=True))


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_a_fused_step_has_the_numbers_of_one_that_is_not(
    name: str, kind: type[torch.optim.Optimizer]
) -> None:
    """Of both, whether or not the fused one is what a CPU gets."""
    ours, plain, fused = network(), network(), network()
    built = build_optimizer(ours, training(name))
    names = {"lr", "momentum", "betas", "eps"} & built.defaults.keys()
    settings = {key: built.defaults[key] for key in names}
    unfused = kind(groups_like(plain, built), **settings, foreach=False)
    all_fused = kind(groups_like(fused, built), **settings, fused=True)
    for step in range(5):
        for net, optimizer in ((ours, built), (plain, unfused), (fused, all_fused)):
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


@pytest.mark.parametrize(("name", "fused"), [("sgd", False), ("adamw", True)])
def test_no_momentum_is_memory_that_was_never_written(
    monkeypatch: pytest.MonkeyPatch, name: str, *, fused: bool
) -> None:
    """Torch's fused SGD leaves its momentum as it was allocated where the scaler skips the first step."""
    monkeypatch.setattr(optimizers, "FUSED", {"sgd": ("cpu",), "adamw": ("cpu",)})
    half, whole = (training(name, precision=precision) for precision in ("float16", "float32"))

    assert build_optimizer(network(), half).defaults["fused"] is fused
    assert build_optimizer(network(), whole).defaults["fused"] is True


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
        is_weight = p.ndim > 1
        expected = google_lars(
            before[name].flatten().tolist(),
            [g.flatten().tolist() for g in grads[name]],
            [0.5] * 4,
            decay=0.1 if is_weight else 0.0,
            adapt=is_weight,
        )
        torch.testing.assert_close(
            p.detach().flatten(), torch.tensor(expected), msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize(
    ("name", "kind"), [("lars", LARS), ("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)]
)
def test_the_optimizer_asked_for_is_built_with_its_numbers(name: str, kind: type) -> None:
    optimizer = build_optimizer(network(), training(name, lr=0.3, momentum=0.8))

    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {0.3}
    assert all(group.get("momentum", 0.8) == 0.8 for group in optimizer.param_groups)


@pytest.mark.parametrize(
    ("name", "kind", "changes"),
    [
        ("adamw", torch.optim.AdamW, {"betas": (0.9, 0.95)}),
        ("sgd", torch.optim.SGD, {"nesterov": True, "momentum": 0.8}),
    ],
)
def test_betas_and_nesterov_are_torchs(
    name: str, kind: type[torch.optim.Optimizer], changes: dict[str, Any]
) -> None:
    ours, theirs = network(), network()
    built = build_optimizer(ours, training(name, **changes))
    reference = kind(groups_like(theirs, built), lr=0.5, **changes)
    for step in range(3):
        for net, optimizer in ((ours, built), (theirs, reference)):
            gradients(net, step)
            optimizer.step()

    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_adamw_steps_as_the_formula_with_its_betas() -> None:
    """Loshchilov 2019, algorithm 2, with the weight decay times the learning rate, as torch has it."""
    lr, decay, (beta1, beta2), eps = 0.1, 0.01, (0.8, 0.95), 1e-8
    layer = nn.Linear(1, 1, bias=False)
    optimizer = build_optimizer(layer, training("adamw", lr=lr, weight_decay=decay, betas=(beta1, beta2)))
    w, m, v = layer.weight.item(), 0.0, 0.0
    for t, gradient in enumerate((0.3, -0.2, 0.7), start=1):
        layer.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
        w -= lr * decay * w + lr * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + eps)

    assert layer.weight.item() == pytest.approx(w, rel=1e-5)


def test_nesterov_steps_as_the_formula() -> None:
    """v <- m v + g and w <- w - lr (g + m v): Sutskever 2013 in the form of torch."""
    layer = nn.Linear(1, 1, bias=False)
    optimizer = build_optimizer(layer, training("sgd", lr=0.1, weight_decay=0.0, momentum=0.9, nesterov=True))
    w, v = layer.weight.item(), 0.0
    for gradient in (0.3, -0.2, 0.7):
        layer.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        v = 0.9 * v + gradient
        w -= 0.1 * (gradient + 0.9 * v)

    assert layer.weight.item() == pytest.approx(w, rel=1e-5)


def test_lars_gives_the_numbers_of_the_authors_code() -> None:
    """Of google-research/simclr lars_optimizer.py at 383d414, in float64."""

    def wave(stream: int, *shape: int) -> Tensor:
        entries = torch.arange(math.prod(shape), dtype=torch.float64)
        values = torch.sin(0.37 * entries + stream) * (1 + 0.5 * torch.cos(0.11 * entries + 2 * stream))
        return values.view(shape)

    layer = nn.Linear(4, 3, dtype=torch.float64)
    layer.weight.data, layer.bias.data = wave(0, 3, 4), wave(1, 4)
    optimizer = build_optimizer(layer, training("lars", weight_decay=0.01))
    for step, lr in enumerate((0.1, 0.2, 0.3, 0.25, 0.15)):
        layer.weight.grad, layer.bias.grad = wave(10 + step, 3, 4), wave(20 + step, 4)
        set_lr(optimizer, lr)
        optimizer.step()

    weights = torch.tensor([0.00108973101542, 0.541975829153, 1.00339534743, 1.31887804088])
    biases = torch.tensor([0.375077722099, 0.998687155329, 1.49210038369, 1.8041860789])
    torch.testing.assert_close(layer.weight[0].float(), weights)
    torch.testing.assert_close(layer.bias.float(), biases)
