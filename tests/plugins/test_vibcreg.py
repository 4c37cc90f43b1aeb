"""VIbCReg's terms and its whitening are those of its authors' code."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_state import largest_difference, state_after, state_after_a_stop
from sines import exactly, figures, sine
from slopes import slopes
from tiny_training import INFO, Exact
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Method
from bench.registry.registry import Registry
from bench.testing import check_method

VIbCReg = Registry.load().load_class("methods", "vibcreg")
iter_norm = VIbCReg.whitened.__globals__["iter_norm"]
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))
Rows = list[list[float]]


def net(*first: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        *first, nn.Conv2d(3, 6, 3, stride=4, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def method(width: int = 8, **config: Any) -> Any:
    torch.manual_seed(0)
    return VIbCReg(net(), 6, VIbCReg.Config(embedding_dim=width, **config), DATA).double()


def terms_of(a: Tensor, b: Tensor, **config: Any) -> dict[str, Tensor]:
    terms: dict[str, Tensor] = method(a.shape[1], **config).terms({"a": a, "b": b}, NONE)
    return terms


def plain_covariance(z: Rows, over: int) -> Rows:
    n, d = len(z), len(z[0])
    means = [sum(row[j] for row in z) / n for j in range(d)]
    centred = [[row[j] - means[j] for j in range(d)] for row in z]
    return [[sum(row[i] * row[j] for row in centred) / over for j in range(d)] for i in range(d)]


def plain_loss(a: Tensor, b: Tensor) -> float:
    """Return the weighted loss of embeddings that are not whitened, number by number."""
    x, y = a.tolist(), b.tolist()
    n, d = len(x), len(x[0])
    total = 25 * sum((x[i][j] - y[i][j]) ** 2 for i in range(n) for j in range(d)) / (n * d)
    for z in (x, y):
        c = plain_covariance(z, n - 1)
        total += 25 * sum(max(0.0, 1 - math.sqrt(c[j][j] + 1e-4)) for j in range(d)) / d
        squares = [c[i][j] ** 2 / (c[i][i] * c[j][j]) for i in range(d) for j in range(d) if i != j]
        total += 200 * sum(squares) / d**2
    return total


def product(x: Rows, y: Rows) -> Rows:
    return [[sum(x[i][k] * y[k][j] for k in range(len(y))) for j in range(len(y[0]))] for i in range(len(x))]


def plain_whitened(z: Rows) -> Rows:
    """Return one group of dimensions whitened, number by number: Newton's iteration, five times."""
    n, d = len(z), len(z[0])
    c = plain_covariance(z, n)
    for j in range(d):
        c[j][j] += 1e-5
    trace = sum(c[j][j] for j in range(d))
    scaled = [[value / trace for value in row] for row in c]
    p = [[float(i == j) for j in range(d)] for i in range(d)]
    for _ in range(5):
        cubed = product(product(product(p, p), p), scaled)
        p = [[1.5 * p[i][j] - 0.5 * cubed[i][j] for j in range(d)] for i in range(d)]
    means = [sum(row[j] for row in z) / n for j in range(d)]
    return [
        [sum(p[j][k] * (row[k] - means[k]) for k in range(d)) / math.sqrt(trace) for j in range(d)]
        for row in z
    ]


@pytest.mark.parametrize(("n", "d"), [(3, 2), (9, 4)])
def test_loss_and_gradient_are_the_papers_in_plain_loops(n: int, d: int) -> None:
    drawn = torch.randn(2, n, d, generator=torch.Generator().manual_seed(n)).double()
    plain_a, plain_b = (0.4 * z for z in drawn)
    a, b = plain_a.clone().requires_grad_(), plain_b.clone().requires_grad_()
    loss = torch.stack(list(terms_of(a, b, iter_norm=False).values())).sum()
    loss.backward()

    assert float(loss.detach()) == pytest.approx(plain_loss(plain_a, plain_b), rel=1e-9)
    for found, z in ((a, plain_a), (b, plain_b)):
        expected = slopes(lambda: plain_loss(plain_a, plain_b), z)
        torch.testing.assert_close(found.grad, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "scale", "value", "a_grad", "b_grad"),
    [
        (
            (8, 6), 1.0, 188.109044413,
            (4.52382577793, 509.065050074, 5.88462883411, 0.0514339647718),
            (-4.52382577793, 591.599872494, 2.10202104982, -6.06038584232),
        ),
        (
            (33, 16), 0.3, 206.674969956,
            (-0.0104785582201, 128.69450977, 0.354852683273, 0.203181120472),
            (0.0104785582201, 153.282748, -0.449294054467, 0.245916001623),
        ),
    ],
)  # fmt: skip
def test_value_and_gradient_are_those_of_solo_learns_code(
    shape: tuple[int, int], scale: float, value: float, a_grad: Any, b_grad: Any
) -> None:
    # vturrisi/solo-learn 9187ea39 solo/losses/vibcreg.py, which is ML4ITS/vibcreg's
    a, b = ((scale * sine(stream, *shape)).requires_grad_() for stream in (0, 1))
    loss = torch.stack(list(terms_of(a, b, iter_norm=False).values())).sum()
    loss.backward()

    assert float(loss.detach()) == pytest.approx(value, rel=1e-10)
    assert figures(a.grad) == exactly(*a_grad)
    assert figures(b.grad) == exactly(*b_grad)


