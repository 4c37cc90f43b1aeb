"""DCL's loss has no positive in its denominator, and DCLW's weights are 1 on average."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from sines import exactly, figures, sine
from slopes import slopes
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch
from bench.contracts.recipe import ParamGroup
from bench.nn.losses import nt_xent
from bench.registry.registry import Registry
from bench.testing import check_method

DCL = Registry.load().load_class("methods", "dcl")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return DCL(net(), 6, DCL.Config(**{"hidden_dim": 16, "embedding_dim": 8, **config}), DATA)


def loss_of(a: Tensor, b: Tensor, **config: Any) -> Tensor:
    loss: Tensor = method(**config).terms({"a": a, "b": b}, NONE)["contrastive"]
    return loss


def pair(n: int, d: int) -> tuple[Tensor, Tensor]:
    a, b = torch.randn(2, n, d, generator=torch.Generator().manual_seed(n)).double().unbind()
    return a.clone(), b.clone()


def plain_loss(a: Tensor, b: Tensor, t: float, weights: list[float]) -> float:
    """Return the mean over the 2n views, number by number."""
    views = [*a.tolist(), *b.tolist()]
    n = len(a)

    def s(i: int, k: int) -> float:
        dot = sum(x * y for x, y in zip(views[i], views[k], strict=True))
        return dot / math.hypot(*views[i]) / math.hypot(*views[k])

    total = 0.0
    for i in range(2 * n):
        others = sum(math.exp(s(i, k) / t) for k in range(2 * n) if k % n != i % n)
        total += math.log(others) - weights[i % n] * s(i, (i + n) % (2 * n)) / t
    return total / (2 * n)


def plain_weights(a: Tensor, b: Tensor, sigma: float) -> list[float]:
    """Return 2 - n softmax(s / sigma), number by number."""
    cosines = [
        sum(x * y for x, y in zip(p, q, strict=True)) / math.hypot(*p) / math.hypot(*q)
        for p, q in zip(a.tolist(), b.tolist(), strict=True)
    ]
    shares = [math.exp(cosine / sigma) for cosine in cosines]
    return [2 - len(shares) * share / sum(shares) for share in shares]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "d"), [(2, 3), (6, 4)])
def test_loss_and_gradient_are_the_papers_in_plain_loops(n: int, d: int, *, weighted: bool) -> None:
    plain_a, plain_b = pair(n, d)
    a, b = plain_a.clone().requires_grad_(), plain_b.clone().requires_grad_()
    loss = loss_of(a, b, temperature=0.4, weighted=weighted, sigma=0.3)
    loss.backward()
    weights = plain_weights(plain_a, plain_b, 0.3) if weighted else [1.0] * n  # held fixed, as they should be

    assert float(loss.detach()) == pytest.approx(plain_loss(plain_a, plain_b, 0.4, weights), rel=1e-9)
    for found, z in ((a, plain_a), (b, plain_b)):
        expected = slopes(lambda: plain_loss(plain_a, plain_b, 0.4, weights), z)
        torch.testing.assert_close(found.grad, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("shape", "config", "value", "a_grad", "b_grad"),
    [
        (
            (8, 6), {"temperature": 0.1}, 4.6794428233,
            (0.14010039915, 6.73955559393, -0.207729825636, -0.115374207626),
            (2.37248683175, 6.71363370715, 0.275675507154, 0.206790562391),
        ),
        (
            (33, 16), {"temperature": 0.5}, 3.86482211999,
            (-0.0118241002539, 0.0150082146214, -0.00643527116365, -0.00362546079404),
            (0.00836370423349, 0.0150730886811, 0.00629707520931, 0.00513330930937),
        ),
        (
            (8, 6), {"temperature": 0.1, "weighted": True}, 5.41578305195,
            (-1.2988795531, 10.0502068218, -0.14314109106, -0.0804650905032),
            (4.39513810927, 10.5006646411, 0.188747031561, 0.154455899988),
        ),
        (
            (33, 16), {"temperature": 0.2, "sigma": 0.3, "weighted": True}, 4.72474644081,
            (-0.0508194592016, 0.0953634024948, -0.0125284022759, -0.00732614367048),
            (0.0228149669476, 0.0969070833228, 0.00982322744639, 0.0120818475413),
        ),
    ],
)  # fmt: skip
def test_value_and_gradient_are_those_of_lightlys_code(
    shape: tuple[int, int], config: dict[str, Any], value: float, a_grad: Any, b_grad: Any
) -> None:
    # lightly 1.6.0 lightly/loss/dcl_loss.py DCLLoss and DCLWLoss, sigma 0.5 unless it says another
    a, b = (sine(stream, *shape).requires_grad_() for stream in (0, 1))
    loss = loss_of(a, b, **config)
    loss.backward()

    assert float(loss.detach()) == pytest.approx(value, rel=1e-10)
    assert figures(a.grad) == exactly(*a_grad)
    assert figures(b.grad) == exactly(*b_grad)


@pytest.mark.parametrize(("weighted", "theirs"), [(False, 9.35888564659), (True, 10.8315661039)])
def test_the_other_implementations_loss_is_twice_as_large(*, weighted: bool, theirs: float) -> None:
    # raminnakhli/Decoupled-Contrastive-Learning 0b9b76db loss/dcl.py, which adds the two directions
    loss = loss_of(sine(0, 8, 6), sine(1, 8, 6), weighted=weighted)

    assert 2 * float(loss) == pytest.approx(theirs, rel=1e-10)


def test_weights_are_1_on_average_larger_where_a_positive_is_far_and_take_no_gradient() -> None:
    cosines = torch.tensor([0.9, 0.5, -0.2, 0.1], requires_grad=True)
    weights = DCL.terms.__globals__["positive_weights"](cosines, 0.5)

    assert float(weights.mean()) == pytest.approx(1)
    assert weights.argsort().tolist() == [0, 1, 3, 2]
    assert not weights.requires_grad


@pytest.mark.parametrize("n", [2, 16])
def test_it_is_less_than_simclrs_loss_always(n: int) -> None:
    a, b = pair(n, 5)

    assert float(loss_of(a, b, temperature=0.2)) < float(nt_xent(a, b, 0.2))


def test_a_positive_that_is_found_already_still_has_its_gradient() -> None:
    """SimCLR's is multiplied by how likely another image is: next to nothing in a small batch."""
    a = torch.tensor([[1.0, 0.1], [-1.0, 0.1]]).double().requires_grad_()
    b = torch.tensor([[1.0, -0.1], [-1.0, -0.1]]).double()
    (decoupled,) = torch.autograd.grad(loss_of(a, b, temperature=0.1), a)
    (coupled,) = torch.autograd.grad(nt_xent(a, b, 0.1), a)

    assert float(decoupled.norm()) > 1000 * float(coupled.norm())


