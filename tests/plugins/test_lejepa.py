"""LeJEPA's loss is that of its authors, and its directions are the same in chunks and after a stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from kept_state import largest_difference, state_after, state_after_a_stop
from sines import figures, sine
from slopes import slopes
from tiny_training import INFO, Exact
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Method
from bench.registry.registry import Registry
from bench.testing import check_method

LeJEPA = Registry.load().load_class("methods", "lejepa")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
GRID = [3 * k / 16 for k in range(17)]


def net(*first: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        *first, nn.Conv2d(3, 6, 3, stride=4, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    small = {"hidden_dim": 16, "embedding_dim": 8, "directions": 5}
    return LeJEPA(net(), 6, LeJEPA.Config(**{**small, **config}), DATA)


def terms_of(views: Sequence[Tensor], directions: Tensor, **config: Any) -> dict[str, Tensor]:
    """Return the terms with directions (k, d), of any length."""
    k, d = directions.shape
    drawn = {"directions": directions.reshape(1, -1)}
    found: dict[str, Tensor] = method(directions=k, embedding_dim=d, **config).terms(
        {f"view_{number}": z for number, z in enumerate(views)},
        Batch(torch.arange(0), torch.arange(0), drawn),
    )
    return found


def chirp(stream: int, *shape: int) -> Tensor:
    """Return the array of a stream plus 0.5 sin((0.013 e) e + 0.7 s), which has full rank."""
    e = torch.arange(math.prod(shape), dtype=torch.float64)
    return sine(stream, *shape) + (0.5 * torch.sin(0.013 * e * e + 0.7 * stream)).view(shape)


def plain_sigreg(z: Tensor, directions: Tensor) -> float:
    """Return SIGReg of rows z, number by number: trapezoids of [0, 3], twice."""
    rows, values = z.tolist(), []
    for u in directions.tolist():
        products = [sum(x * y for x, y in zip(row, u, strict=True)) / math.hypot(*u) for row in rows]
        heights = []
        for t in GRID:
            real = sum(math.cos(t * p) for p in products) / len(rows) - math.exp(-t * t / 2)
            imaginary = sum(math.sin(t * p) for p in products) / len(rows)
            heights.append((real**2 + imaginary**2) * math.exp(-t * t / 2))
        areas = [(a + b) / 2 * (3 / 16) for a, b in pairwise(heights)]
        values.append(2 * len(rows) * sum(areas))
    return sum(values) / len(values)


def plain_loss(views: Sequence[Tensor], directions: Tensor, weight: float) -> float:
    """Return the loss of views, the first two of them global, number by number."""
    n, d = views[0].shape
    rows = [z.tolist() for z in views]
    apart = 0.0
    for i in range(n):
        for j in range(d):
            mean = (rows[0][i][j] + rows[1][i][j]) / 2
            apart += sum((mean - view[i][j]) ** 2 for view in rows)
    invariance = apart / (len(views) * n * d)
    regularity = sum(plain_sigreg(z, directions) for z in views) / len(views)
    return (1 - weight) * invariance + weight * regularity


@pytest.mark.parametrize("count", [2, 4])
def test_loss_and_gradient_are_the_papers_in_plain_loops(count: int) -> None:
    drawn = torch.randn(count + 1, 4, 3, generator=torch.Generator().manual_seed(count)).double()
    plain, directions = [z.clone() for z in drawn[:count]], drawn[count]
    views = [z.clone().requires_grad_() for z in plain]
    terms = terms_of(views, directions, weight=0.3)
    loss = torch.stack(list(terms.values())).sum()
    loss.backward()

    assert float(loss.detach()) == pytest.approx(plain_loss(plain, directions, 0.3), rel=1e-9)
    for found, z in zip(views, plain, strict=True):
        expected = slopes(lambda: plain_loss(plain, directions, 0.3), z)
        torch.testing.assert_close(found.grad, expected, rtol=1e-6, atol=1e-8)


def near(*numbers: float) -> object:
    """Return what compares equal but for the authors' tables, which are in float32."""
    return pytest.approx(list(numbers), rel=2e-7, abs=1e-9)


