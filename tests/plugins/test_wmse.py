"""W-MSE's loss is that of its authors on well-conditioned embeddings, and its windows are white."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
import torch
from bench_plugins.methods.wmse import whiten, whitened_distance
from conftest import Lab
from sines import exactly, figures, sine
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch
from bench.errors import BadValue
from bench.registry.registry import Registry
from bench.testing import check_method

WMSE = Registry.load().load_class("methods", "wmse")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    usual = {"hidden_dim": 16, "embedding_dim": 4, "window": 8}
    return WMSE(net(), 6, WMSE.Config(**{**usual, **config}), DATA)


def named(views: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"view_{number}": z for number, z in enumerate(views)}


def normal(views: int, n: int, d: int) -> Tensor:
    """Return embeddings whose dimensions are correlated, and of other scales."""
    drawn = torch.Generator().manual_seed(n)
    z = torch.randn(views, n, d, generator=drawn, dtype=torch.float64)
    return z @ torch.randn(d, d, generator=drawn, dtype=torch.float64) + 3


def plain_whiten(rows: list[list[float]], epsilon: float) -> list[list[float]]:
    """Return the rows less their mean, in the coordinates of their covariance's lower Cholesky factor."""
    n, d = len(rows), len(rows[0])
    means = [sum(row[i] for row in rows) / n for i in range(d)]
    rows = [[x - mean for x, mean in zip(row, means, strict=True)] for row in rows]
    factor = [[0.0] * d for _ in range(d)]
    for i in range(d):
        for j in range(i + 1):
            entry = (1 - epsilon) * sum(row[i] * row[j] for row in rows) / (n - 1) + epsilon * (i == j)
            entry -= sum(factor[i][k] * factor[j][k] for k in range(j))
            factor[i][j] = math.sqrt(entry) if i == j else entry / factor[j][j]
    white = []
    for row in rows:
        solved: list[float] = []
        for i in range(d):
            known = sum(factor[i][k] * solved[k] for k in range(i))
            solved.append((row[i] - known) / factor[i][i])
        white.append(solved)
    return white


def plain_loss(views: list[list[list[float]]], window: int, epsilon: float) -> float:
    """Return the mean over pairs of views and images of 2 - 2 cos, each window whitened by itself."""
    white = []
    for view in views:
        windows = [view[start : start + window] for start in range(0, len(view), window)]
        white.append([row for part in windows for row in plain_whiten(part, epsilon)])
    losses = []
    for i, one in enumerate(white):
        for other in white[i + 1 :]:
            for a, b in zip(one, other, strict=True):
                losses.append(
                    2 - 2 * sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
                )
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    ("views", "n", "d", "window", "epsilon"), [(2, 12, 3, 12, 0.0), (3, 20, 4, 10, 0.2), (4, 24, 2, 6, 0.0)]
)
def test_the_loss_is_the_papers_in_plain_loops(
    views: int, n: int, d: int, window: int, epsilon: float
) -> None:
    z = normal(views, n, d)
    loss = whitened_distance(z, window, epsilon)

    assert float(loss) == pytest.approx(plain_loss(z.tolist(), window, epsilon), rel=1e-9)


@pytest.mark.parametrize(
    ("views", "n", "d", "window", "loss", "gradients"),
    [
        (2, 24, 4, 12, 1.45276738162, [(0.0, 0.650695349178, -0.0137034711811, -0.0732767718396),
                                       (0.0, 0.736382678768, -0.0648762247178, 0.0674450814609)]),
        (4, 32, 5, 16, 2.20076436021, [(0.0, 0.0205269549088, -0.0103120425627, -0.0111736171367),
                                       (0.0, 0.00733738949707, 0.00270654464947, 0.00659325991236),
                                       (0.0, 0.00913213616804, 0.0015042299684, -0.000516585102508),
                                       (0.0, 0.0178285260448, -0.0128672858418, -0.0111773437949)]),
    ],
)  # fmt: skip
def test_value_and_gradient_are_those_of_the_authors_code(
    views: int, n: int, d: int, window: int, loss: float, gradients: list[Any]
) -> None:
    # htdt/self-supervised d9662c8d methods/w_mse.py, images in windows in the order (5 i + 2) mod n
    z = [sine(number, d, n).requires_grad_() for number in range(views)]
    order = (5 * torch.arange(n) + 2) % n
    value = whitened_distance(torch.stack([x.T[order] for x in z]), window, 0.0)
    value.backward()

    assert float(value.detach()) == pytest.approx(loss, rel=1e-9)
    for x, gradient in zip(z, gradients, strict=True):
        assert figures(x.grad) == exactly(*gradient)