def test_the_length_of_a_row_does_not_count_and_collapse_loses() -> None:
    a, b = pair(6, 4)
    longer = a * torch.linspace(0.1, 9, 6).unsqueeze(1)
    collapsed, spread = torch.ones(6, 4).double(), torch.eye(6).double()

    assert float(loss_of(longer, b)) == pytest.approx(float(loss_of(a, b)), rel=1e-9)
    assert float(loss_of(collapsed, collapsed)) == pytest.approx(math.log(10))  # of 2n - 2 negatives
    assert float(loss_of(spread, spread)) == pytest.approx(math.log(10) - 10)


def test_the_views_are_simclrs() -> None:
    large, small = (DCL.views(DCL.Config(), DATA, size) for size in (224, 64))

    assert large[0] == large[1]
    assert small[0] == small[1]
    assert (large[0].blur, large[0].brightness, large[0].hue) == (0.5, 0.8, 0.2)
    assert (small[0].blur, small[0].brightness, small[0].hue) == (0.0, 0.4, 0.1)


def test_every_number_of_both_recipes_is_pinned() -> None:
    large, small = (DCL.recipe_for(DCL.Config(), DATA, size) for size in (224, 64))

    assert (large.optimizer, large.lr, large.lr_scaling, large.weight_decay) == ("lars", 0.075, "sqrt", 1e-6)
    assert (large.momentum, large.warmup_epochs, large.groups) == (0.9, 10, ())
    assert (small.optimizer, small.lr, small.lr_scaling, small.weight_decay) == ("sgd", 0.12, "linear", 5e-4)
    assert (small.momentum, small.warmup_epochs) == (0.9, 0)
    assert small.groups == (ParamGroup(match="*", decay=True),)


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(DCL.Config()) == {
        "temperature": 0.1,
        "weighted": False,
        "sigma": 0.5,
        "hidden_dim": 2048,
        "embedding_dim": 128,
    }


@pytest.mark.long
@pytest.mark.parametrize("weighted", [False, True])
def test_dcl_keeps_the_contract(*, weighted: bool) -> None:
    check_method(DCL, "dcl", DCL.Config(hidden_dim=32, embedding_dim=16, weighted=weighted))