@pytest.mark.parametrize(
    ("make", "shape", "k", "value", "gradient"),
    [
        (sine, (8, 6), 5, 2.23527627954, (-0.0365738573003, 2.5679883704, 0.148532922414, 0.407539166104)),
        (
            sine,
            (33, 16),
            9,
            11.8124802548,
            (0.0136063042343, 3.83400674937, 0.0499851077077, -0.125869087152),
        ),
        (chirp, (20, 4), 64, 1.4876096674, (0.402822879721, 1.14747341891, 0.12979559056, 0.191390972347)),
    ],
)
def test_sigreg_is_that_of_the_authors_code(
    make: Any, shape: tuple[int, int], k: int, value: float, gradient: Any
) -> None:
    # rbalestr-lab/lejepa eddffdd8 MINIMAL.md SIGReg, directions sine(5, d, k) by column
    z = make(0, *shape).requires_grad_()
    loss = terms_of([z, z], sine(5, shape[1], k).T, weight=1.0)["sigreg"]
    loss.backward()

    assert float(loss.detach()) == pytest.approx(value, rel=5e-8)
    assert figures(z.grad) == near(*gradient)


@pytest.mark.parametrize(
    ("make", "count", "shape", "k", "weight", "value"),
    [
        (sine, 2, (8, 6), 5, 0.02, 0.185171857607),  # rbalestr-lab/lejepa eddffdd8 MINIMAL.md
        (
            sine,
            4,
            (8, 6),
            5,
            0.05,
            0.786856371245,
        ),  # lightly 1.6.0 lejepa_loss.py, 2 global and 2 local views
        (chirp, 5, (12, 8), 7, 0.02, 1.02259919459),  # lightly 1.6.0, 2 global and 3 local
    ],
)
def test_the_loss_is_that_of_the_authors_code_and_of_lightlys_with_local_views(
    make: Any, count: int, shape: tuple[int, int], k: int, weight: float, value: float
) -> None:
    views = [make(stream, *shape) for stream in range(count)]
    terms = terms_of(views, sine(9, shape[1], k).T, weight=weight)

    assert float(sum(terms.values())) == pytest.approx(value, rel=5e-8)


def test_gradients_are_those_of_lightlys_code_with_local_views() -> None:
    # lightly 1.6.0 lejepa_loss.py, 2 global and 2 local views: what is global takes gradient through the mean
    views = [sine(stream, 8, 6).requires_grad_() for stream in range(4)]
    sum(terms_of(views, sine(9, 6, 5).T, weight=0.05).values()).backward()  # type: ignore[union-attr]
    large, small = (
        torch.stack([z.grad for z in some if z.grad is not None]) for some in (views[:2], views[2:])
    )

    assert figures(large) == near(0.061167361335, 0.0114090092426, -0.00244155580651, -0.0130080126697)
    assert figures(small) == near(-0.0609566028453, 0.0115768779435, 0.000877311410669, 0.0189385870802)


def test_eb_jepas_weight_is_converted() -> None:
    # facebookresearch/eb_jepa 966e61e9 eb_jepa/losses.py BCS: MSE + 10 * 0.3212397, without the factor n
    views, n, theirs = [sine(stream, 8, 6) for stream in range(2)], 8, 10.0
    weight = theirs / (4 * n + theirs)  # theirs = 4 n weight / (1 - weight)
    terms = terms_of(views, sine(9, 6, 5).T, weight=weight)
    scale = 4 / (1 - weight)

    assert scale * float(terms["invariance"]) == pytest.approx(0.545123498951, rel=1e-9)
    assert scale * float(terms["sigreg"]) == pytest.approx(10 * 0.321239669003, rel=0.01)  # on other knots
    assert theirs / (4 * 256 + theirs) < 0.0098  # at a batch of 256, as the docstring says


@pytest.mark.parametrize("n", [64, 256])
def test_collapse_costs_two_fifths_of_the_batch_and_a_gaussian_about_1(n: int) -> None:
    directions = torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
    gaussian = torch.randn(n, 16, generator=torch.Generator().manual_seed(n))
    collapsed, spread = (
        float(terms_of([z, z], directions, weight=1.0)["sigreg"]) for z in (torch.zeros(n, 16), gaussian)
    )

    assert spread == pytest.approx(1, abs=0.3)
    assert collapsed == pytest.approx(0.402 * n, rel=0.01)  # so a weight belongs to a batch size


def test_a_rotation_of_embeddings_and_directions_changes_nothing() -> None:
    z = torch.randn(3, 20, 6, generator=torch.Generator().manual_seed(0)).double()
    q, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)).double())
    one = terms_of([z[0], z[1]], z[2], weight=0.3)
    other = terms_of([z[0] @ q, z[1] @ q], z[2] @ q, weight=0.3)

    assert float(sum(one.values())) == pytest.approx(float(sum(other.values())), rel=1e-9)


