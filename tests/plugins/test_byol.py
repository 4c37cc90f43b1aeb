"""BYOL's loss is that of its authors, and its target follows the network along their schedule."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from sines import exactly, figures, sine
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Step
from bench.registry.registry import Registry
from bench.testing import check_method

BYOL = Registry.load().load_class("methods", "byol")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=8), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return BYOL(net(), 6, BYOL.Config(**{"hidden_dim": 16, "embedding_dim": 8, **config}), DATA)


def views(n: int = 5) -> list[Tensor]:
    return list(torch.randn(2, n, 3, 32, 32, generator=torch.Generator().manual_seed(0)))


def plain_loss(a: Tensor, b: Tensor, target_a: Tensor, target_b: Tensor) -> float:
    """Return the mean over images of both directions' squared distances of unit vectors, number by number."""

    def unit(row: list[float]) -> list[float]:
        length = math.sqrt(sum(x * x for x in row))
        return [x / length for x in row]

    total = 0.0
    for p, z in ((a, target_b), (b, target_a)):
        for one, other in zip(p.tolist(), z.tolist(), strict=True):
            total += sum((x - y) ** 2 for x, y in zip(unit(one), unit(other), strict=True))
    return total / len(a)


@pytest.mark.parametrize(("n", "d"), [(2, 3), (7, 4), (40, 9)])
def test_the_loss_is_the_papers_in_plain_loops(n: int, d: int) -> None:
    names = ("a", "b", "target_a", "target_b")
    z = dict(
        zip(names, torch.randn(4, n, d, generator=torch.Generator().manual_seed(n)).double(), strict=True)
    )

    assert float(method().terms(z, NONE)["prediction"]) == pytest.approx(plain_loss(**z), rel=1e-9)


def test_value_and_gradient_are_those_of_the_authors_code() -> None:
    # google-deepmind/deepmind-research 4822a455 byol/utils/helpers.py regression_loss, both directions, 8 x 6
    z = {name: sine(stream, 8, 6) for stream, name in enumerate(("a", "b", "target_a", "target_b"))}
    z = {name: value.requires_grad_() for name, value in z.items()}
    loss = method().terms(z, NONE)["prediction"]
    loss.backward()

    assert float(loss.detach()) == pytest.approx(4.90657660585, rel=1e-10)
    assert figures(z["a"].grad) == exactly(
        0.112662504993, 0.00990139819036, -0.00763724015946, -0.00580201394826
    )
    assert figures(z["b"].grad) == exactly(
        -0.104350888814, 0.187445898675, -0.0573603406365, -0.0374395062523
    )


def test_the_loss_does_not_depend_on_the_length_of_a_row() -> None:
    z = {name: sine(stream, 8, 6) for stream, name in enumerate(("a", "b", "target_a", "target_b"))}
    longer = {name: value * torch.linspace(0.1, 9, 8).unsqueeze(1) for name, value in z.items()}

    losses = [float(method().terms(some, NONE)["prediction"]) for some in (z, longer)]

    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_the_target_takes_no_gradient_and_is_a_copy_at_first() -> None:
    byol = method()
    embeddings = byol.embed(views(), NONE)
    sum(byol.terms(embeddings, NONE).values()).backward()
    online = [*byol.backbone.parameters(), *byol.projector.parameters()]

    assert not any(p.requires_grad or p.grad is not None for p in byol.target.parameters())
    assert not embeddings["target_a"].requires_grad
    assert all(p.grad is not None for p in (*online, *byol.predictor.parameters()))
    assert all(map(torch.equal, byol.target.parameters(), online))


@pytest.mark.parametrize("number", [0, 250, 999])
def test_the_target_moves_by_the_authors_momentum(number: int) -> None:
    # google-deepmind/deepmind-research 8457046b byol/utils/schedules.py, tau0 0.996, 1000 steps
    momentum = {0: 0.996, 250: 0.996585786438, 999: 0.99999999013}[number]
    byol = method(momentum=0.996).double()
    before = [p.clone() for p in byol.target.parameters()]
    online = [*byol.backbone.parameters(), *byol.projector.parameters()]
    with torch.no_grad():
        for p in online:
            p.add_(1)
    byol.after_step(Step(number=number, total=1000))

    for now, old, new in zip(byol.target.parameters(), before, online, strict=True):
        assert torch.allclose(now, momentum * old + (1 - momentum) * new, rtol=0, atol=1e-12)


def test_neither_the_projection_nor_the_prediction_ends_in_a_norm() -> None:
    assert all(isinstance(head[-1], nn.Linear) for head in (method().projector, method().predictor))


def test_the_recipe_is_the_papers_on_large_images_and_solo_learns_on_small_ones() -> None:
    large, small = (BYOL.recipe_for(BYOL.Config(), DATA, size) for size in (224, 32))

    assert (large.lr, large.weight_decay, large.optimizer) == (0.2, 1.5e-6, "lars")
    assert (small.lr, small.weight_decay, small.optimizer) == (1.0, 1e-5, "lars")
    assert (small.trust, small.clip_trust, large.trust, large.clip_trust) == (0.02, True, 0.001, False)
    assert [view.blur for view in BYOL.views(None, DATA, 224)] == [1.0, 0.1]
    assert [view.solarise for view in BYOL.views(None, DATA, 224)] == [0.0, 0.2]


def test_byol_keeps_the_contract() -> None:
    check_method(BYOL, "byol", BYOL.Config(hidden_dim=32, embedding_dim=16))


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(BYOL.Config()) == {"momentum": 0.99, "hidden_dim": 4096, "embedding_dim": 256}


def test_every_number_of_the_papers_recipe_is_pinned() -> None:
    recipe = BYOL.recipe

    assert (recipe.optimizer, recipe.lr, recipe.lr_scaling) == ("lars", 0.2, "linear")
    assert (recipe.weight_decay, recipe.momentum, recipe.warmup_epochs) == (1.5e-6, 0.9, 10)
