"""ReSSL's loss is that of its authors, call by call."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tiny_training
import torch
import torch.nn.functional as F
from kept_state import largest_difference, state_after, state_after_a_stop
from sines import exactly, figures, sine, units
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Step
from bench.nn.shares import in_shares
from bench.registry.registry import Registry
from bench.testing import check_method

ReSSL = Registry.load().load_class("methods", "ressl")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))
SMALL = {"hidden_dim": 16, "embedding_dim": 6, "queue_size": 16}


def net(stride: int = 8) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=stride), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return ReSSL(net(), 6, ReSSL.Config(**{**SMALL, **config}), DATA)


def method_with(queue: Tensor, **config: Any) -> Any:
    """Return a method in float64 with that queue."""
    ressl = method(queue_size=len(queue), embedding_dim=queue.shape[1], **config).double()
    ressl.queue.rows = queue.clone()
    ressl.queue.filled.fill_(len(queue))
    return ressl


def pair(strong: Tensor, weak: Tensor) -> dict[str, Tensor]:
    return {"strong": strong, "weak": weak}


def shares(row: list[float], rows: list[list[float]], temperature: float) -> list[float]:
    """Return the softmax of the cosines of a row with unit rows."""
    length = math.sqrt(sum(x * x for x in row))
    cosines = [sum(x * y for x, y in zip(row, other, strict=True)) / length for other in rows]
    exps = [math.exp(cosine / temperature) for cosine in cosines]
    return [e / sum(exps) for e in exps]


def plain_loss(strong: Tensor, weak: Tensor, queue: Tensor, of_s: float, of_t: float) -> float:
    """Return the mean cross-entropy of the two distributions over the queue, number by number."""
    total, rows = 0.0, queue.tolist()
    for s, t in zip(strong.tolist(), weak.tolist(), strict=True):
        pairs = zip(shares(t, rows, of_t), shares(s, rows, of_s), strict=True)
        total -= sum(target * math.log(share) for target, share in pairs)
    return total / len(strong)


@pytest.mark.parametrize(("n", "d", "size"), [(2, 3, 4), (7, 4, 9), (20, 6, 33)])
@pytest.mark.parametrize(("of_s", "of_t"), [(0.1, 0.04), (0.5, 0.3)])
def test_the_loss_is_the_papers_in_plain_loops(n: int, d: int, size: int, of_s: float, of_t: float) -> None:
    strong, weak, queue = sine(0, n, d), sine(1, n, d), units(9, size, d)
    ressl = method_with(queue, temperature=of_s, target_temperature=of_t)
    expected = plain_loss(strong, weak, queue, of_s, of_t)

    assert float(ressl.terms(pair(strong, weak), NONE)["relation"]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("shape", "size", "of_t", "losses", "gradients", "queue"),
    [
        (
            (8, 6), 16, 0.05, (5.47817671334, 6.47421352331, 5.00334492418),
            [
                (0.467309278001, 5.32682500183, -0.225068334633, -0.098574071598),
                (0.557089909604, 6.53479472571, 0.275449447737, -0.96962934629),
                (2.05533867853, 11.92403515, 0.462525189061, 0.0812683252986),
            ],
            (0.982977568398, 16.0, -0.596652976259, 0.650539282503),
        ),
        (
            (32, 16), 64, 0.04, (6.44587487024, 6.63402230698),
            [
                (-0.158576971488, 0.349056582231, -0.0265658361499, -0.0183715022235),
                (0.0092200132257, 0.343813037173, 0.0179616851849, 0.0503716933431),
            ],
            (0.628898410191, 64.0, 0.381506956194, -0.205864315409),
        ),
    ],
)  # fmt: skip
def test_all_calls_are_those_of_the_authors_code(
    shape: tuple[int, int], size: int, of_t: float, losses: Any, gradients: Any, queue: Any
) -> None:
    # mingkai-zheng/ReSSL 4d67daaa network/ressl.py, ressl.py, temperature of the student 0.1
    ressl = method_with(units(9, size, shape[1]), target_temperature=of_t)
    for call, (value, gradient) in enumerate(zip(losses, gradients, strict=True)):
        strong, weak = sine(2 * call, *shape).requires_grad_(), sine(2 * call + 1, *shape).requires_grad_()
        loss = ressl.terms(pair(strong, weak), NONE)["relation"]
        loss.backward()
        ressl.after_batch(pair(strong.detach(), weak.detach()), NONE)

        assert float(loss.detach()) == pytest.approx(value, rel=1e-10)
        assert figures(strong.grad) == exactly(*gradient)
        assert weak.grad is None
    assert figures(ressl.queue.rows) == exactly(*queue)


def test_collapsed_embeddings_have_a_higher_loss_than_spread_ones() -> None:
    spread, alike = torch.eye(16).double(), torch.ones(16, 16).double()
    losses = []
    for z in (spread, alike):
        ressl = method_with(F.normalize(z, dim=1))
        losses.append(float(ressl.terms(pair(z, z), NONE)["relation"]))

    assert losses[0] < 0.01
    assert losses[1] == pytest.approx(math.log(16))


def test_the_loss_is_never_below_the_entropy_of_the_target_which_is_watched() -> None:
    ressl = method_with(units(9, 16, 6), temperature=0.1, target_temperature=0.1)
    z, other = pair(sine(0, 8, 6), sine(0, 8, 6)), pair(sine(1, 8, 6), sine(0, 8, 6))
    entropy = float(ressl.monitors(z, NONE)["target_entropy"])

    assert float(ressl.terms(z, NONE)["relation"]) == pytest.approx(entropy, rel=1e-9)
    assert float(ressl.terms(other, NONE)["relation"]) > entropy
    assert float(
        method_with(torch.ones(16, 6).double()).monitors(z, NONE)["target_entropy"]
    ) == pytest.approx(math.log(16))


def test_the_loss_does_not_depend_on_the_length_of_a_row() -> None:
    ressl, scale = method_with(units(9, 16, 6)), torch.linspace(0.1, 9, 8).unsqueeze(1)
    z, longer = (pair(s * sine(0, 8, 6), s * sine(1, 8, 6)) for s in (1, scale))
    once, again = (float(ressl.terms(some, NONE)["relation"]) for some in (z, longer))

    assert once == pytest.approx(again, rel=1e-9)


def test_places_of_the_queue_that_nothing_came_to_yet_have_no_part() -> None:
    strong, weak, queue = sine(0, 7, 4), sine(1, 7, 4), units(9, 5, 4)
    full, large = method_with(queue), method(queue_size=64, embedding_dim=4).double()
    large.queue.enqueue(queue)
    losses = [float(ressl.terms(pair(strong, weak), NONE)["relation"]) for ressl in (full, large)]
    entropies = [float(ressl.monitors(pair(strong, weak), NONE)["target_entropy"]) for ressl in (full, large)]

    assert losses[1] == pytest.approx(losses[0], rel=1e-12)
    assert losses[0] == pytest.approx(plain_loss(strong, weak, queue, 0.1, 0.04), rel=1e-9)
    assert entropies[1] == pytest.approx(entropies[0], rel=1e-12)


def test_the_first_step_has_nothing_to_be_similar_to_and_moves_nothing() -> None:
    strong = sine(0, 6, 6).requires_grad_()
    loss = method().double().terms(pair(strong, sine(1, 6, 6)), NONE)["relation"]
    loss.backward()

    assert torch.isfinite(loss.detach())
    assert strong.grad is not None
    assert not strong.grad.any()


# ---- the target


def views(n: int = 6) -> list[Tensor]:
    return list(torch.randn(2, n, 3, 32, 32, generator=torch.Generator().manual_seed(0)))


def batch(n: int) -> Batch:
    order = torch.rand(n, generator=torch.Generator().manual_seed(7))
    return Batch(torch.arange(n), torch.arange(n), {"order": order})


def test_the_target_sees_the_weak_view_takes_no_gradient_and_is_a_copy_at_first() -> None:
    ressl = method(share_size=0)
    found = ressl.embed(views(), batch(6))
    ressl.terms(found, NONE)["relation"].backward()
    online = [*ressl.backbone.parameters(), *ressl.projector.parameters()]

    torch.testing.assert_close(found["weak"], method().target(views()[1]))
    assert not any(p.requires_grad or p.grad is not None for p in ressl.target.parameters())
    assert not found["weak"].requires_grad
    assert all(p.grad is not None for p in online)
    assert all(map(torch.equal, ressl.target.parameters(), online))


@pytest.mark.parametrize(("settings", "momentum"), [({}, 0.99), ({"momentum": 0.999}, 0.999)])
def test_the_target_moves_by_one_momentum_from_first_to_last(
    settings: dict[str, float], momentum: float
) -> None:
    # mingkai-zheng/ReSSL keeps it as it is
    ressl = method(**settings).double()
    before = [p.clone() for p in ressl.target.parameters()]
    online = [*ressl.backbone.parameters(), *ressl.projector.parameters()]
    with torch.no_grad():
        for p in online:
            p.add_(1)
    ressl.after_step(Step(number=999, total=1000))

    for now, old, new in zip(ressl.target.parameters(), before, online, strict=True):
        assert torch.allclose(now, momentum * old + (1 - momentum) * new, rtol=0, atol=1e-11)


def test_strong_and_weak_views_have_other_shares() -> None:
    found, one = method(share_size=2).embed(views(), batch(6)), method()
    online = nn.Sequential(one.backbone, one.projector)
    weak = in_shares(one.target, views()[1], 2, batch(6).draws["order"])

    torch.testing.assert_close(found["strong"], in_shares(online, views()[0], 2))
    torch.testing.assert_close(found["weak"], weak)
    assert not torch.allclose(found["weak"], in_shares(method().target, views()[1], 2))


def test_the_order_is_drawn_for_each_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (method().draw(6, generator)["order"] for _ in range(2))

    assert first.shape == (6,)
    assert not torch.equal(first, second)


# ---- what is kept


@pytest.mark.parametrize("changes", [{}, {"chunk_size": 4}])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    def make() -> Any:
        return ReSSL(net(stride=4), 6, ReSSL.Config(**SMALL, share_size=3), DATA)

    torch.manual_seed(0)
    whole = state_after(make, tmp_path / "whole", **changes)
    torch.manual_seed(0)
    stopped = state_after_a_stop(make, tmp_path / "stopped", **changes)

    assert int(whole["queue.place"]) == 12 * 10 % 16
    assert all(torch.equal(value, stopped[name]) for name, value in whole.items())


def test_in_chunks_it_keeps_what_it_keeps_of_the_whole_batch(tmp_path: Path) -> None:
    def make() -> Any:
        torch.manual_seed(0)
        return ReSSL(tiny_training.net(), 6, ReSSL.Config(**SMALL), DATA)  # without batch norm

    whole = state_after(make, tmp_path / "whole")
    chunked = state_after(make, tmp_path / "chunked", chunk_size=4)

    assert largest_difference(whole, chunked) < 1e-4
    assert largest_difference(whole, make().state_dict()) > 1e-2


# ---- what it is made with


@pytest.mark.long
def test_ressl_keeps_the_contract() -> None:
    small = ReSSL.Config(hidden_dim=32, embedding_dim=16, queue_size=20, share_size=4)
    check_method(ReSSL, "ressl", small)


def test_the_head_is_two_layers_without_a_norm() -> None:
    assert [type(part) for part in method().projector] == [nn.Linear, nn.ReLU, nn.Linear]


@pytest.mark.parametrize("size", [224, 32])
def test_only_the_strong_view_has_colours_and_blur(size: int) -> None:
    strong, weak = ReSSL.views(ReSSL.Config(), DATA, size)

    assert (strong.crop_min, weak.crop_min, strong.flip, weak.flip) == (0.2, 0.2, 0.5, 0.5)
    assert (strong.brightness, strong.contrast, strong.saturation, strong.hue) == (0.4, 0.4, 0.4, 0.1)
    assert (strong.jitter, strong.grey, strong.blur, strong.solarise) == (0.8, 0.2, 0.5, 0.0)
    assert (weak.jitter, weak.grey, weak.blur, weak.solarise) == (0.0, 0.0, 0.0, 0.0)


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(ReSSL.Config()) == {
        "temperature": 0.1,
        "target_temperature": 0.04,
        "momentum": 0.99,
        "queue_size": 4096,
        "share_size": 32,
        "hidden_dim": 2048,
        "embedding_dim": 128,
    }


@pytest.mark.parametrize(
    ("size", "lr", "weight_decay"), [(32, 0.06, 5e-4), (64, 0.06, 5e-4), (224, 0.05, 1e-4)]
)
def test_every_number_of_the_recipe_is_pinned(size: int, lr: float, weight_decay: float) -> None:
    recipe = ReSSL.recipe_for(ReSSL.Config(), DATA, size)

    assert (recipe.optimizer, recipe.lr, recipe.lr_scaling) == ("sgd", lr, "linear")
    assert (recipe.weight_decay, recipe.momentum, recipe.warmup_epochs) == (weight_decay, 0.9, 5)