@pytest.mark.parametrize(
    ("shape", "groups", "value", "gradient", "output"),
    [
        (
            (12, 4), 64, 24.7718804098, (0.0, 28.4512146917, 1.11611525756, -0.0733747122532),
            (0.0, 47.9989908727, -0.126365778627, -1.68512403679),
        ),
        (
            (12, 4), 1, 15.4695647998, (0.0, 14.7237150376, 0.687365087187, 0.480440674939),
            (0.0, 24.1462770273, -0.755974472874, -1.19270713055),
        ),
        (
            (33, 16), 8, 216.522568414, (0.0, 276.655391382, 0.668392243773, 0.319970544024),
            (0.0, 488.525794969, -1.00132333466, 0.973470599182),
        ),
    ],
)  # fmt: skip
def test_whitening_is_that_of_solo_learns_code(
    shape: tuple[int, int], groups: int, value: float, gradient: Any, output: Any
) -> None:
    # vturrisi/solo-learn 9187ea39 solo/utils/whitening.py IterNorm, five iterations; a scalar of stream 7
    x = sine(0, *shape).requires_grad_()
    whitened = iter_norm(x, groups)
    (whitened * sine(7, *shape)).sum().backward()

    assert float((whitened * sine(7, *shape)).sum().detach()) == pytest.approx(value, rel=1e-10)
    assert figures(whitened.detach()) == exactly(*output)
    assert figures(x.grad) == exactly(*gradient)


def test_whitening_is_newtons_iteration_in_plain_loops() -> None:
    z = sine(3, 9, 6)
    expected = [plain_whitened(z[:, part].tolist()) for part in (slice(0, 3), slice(3, 6))]

    torch.testing.assert_close(
        iter_norm(z, 2), torch.cat([torch.tensor(e).double() for e in expected], dim=1)
    )


def test_up_to_64_dimensions_whitening_is_batch_norm_and_beyond_it_takes_out_correlations() -> None:
    z = torch.randn(500, 128, generator=torch.Generator().manual_seed(0)).double()
    z[:, 1] += 2 * z[:, 0]  # of one group

    few = iter_norm(z[:, :64])
    torch.testing.assert_close(few, nn.BatchNorm1d(64, affine=False).double()(z[:, :64]))
    assert float(torch.corrcoef(z.T)[0, 1]) > 0.8
    assert abs(float(torch.corrcoef(iter_norm(z).T)[0, 1])) < 0.1  # five iterations


@pytest.mark.parametrize(("d", "width"), [(64, 1), (65, 1), (96, 2), (520, 4), (2048, 32)])
def test_a_group_has_as_many_dimensions_as_the_authors(d: int, width: int) -> None:
    z = torch.randn(8, d, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    iter_norm(z)[:, 0].square().square().sum().backward()
    touched = z.grad.any(dim=0) if z.grad is not None else torch.zeros(d)

    assert touched.nonzero().flatten().tolist() == list(range(width))


def test_scale_and_shift_of_a_dimension_change_no_redundancy() -> None:
    a, b = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(0)).double().unbind()
    moved = a * torch.linspace(0.5, 9, 5) + torch.arange(5)
    terms = [terms_of(x, b, iter_norm=False)["covariance"] for x in (a, moved)]

    assert float(terms[0]) == pytest.approx(float(terms[1]), rel=1e-9)


