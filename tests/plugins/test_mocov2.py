"""MoCo v2's loss is that of its authors, call by call, and so is its network of keys."""

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

from bench.contracts.backbone import BackboneInfo
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Step
from bench.errors import BadValue
from bench.nn.shares import in_shares
from bench.registry.registry import Registry
from bench.testing import check_method

MoCoV2 = Registry.load().load_class("methods", "mocov2")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
SMALL = {"hidden_dim": 16, "embedding_dim": 6, "queue_size": 16}


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=8), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return MoCoV2(net(), 6, MoCoV2.Config(**{**SMALL, **config}), DATA)


def method_with(queue: Tensor, **config: Any) -> Any:
    """Return a method in float64 with that queue."""
    moco = method(queue_size=len(queue), embedding_dim=queue.shape[1], **config).double()
    moco.queue.rows = queue.clone()
    return moco


def batch(epoch: int = 0, n: int = 0) -> Batch:
    draws = {"order": torch.rand(n, generator=torch.Generator().manual_seed(7))}
    return Batch(torch.arange(n), torch.arange(n), draws, Step(epoch=epoch, epochs=20))


def pair(q: Tensor, k: Tensor) -> dict[str, Tensor]:
    return {"a": q, "key_b": k}


def unit(row: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def dot(one: list[float], other: list[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))


def plain_loss(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> float:
    """Return the mean cross-entropy of queries with their keys among the queue, number by number."""
    total = 0.0
    for query, key in zip(queries.tolist(), keys.tolist(), strict=True):
        q = unit(query)
        own = math.exp(dot(q, unit(key)) / temperature)
        others = sum(math.exp(dot(q, row) / temperature) for row in queue.tolist())
        total -= math.log(own / (own + others))
    return total / len(queries)


@pytest.mark.parametrize(("n", "d", "size"), [(2, 3, 4), (7, 4, 9), (20, 6, 33)])
@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_the_loss_is_the_papers_in_plain_loops(n: int, d: int, size: int, temperature: float) -> None:
    q, k, queue = sine(0, n, d), sine(1, n, d), units(5, size, d)
    loss = method_with(queue, temperature=temperature).terms(pair(q, k), batch())["contrastive"]

    assert float(loss) == pytest.approx(plain_loss(q, k, queue, temperature), rel=1e-9)


def test_the_gradient_is_that_of_the_plain_loss() -> None:
    q, k, queue = sine(0, 5, 4).requires_grad_(), sine(1, 5, 4), units(5, 9, 4)
    method_with(queue).terms(pair(q, k), batch())["contrastive"].backward()
    for row, column in ((0, 0), (2, 1), (4, 3)):
        step = torch.zeros(5, 4).double()
        step[row, column] = 1e-6
        up, down = (plain_loss((q + sign * step).detach(), k, queue, 0.1) for sign in (1, -1))

        assert float(q.grad[row, column]) == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-8)


def test_three_calls_are_those_of_the_authors_code() -> None:
    # facebookresearch/moco 132aea9d moco/builder.py, temperature 0.07, queue of 16, batches of 8
    moco = method_with(units(5, 16, 6), temperature=0.07)
    losses, gradients = [], []
    for call in range(3):
        q, k = sine(10 + 2 * call, 8, 6).requires_grad_(), sine(11 + 2 * call, 8, 6)
        loss = moco.terms(pair(q, k), batch())["contrastive"]
        loss.backward()
        moco.after_batch(pair(q.detach(), k), batch())
        losses.append(float(loss.detach()))
        gradients.append(figures(q.grad))

    assert losses == exactly(6.93810465863, 6.90234699999, 6.8157656428)
    assert gradients[0] == exactly(2.90206737984, 11.4641779508, 0.289869502856, 0.184682076479)
    assert gradients[1] == exactly(3.75354266358, 8.13636145505, -0.370624969746, 0.166358385828)
    assert gradients[2] == exactly(4.91629268777, 11.8408242561, -0.636734676069, -0.392087393999)
    assert figures(moco.queue.rows) == exactly(-2.98464078086, 16.0, 0.396997693913, -0.450139453123)
    assert int(moco.queue.place) == 8


def test_a_symmetric_loss_is_the_sum_of_both_directions_and_both_keys_are_kept() -> None:
    queue = units(5, 16, 6)
    z = {"a": sine(0, 4, 6), "b": sine(1, 4, 6), "key_a": sine(2, 4, 6), "key_b": sine(3, 4, 6)}
    moco = method_with(queue, symmetric=True)
    expected = plain_loss(z["a"], z["key_b"], queue, 0.1) + plain_loss(z["b"], z["key_a"], queue, 0.1)

    assert float(moco.terms(z, batch())["contrastive"]) == pytest.approx(expected, rel=1e-9)
    moco.after_batch(z, batch())
    torch.testing.assert_close(moco.queue.rows[:4], F.normalize(z["key_a"], dim=1))
    torch.testing.assert_close(moco.queue.rows[4:8], F.normalize(z["key_b"], dim=1))
    assert list(method(symmetric=True).embed(views(), batch(n=6))) == ["a", "key_b", "b", "key_a"]


def test_collapsed_embeddings_have_a_higher_loss_than_spread_ones() -> None:
    spread, alike = torch.eye(16).double(), torch.ones(16, 16).double()
    losses = []
    for z in (spread, alike):
        moco = method_with(F.normalize(z.roll(3, 0) if z is alike else -z, dim=1))
        losses.append(float(moco.terms(pair(z, z), batch())["contrastive"]))

    assert losses[0] < 0.1
    assert losses[1] == pytest.approx(math.log(17))


def test_the_loss_does_not_depend_on_the_length_of_a_row() -> None:
    moco, scale = method_with(units(5, 16, 6)), torch.linspace(0.1, 9, 8).double().unsqueeze(1)
    q, k = sine(0, 8, 6), sine(1, 8, 6)
    once, again = (float(moco.terms(pair(s * q, s * k), batch())["contrastive"]) for s in (1, scale))

    assert once == pytest.approx(again, rel=1e-9)


def test_the_monitor_is_the_share_of_queries_that_find_their_key_among_the_queue() -> None:
    moco = method_with(torch.eye(4).double())
    q = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 3, 1], [1, 1, 1, 1]]).double()
    k = torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [1, 1, 1, 0]]).double()

    assert float(moco.monitors(pair(q, k), batch())["queue_top1"]) == 50  # the second and the last