def test_with_a_share_of_the_identity_it_is_the_authors_code() -> None:
    # htdt/self-supervised d9662c8d methods/w_mse.py, w_eps 0.1, one window of 33: of rank 6 in 16 dimensions
    z = [sine(number, 33, 16).requires_grad_() for number in range(2)]
    embeddings = named(z)
    loss = method(window=33, epsilon=0.1, embedding_dim=16).terms(embeddings, NONE)["whitened"]
    loss.backward()

    assert float(loss.detach()) == pytest.approx(1.47937257393, rel=1e-9)
    assert figures(z[0].grad) == exactly(0.0, 0.127839921308, -0.0499181046447, 0.00513132818783)
    assert figures(z[1].grad) == exactly(0.0, 0.113201597858, 0.030276655248, 0.0158014093238)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_what_is_whitened_has_covariance_1_whatever_it_is_given_in(dtype: torch.dtype) -> None:
    white = whiten(normal(3, 40, 8).to(dtype))

    assert white.dtype == torch.float64
    for view in white:
        assert torch.allclose(view.T.cov(), torch.eye(8).double(), atol=1e-8)
        assert torch.allclose(view.mean(dim=0), torch.zeros(8).double(), atol=1e-8)


def test_autocast_does_not_reach_the_whitening() -> None:
    z = normal(2, 16, 4).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = whitened_distance(z, 16, 0.0)

    assert float(found) == pytest.approx(float(whitened_distance(z, 16, 0.0)), rel=1e-9)


def test_the_scale_and_the_place_of_each_dimension_do_not_count() -> None:
    z = normal(2, 24, 4)
    moved = z * torch.tensor([0.01, 1.0, 7.0, 300.0]) + torch.tensor([5.0, 0.0, -2.0, 40.0])

    assert float(whitened_distance(moved, 12, 0.0)) == pytest.approx(float(whitened_distance(z, 12, 0.0)))


def test_views_alike_have_no_loss_and_unrelated_ones_that_of_chance() -> None:
    z = normal(2, 4000, 8)
    alike, apart = whitened_distance(z[:1].expand(2, -1, -1), 4000, 0.0), whitened_distance(z, 4000, 0.0)

    assert float(alike) == pytest.approx(0, abs=1e-9)
    assert float(apart) == pytest.approx(2, abs=0.02)


def test_what_has_collapsed_has_no_loss_but_nan() -> None:
    """There is nothing to whiten; nan ends the training and says so."""
    line = torch.ones(2, 16, 4).double() * torch.arange(16).double()[:, None]

    assert torch.isnan(whitened_distance(torch.ones(2, 16, 4), 16, 0.0))
    assert torch.isnan(whitened_distance(line, 16, 0.0))


def test_where_rounding_leaves_a_covariance_no_factor_what_is_whitened_is_nan() -> None:
    """Embeddings of rank 2 in 4 dimensions: a pivot that is 0 comes out as a little more, or less."""
    drawn = torch.Generator().manual_seed(0)
    flat = torch.randn(40, 16, 2, generator=drawn).double() @ torch.randn(40, 2, 4, generator=drawn).double()
    failed = torch.linalg.cholesky_ex(torch.stack([z.T.cov() for z in flat])).info > 0
    white = whiten(flat)

    assert 0 < int(failed.sum()) < 40
    assert int(white.isnan().flatten(1).all(dim=1).sum()) > 0
    assert bool(white[~white.isnan().flatten(1).any(dim=1)].isfinite().all())