def test_collapsed_embeddings_lose_to_spread_ones() -> None:
    spread = 2 * torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).double()
    noise = 1e-3 * torch.randn(64, 8, generator=torch.Generator().manual_seed(1)).double()
    one = spread[:, :1].expand(64, 8) + noise
    near, along, apart = (
        float(sum(terms_of(z, z, iter_norm=False).values())) for z in (0.3 + noise, one, spread)
    )

    assert near > apart + 40
    assert along > apart + 200


def test_variances_are_added_where_vicreg_halves_their_sum_and_redundancy_is_a_mean_over_pairs() -> None:
    a, b = 0.3 * sine(0, 33, 16), 0.3 * sine(1, 33, 16)
    ours = terms_of(a, b, iter_norm=False)
    vicreg_class = Registry.load().load_class("methods", "vicreg")
    vicreg = vicreg_class(net(), 6, vicreg_class.Config(embedding_dim=16), DATA)
    theirs = vicreg.terms({"a": a, "b": b}, NONE)
    standard = {name: (z - z.mean(0)) / z.std(0) for name, z in (("a", a), ("b", b))}

    assert float(ours["variance"]) == pytest.approx(2 * float(theirs["variance"]), rel=1e-9)
    assert float(ours["covariance"]) == pytest.approx(
        200 / 16 * float(vicreg.terms(standard, NONE)["covariance"]), rel=1e-9
    )


def test_the_whitening_is_trained_and_can_be_left_out() -> None:
    with_it, without = method(), method(iter_norm=False)
    z = {name: sine(stream, 12, 8) for stream, name in enumerate(("a", "b"))}
    sum(with_it.terms(z, NONE).values()).backward()

    assert all(bool(p.grad is not None and p.grad.any()) for p in (with_it.scale, with_it.shift))
    assert torch.equal(without.whitened(z["a"]), z["a"])
    assert "scale" not in dict(without.named_parameters())


def make(seeds: Any) -> Method:
    """Return a method in float64 without batch norm; the next one starts from other weights."""
    torch.manual_seed(next(seeds))
    vibcreg: Any = VIbCReg(net(Exact()), 6, VIbCReg.Config(embedding_dim=8), INFO)
    vibcreg.projector = nn.Linear(6, 8)
    result: Method = vibcreg.double()
    return result


def test_in_chunks_the_whitening_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    seeds = iter([0, 0])
    whole, chunked = (
        state_after(lambda: make(seeds), tmp_path / str(size), chunk_size=size) for size in (None, 4)
    )

    assert largest_difference(whole, chunked) < 1e-8


def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    seeds = iter([0, 0, 1])
    whole = state_after(lambda: make(seeds), tmp_path / "whole")
    stopped = state_after_a_stop(lambda: make(seeds), tmp_path / "parts")

    assert all(torch.equal(value, stopped[name]) for name, value in whole.items())


def test_the_views_are_solo_learns_and_small_ones_are_not_blurred() -> None:
    large, small = (VIbCReg.views(VIbCReg.Config(), DATA, size) for size in (224, 64))

    assert large[0] == large[1]
    assert small[0] == small[1]
    assert (large[0].crop_min, large[0].blur, large[0].solarise) == (0.08, 0.5, 0.1)
    assert (small[0].crop_min, small[0].blur, small[0].solarise) == (0.2, 0.0, 0.1)
    for view in (large[0], small[0]):
        assert (view.brightness, view.contrast, view.saturation, view.hue) == (0.4, 0.4, 0.2, 0.1)


def test_every_number_of_the_recipe_is_solo_learns() -> None:
    recipe = VIbCReg.recipe

    assert (recipe.optimizer, recipe.lr_scaling, recipe.groups) == ("lars", "linear", ())
    assert (recipe.lr, recipe.trust, recipe.clip_trust) == (
        0.3,
        0.02,
        False,
    )  # clip_lr is off there for it alone
    assert (recipe.weight_decay, recipe.momentum, recipe.warmup_epochs, recipe.min_lr) == (1e-4, 0.9, 10, 0.0)


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(VIbCReg.Config()) == {
        "invariance": 25.0,
        "variance": 25.0,
        "covariance": 200.0,
        "iter_norm": True,
        "embedding_dim": 2048,
    }


@pytest.mark.long
@pytest.mark.parametrize("whiten", [False, True])
def test_vibcreg_keeps_the_contract(*, whiten: bool) -> None:
    check_method(VIbCReg, "vibcreg", VIbCReg.Config(embedding_dim=16, iter_norm=whiten))