# ---- the key network


def online(moco: Any) -> nn.Sequential:
    return nn.Sequential(moco.backbone, moco.projector)


def views(n: int = 6) -> list[Tensor]:
    return list(torch.randn(2, n, 3, 32, 32, generator=torch.Generator().manual_seed(0)))


def test_the_key_network_takes_no_gradient_and_is_a_copy_at_first() -> None:
    moco = method()
    embeddings = moco.embed(views(), batch(n=6))
    sum(moco.terms(embeddings, batch()).values()).backward()
    online = [*moco.backbone.parameters(), *moco.projector.parameters()]

    assert not any(p.requires_grad or p.grad is not None for p in moco.target.parameters())
    assert not embeddings["key_b"].requires_grad
    assert all(p.grad is not None for p in online)
    assert all(map(torch.equal, moco.target.parameters(), online))


@pytest.mark.parametrize("number", [0, 500, 999])
def test_the_key_network_moves_by_the_same_momentum_at_every_step(number: int) -> None:
    moco = method(momentum=0.9).double()
    before = [p.clone() for p in moco.target.parameters()]
    online = [*moco.backbone.parameters(), *moco.projector.parameters()]
    with torch.no_grad():
        for p in online:
            p.add_(1)
    moco.after_step(Step(number=number, total=1000))

    for now, old, new in zip(moco.target.parameters(), before, online, strict=True):
        assert torch.allclose(now, 0.9 * old + 0.1 * new, rtol=0, atol=1e-12)


# ---- batch norm of shares


def test_queries_and_keys_have_other_shares() -> None:
    moco, images = method(share_size=2), views(6)
    found = moco.embed(images, batch(n=6))
    a = in_shares(online(method()), images[0], 2)
    key = in_shares(method().target, images[1], 2, batch(n=6).draws["order"])

    torch.testing.assert_close(found["a"], a)
    torch.testing.assert_close(found["key_b"], key)
    assert not torch.allclose(found["key_b"], in_shares(method().target, images[1], 2))


def test_the_order_of_the_keys_is_drawn_for_each_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (method().draw(6, generator)["order"] for _ in range(2))

    assert first.shape == (6,)
    assert not torch.equal(first, second)


def test_without_shares_the_batch_has_statistics_in_common() -> None:
    found = method(share_size=0).embed(views(), batch(n=6))

    torch.testing.assert_close(found["a"], online(method())(views()[0]))


# ---- SynCo


def test_negatives_are_made_only_where_asked_for_and_after_their_warm_up() -> None:
    z, queue = pair(sine(0, 4, 6), sine(1, 4, 6)), units(2, 16, 6)
    plain = float(method_with(queue).terms(z, batch(epoch=15))["contrastive"])
    synco = method_with(queue, hard_negatives=5, synthetic_epoch=10)

    assert float(synco.terms(z, batch(epoch=9))["contrastive"]) == plain
    assert float(synco.terms(z, batch(epoch=10))["contrastive"]) > plain + 0.1


def test_the_rows_of_a_fresh_queue_have_length_1() -> None:
    torch.testing.assert_close(method(queue_size=50).queue.rows.norm(dim=1), torch.ones(50))


