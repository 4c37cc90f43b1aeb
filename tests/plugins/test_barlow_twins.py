"""Barlow Twins' loss is that of its authors, and sees neither scale nor shift of a dimension."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from sines import exactly, figures, sine
from slopes import slopes
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch
from bench.contracts.recipe import ParamGroup
from bench.registry.registry import Registry
from bench.testing import check_method

BarlowTwins = Registry.load().load_class("methods", "barlow_twins")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return BarlowTwins(net(), 6, BarlowTwins.Config(**{"embedding_dim": 8, **config}), DATA)


def loss_of(a: Tensor, b: Tensor, **config: Any) -> Tensor:
    total: Tensor = sum(method(**config).terms({"a": a, "b": b}, NONE).values())
    return total


def plain_loss(a: Tensor, b: Tensor, weight: float) -> float:
    """Return the squared differences of the correlations from the identity's, number by number."""

    def column(z: Tensor, j: int) -> list[float]:
        values = [row[j] for row in z.tolist()]
        mean = sum(values) / len(values)
        variance = sum((x - mean) ** 2 for x in values) / len(values)
        return [(x - mean) / math.sqrt(variance + 1e-5) for x in values]

    n, d = a.shape
    total = 0.0
    for i in range(d):
        for j in range(d):
            c = sum(x * y for x, y in zip(column(a, i), column(b, j), strict=True)) / n
            total += (1 - c) ** 2 if i == j else weight * c**2
    return total


@pytest.mark.parametrize(("n", "d"), [(3, 2), (9, 4)])
def test_loss_and_gradient_are_the_papers_in_plain_loops(n: int, d: int) -> None:
    a, b = torch.randn(2, n, d, generator=torch.Generator().manual_seed(n)).double().unbind()
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    loss = loss_of(a, b, redundancy=0.1)
    loss.backward()
    by_a, by_b = (slopes(lambda: plain_loss(a.detach(), b.detach(), 0.1), z.detach()) for z in (a, b))

    assert float(loss.detach()) == pytest.approx(plain_loss(a.detach(), b.detach(), 0.1), rel=1e-9)
    torch.testing.assert_close(a.grad, by_a, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(b.grad, by_b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("shape", "weight", "value", "a_grad", "b_grad"),
    [
        (
            (8, 6), 0.0051, 1.63666887211,
            (0.0, 1.38834191199, -0.244941646535, 0.0169994940458),
            (0.0, 1.07402178193, 0.0948999185625, 0.26083759678),
        ),
        (
            (33, 16), 0.05, 9.2604724296,
            (0.0, 0.786173906832, -0.044308050863, -0.0291784739717),
            (0.0, 0.81177456817, 0.0398221648364, 0.0341510170725),
        ),
    ],
)  # fmt: skip
def test_value_and_gradient_are_those_of_the_authors_code(
    shape: tuple[int, int], weight: float, value: float, a_grad: Any, b_grad: Any
) -> None:
    # facebookresearch/barlowtwins 8e8d284c main.py BarlowTwins.forward
    a, b = (sine(stream, *shape).requires_grad_() for stream in (0, 1))
    loss = loss_of(a, b, redundancy=weight)
    loss.backward()

    assert float(loss.detach()) == pytest.approx(value, rel=1e-10)
    assert figures(a.grad) == exactly(*a_grad)
    assert figures(b.grad) == exactly(*b_grad)


def test_batch_norms_constant_moves_the_papers_loss_by_less_than_a_ten_thousandth() -> None:
    assert float(loss_of(sine(0, 8, 6), sine(1, 8, 6), redundancy=0.0051)) == pytest.approx(
        1.63661532267, rel=1e-4
    )


def test_solo_learns_loss_is_a_tenth_of_it() -> None:
    # vturrisi/solo-learn 9187ea39 solo/losses/barlow.py, lamb 0.005, scale_loss 0.1
    assert float(loss_of(sine(0, 33, 16), sine(1, 33, 16))) == pytest.approx(10 * 0.522034525694, rel=1e-10)


def test_scale_and_shift_of_a_dimension_change_nothing() -> None:
    a, b = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(0)).double().unbind()
    moved = a * torch.linspace(0.5, 9, 5) + torch.arange(5)

    assert float(loss_of(moved, b)) == pytest.approx(float(loss_of(a, b)), rel=1e-3)