def test_directions_are_as_many_as_are_asked_for_and_come_from_the_generator() -> None:
    lejepa = method(directions=7, embedding_dim=8)
    one, again, other = (
        lejepa.draw(10, torch.Generator().manual_seed(seed))["directions"] for seed in (0, 0, 1)
    )

    assert one.shape == (10, 6)  # 60 numbers, of which 7 x 8 are used
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_length_of_a_direction_does_not_count() -> None:
    views, directions = [chirp(stream, 9, 4) for stream in (0, 1)], chirp(7, 5, 4)
    one, other = (float(terms_of(views, u, weight=1.0)["sigreg"]) for u in (directions, 3 * directions))

    assert one == pytest.approx(other, rel=1e-12)
    assert one == pytest.approx(
        float(terms_of(views, F.normalize(directions, dim=1), weight=1.0)["sigreg"]), rel=1e-12
    )


def make(seeds: Any) -> Method:
    """Return a method in float64 that has no batch norm; the next one starts from other weights."""
    torch.manual_seed(next(seeds))
    lejepa: Any = LeJEPA(net(Exact()), 6, LeJEPA.Config(hidden_dim=16, embedding_dim=8, directions=5), INFO)
    lejepa.projector = nn.Linear(6, 8)
    result: Method = lejepa.double()
    return result


@pytest.mark.parametrize("changes", [{}, {"chunk_size": 4}])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    seeds = iter([0, 0, 1])
    whole = state_after(lambda: make(seeds), tmp_path / "whole", **changes)
    stopped = state_after_a_stop(lambda: make(seeds), tmp_path / "parts", **changes)

    assert all(torch.equal(value, stopped[name]) for name, value in whole.items())


def test_in_chunks_directions_and_steps_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    seeds = iter([0, 0])
    whole, chunked = (
        state_after(lambda: make(seeds), tmp_path / str(size), chunk_size=size) for size in (None, 4)
    )

    assert largest_difference(whole, chunked) < 1e-9


def test_the_projector_has_batch_norm_between_its_layers_and_none_at_the_end() -> None:
    parts = list(LeJEPA(net(), 6, LeJEPA.Config(), DATA).projector)
    shapes = [tuple(part.weight.shape) for part in parts if isinstance(part, nn.Linear)]

    assert [type(part) for part in parts] == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert shapes == [(2048, 6), (2048, 2048), (128, 2048)]


def test_the_views_are_the_readmes_on_large_images_and_eb_jepas_on_small_ones() -> None:
    large, small = (LeJEPA.views(LeJEPA.Config(), DATA, size) for size in (224, 64))
    asked = LeJEPA.views(LeJEPA.Config(local_views=1), DATA, 64)

    assert [view.size for view in large] == [None] * 2 + [98] * 6
    assert [(v.crop_min, v.crop_max) for v in large] == [(0.3, 1.0)] * 2 + [(0.05, 0.3)] * 6
    assert {(v.blur, v.solarise) for v in large} == {(0.5, 0.2)}
    assert [(v.crop_min, v.crop_max, v.blur, v.solarise) for v in small] == [(0.2, 1.0, 0.0, 0.1)] * 2
    assert [view.size for view in asked] == [None, None, 32]
    assert {(v.brightness, v.contrast, v.saturation, v.hue, v.grey) for v in (*large, *small)} == {
        (0.4, 0.4, 0.2, 0.1, 0.2)
    }


def test_every_number_of_the_recipe_is_pinned_at_every_size() -> None:
    recipe = LeJEPA.recipe

    assert (recipe.optimizer, recipe.lr, recipe.lr_scaling, recipe.min_lr) == ("adamw", 5e-4, "none", 5e-7)
    assert (recipe.weight_decay, recipe.warmup_epochs, recipe.betas) == (0.05, 1, (0.9, 0.999))
    assert LeJEPA.recipe_for(LeJEPA.Config(), DATA, 224) == recipe
    small = LeJEPA.recipe_for(LeJEPA.Config(), DATA, 32)
    assert (small.lr, small.min_lr) == (2e-3, 2e-6)
    assert replace(small, lr=recipe.lr, min_lr=recipe.min_lr, source=recipe.source) == recipe


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(LeJEPA.Config()) == {
        "weight": 0.02,
        "directions": 256,
        "local_views": None,
        "hidden_dim": 2048,
        "embedding_dim": 128,
    }


@pytest.mark.long
def test_lejepa_keeps_the_contract_with_views_of_two_sizes() -> None:
    config = LeJEPA.Config(hidden_dim=32, embedding_dim=8, directions=16, local_views=2)
    check_method(LeJEPA, "lejepa", config)