def test_more_of_the_nearest_than_the_queue_has_are_refused() -> None:
    with pytest.raises(BadValue, match=r"mocov2.hard_negatives: the 20 nearest of a queue of 16"):
        MoCoV2.check(MoCoV2.Config(queue_size=16, hard_negatives=20), BackboneInfo(), DATA, 32)


# ---- what is kept


@pytest.mark.parametrize("config", [{}, {"hard_negatives": 5, "synthetic_epoch": 1, "symmetric": True}])
@pytest.mark.parametrize("changes", [{}, {"chunk_size": 4}, {"accumulate": 2}])
def test_a_stopped_training_goes_on_bit_for_bit(
    tmp_path: Path, config: dict[str, Any], changes: dict[str, Any]
) -> None:
    usual = {**SMALL, "share_size": 3, "synthetic": (2, 2, 2, 2, 2, 2), **config}

    def make() -> Any:
        return MoCoV2(net_of_eight(), 6, MoCoV2.Config(**usual), DATA)

    torch.manual_seed(0)
    whole = state_after(make, tmp_path / "whole", **changes)
    torch.manual_seed(0)
    stopped = state_after_a_stop(make, tmp_path / "stopped", **changes)

    assert int(whole["queue.place"]) == (24 if config.get("symmetric") else 12) * 10 % 16
    assert all(torch.equal(value, stopped[name]) for name, value in whole.items())


def net_of_eight() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=4), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


@pytest.mark.parametrize("chunk_size", [3, 7])
def test_in_chunks_it_keeps_what_it_keeps_of_the_whole_batch(tmp_path: Path, chunk_size: int) -> None:
    def make() -> Any:
        torch.manual_seed(0)
        return MoCoV2(tiny_training.net(), 6, MoCoV2.Config(**SMALL), DATA)  # without batch norm

    whole = state_after(make, tmp_path / "whole")
    chunked = state_after(make, tmp_path / "chunked", chunk_size=chunk_size)

    assert largest_difference(whole, chunked) < 1e-4
    assert largest_difference(whole, make().state_dict()) > 1e-2


# ---- what it is made with


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({}, marks=pytest.mark.long),
        {"symmetric": True, "hard_negatives": 8, "synthetic_epoch": 0},
    ],
)
def test_mocov2_keeps_the_contract(config: dict[str, Any]) -> None:
    check_method(
        MoCoV2,
        "mocov2",
        MoCoV2.Config(hidden_dim=32, embedding_dim=16, queue_size=20, share_size=4, **config),
    )


def test_the_head_is_one_layer_or_two_without_a_norm() -> None:
    assert [type(part) for part in method(hidden_dim=8).projector] == [nn.Linear, nn.ReLU, nn.Linear]
    assert [type(part) for part in method(hidden_dim=0).projector] == [nn.Linear]


def test_residual_branches_are_on_in_both_networks() -> None:
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 4), nn.Unflatten(1, (4, 1, 1)), nn.BatchNorm2d(4), nn.Flatten()
    )
    nn.init.zeros_(net[3].weight)
    made = MoCoV2(net, 4, MoCoV2.Config(embedding_dim=2), DATA)
    kept = [part for part in made.modules() if isinstance(part, nn.BatchNorm2d)]

    assert len(kept) == 2
    assert all(torch.equal(part.weight, torch.ones(4)) for part in kept)


def test_views_are_those_of_the_paper_and_of_the_demo() -> None:
    large, small = (MoCoV2.views(MoCoV2.Config(), DATA, size) for size in (224, 32))

    assert [(v.crop_min, v.blur) for v in (*large, *small)] == [(0.2, 0.5)] * 2 + [(0.08, 0.0)] * 2
    for view in (*large, *small):
        assert (view.jitter, view.brightness, view.contrast, view.saturation, view.hue) == (
            0.8,
            0.4,
            0.4,
            0.4,
            0.1,
        )
        assert (view.grey, view.flip, view.solarise) == (0.2, 0.5, 0.0)


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(MoCoV2.Config()) == {
        "temperature": 0.1,
        "momentum": 0.99,
        "queue_size": 4096,
        "symmetric": False,
        "share_size": 64,
        "hidden_dim": 0,
        "embedding_dim": 128,
        "hard_negatives": 0,
        "synthetic": (256, 256, 256, 64, 64, 64),
        "synthetic_epoch": 10,
        "synthetic_step": 0.01,
    }


def test_every_number_of_the_recipes_is_pinned() -> None:
    large, small = (MoCoV2.recipe_for(MoCoV2.Config(), DATA, size) for size in (224, 32))

    for recipe, decay in ((large, 1e-4), (small, 5e-4)):
        assert (recipe.optimizer, recipe.lr, recipe.lr_scaling) == ("sgd", 0.03, "linear")
        assert (recipe.weight_decay, recipe.momentum, recipe.warmup_epochs) == (decay, 0.9, 0)