def test_collapsed_embeddings_lose_to_spread_ones() -> None:
    spread = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    collapsed, one = torch.full((64, 8), 0.3), spread[:, :1].expand(64, 8)

    assert float(loss_of(collapsed, collapsed)) == pytest.approx(8)  # no correlation is 1
    assert float(loss_of(one, one, redundancy=1.0)) == pytest.approx(56, rel=1e-3)  # all are
    assert float(loss_of(spread, spread, redundancy=1.0)) < 3


def test_the_weight_is_of_the_redundancy_alone() -> None:
    a, b = sine(0, 8, 6), sine(1, 8, 6)
    once, twice = (method(redundancy=weight).terms({"a": a, "b": b}, NONE) for weight in (0.5, 1.0))

    assert once["invariance"] == twice["invariance"]
    assert float(twice["redundancy"]) == pytest.approx(2 * float(once["redundancy"]))
    assert once["redundancy"] > 0


def test_the_projector_is_the_authors_three_layers_without_a_last_norm() -> None:
    projector = BarlowTwins(net(), 512, BarlowTwins.Config(), DATA).projector
    linear = [layer for layer in projector if isinstance(layer, nn.Linear)]
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU]

    assert [type(layer) for layer in projector] == [*hidden, *hidden, nn.Linear]
    assert [tuple(layer.weight.shape) for layer in linear] == [(2048, 512), (2048, 2048), (2048, 2048)]
    assert all(layer.bias is None for layer in linear)


def test_the_two_views_are_byols_and_small_ones_are_not_blurred() -> None:
    large, small = (BarlowTwins.views(BarlowTwins.Config(), DATA, size) for size in (224, 64))

    assert [view.blur for view in large] == [1.0, 0.1]
    assert [view.blur for view in small] == [0.0, 0.0]
    assert [view.solarise for view in (*large, *small)] == [0.0, 0.2] * 2
    assert {(view.brightness, view.contrast, view.saturation, view.hue) for view in (*large, *small)} == {
        (0.4, 0.4, 0.2, 0.1)
    }


def test_every_number_of_the_papers_recipe_is_pinned_and_biases_learn_at_theirs() -> None:
    recipe = BarlowTwins.recipe

    assert (recipe.optimizer, recipe.lr, recipe.lr_scaling, recipe.min_lr) == ("lars", 0.2, "linear", 0.0002)
    assert (recipe.weight_decay, recipe.momentum, recipe.warmup_epochs) == (1.5e-6, 0.9, 10)
    assert recipe.groups == (ParamGroup(match="*", max_ndim=1, lr_factor=0.0048 / 0.2),)
    assert BarlowTwins.recipe_for(BarlowTwins.Config(), DATA, 224) == recipe


def test_small_images_have_the_authors_rate_for_batches_of_256() -> None:
    recipe = BarlowTwins.recipe_for(BarlowTwins.Config(), DATA, 64)

    assert (recipe.lr, recipe.min_lr) == (0.4, 0.0004)
    assert "issue 7" in recipe.source
    assert replace(recipe, lr=0.2, min_lr=0.0002, source=BarlowTwins.recipe.source) == BarlowTwins.recipe


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(BarlowTwins.Config()) == {"redundancy": 0.005, "embedding_dim": 2048}


@pytest.mark.long
def test_barlow_twins_keeps_the_contract() -> None:
    check_method(BarlowTwins, "barlow_twins", BarlowTwins.Config(embedding_dim=16))