def test_windows_are_drawn_anew_each_time_and_alike_in_both_views() -> None:
    wmse, z = method(), normal(1, 24, 4)
    torch.manual_seed(0)
    losses = [float(wmse.terms(named([z[0], z[0] ** 3]), NONE)["whitened"]) for _ in range(3)]
    alike = wmse.terms(named([z[0], z[0]]), NONE)["whitened"]

    assert len(set(losses)) == 3
    assert float(alike) == pytest.approx(0, abs=1e-9)


def test_several_shares_into_windows_are_averaged() -> None:
    z = named([normal(1, 24, 4)[0], normal(1, 24, 4)[0] ** 3])
    torch.manual_seed(0)
    one = float(method().terms(z, NONE)["whitened"])
    orders = []
    torch.manual_seed(0)
    for _ in range(3):
        order = torch.randperm(24)
        orders.append(whitened_distance(torch.stack([x[order] for x in z.values()]), 8, 0.0))
    wmse = method(iterations=3)
    torch.manual_seed(0)

    assert float(wmse.terms(z, NONE)["whitened"]) == pytest.approx(float(torch.stack(orders).mean()))
    assert one != pytest.approx(float(torch.stack(orders).mean()))


def test_a_window_of_less_than_twice_the_dimension_is_refused_and_so_is_a_batch_without_whole_ones(
    lab: Lab,
) -> None:
    batches = {"train.batch_size": (12, 16), "method.window": 8, "method.embedding_dim": 4}
    refused, planned = lab.plan(batches, method="wmse")

    assert refused.skip == (
        "wmse: a batch of 12 images cannot be shared out to windows of 8. Set --batch-size to a multiple of "
        "that, or method.window."
    )
    assert planned.skip is None
    with pytest.raises(
        BadValue, match=r"^wmse: a window of 7 images is less than twice the embedding_dim of 4"
    ):
        lab.plan({"method.window": 7, "method.embedding_dim": 4}, method="wmse")


def test_the_projectors_norm_is_of_all_views_and_gradient_reaches_each() -> None:
    wmse = method(views=3)
    views = torch.randn(3, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    embeddings = wmse.embed(list(views), NONE)
    expected = wmse.projector(wmse.backbone(views.flatten(0, 1))).detach()

    assert torch.allclose(torch.cat([z.detach() for z in embeddings.values()]), expected, atol=1e-6)
    for z in embeddings.values():
        z.retain_grad()
    wmse.terms(embeddings, NONE)["whitened"].backward()
    assert all(bool(z.grad.any()) for z in embeddings.values())


def test_the_learning_rate_is_the_authors_for_large_and_for_small_images() -> None:
    large, small = (WMSE.recipe_for(WMSE.Config(), DATA, size) for size in (64, 32))

    assert (large.lr, small.lr) == (2e-3, 3e-3)
    assert len(WMSE.views(WMSE.Config(views=4), DATA, 32)) == 4
    assert {
        (v.crop_min, v.brightness, v.contrast, v.saturation, v.hue, v.jitter, v.grey, v.blur)
        for v in WMSE.views(WMSE.Config(), DATA, 32)
    } == {(0.2, 0.4, 0.4, 0.4, 0.1, 0.8, 0.1, 0.0)}


@pytest.mark.long
def test_wmse_keeps_the_contract_with_four_views() -> None:
    check_method(WMSE, "wmse", WMSE.Config(views=4, hidden_dim=32, embedding_dim=8, window=16))


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(WMSE.Config()) == {
        "views": 2,
        "window": 128,
        "iterations": 1,
        "epsilon": 0.0,
        "hidden_dim": 1024,
        "embedding_dim": 64,
    }


def test_every_number_of_the_recipe_is_pinned() -> None:
    recipe = WMSE.recipe

    assert (recipe.optimizer, recipe.lr, recipe.lr_scaling, recipe.betas) == (
        "adamw",
        2e-3,
        "none",
        (0.9, 0.999),
    )
    assert (recipe.weight_decay, recipe.warmup_epochs) == (1e-6, 10)
