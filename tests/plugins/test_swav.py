"""SwAV's loss is that of its authors, with a queue and with small crops, and its codes are even."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sines import exactly, figures, sine, units
from small_runs import line_of, run
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Step
from bench.registry.registry import Registry
from bench.testing import check_method

SwAV = Registry.load().load_class("methods", "swav")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    usual = {"hidden_dim": 16, "embedding_dim": 6, "prototypes": 5, "queue_size": 0}
    return SwAV(net(), 6, SwAV.Config(**{**usual, **config}), DATA)


def method_with(prototypes: Tensor, **config: Any) -> Any:
    swav = method(prototypes=len(prototypes), embedding_dim=prototypes.shape[1], **config).double()
    swav.prototypes.weight = nn.Parameter(prototypes)
    return swav


def batch(epoch: int = 0) -> Batch:
    return Batch(torch.arange(0), torch.arange(0), step=Step(epoch=epoch, epochs=2))


def named(views: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"view_{number}": z for number, z in enumerate(views)}


def plain_codes(scores: list[list[float]], epsilon: float) -> list[list[float]]:
    """Return three rounds of Sinkhorn and Knopp: prototypes to 1 / K, then images to 1 / n, times n."""
    n, count = len(scores), len(scores[0])
    q = [[math.exp(s / epsilon) for s in row] for row in scores]
    for _ in range(3):
        totals = [sum(row[k] for row in q) * count for k in range(count)]
        q = [[value / total for value, total in zip(row, totals, strict=True)] for row in q]
        q = [[value / (sum(row) * n) for value in row] for row in q]
    return [[value * n for value in row] for row in q]


def plain_loss(views: Sequence[Tensor], prototypes: Tensor, epsilon: float, temperature: float) -> float:
    """Return the mean over pairs of a global and another view of the cross-entropy, number by number."""
    scores = [[[sum(a * b for a, b in zip(z, c, strict=True)) / math.hypot(*z) for c in prototypes.tolist()]
               for z in view.tolist()] for view in views]  # fmt: skip
    losses = []
    for view in range(2):
        codes = plain_codes(scores[view], epsilon)
        for other in range(len(views)):
            if other == view:
                continue
            total = 0.0
            for row, code in zip(scores[other], codes, strict=True):
                log_sum = math.log(sum(math.exp(s / temperature) for s in row))
                total -= sum(q * (s / temperature - log_sum) for q, s in zip(code, row, strict=True))
            losses.append(total / len(codes))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("views", [2, 5])
def test_the_loss_is_the_papers_in_plain_loops(views: int) -> None:
    z = [sine(number, 7, 6) for number in range(views)]
    loss = method_with(units(9, 5, 6), epsilon=0.1, temperature=0.2).terms(named(z), batch())["assignment"]

    assert float(loss.detach()) == pytest.approx(plain_loss(z, units(9, 5, 6), 0.1, 0.2), rel=1e-9)


@pytest.mark.parametrize(
    ("shape", "count", "views", "value", "weight", "first"),
    [
        (
            (8, 6), 5, 2, 1.40120083482,
            (0.0, 1.67446829763, 0.344512985286, 0.20817234561),
            (0.323845735464, 0.180155724006, -0.00198056471391, -0.0766905640555),
        ),
        (
            (16, 16), 12, 4, 9.86674980205,
            (0.0, 12.5952854442, 0.247967324708, -0.222709647402),
            (0.00499737256032, 0.0210009393208, -0.0107702975256, -0.0147732197388),
        ),
    ],
)  # fmt: skip
def test_value_and_gradient_are_those_of_the_authors_code(
    shape: tuple[int, int], count: int, views: int, value: float, weight: Any, first: Any
) -> None:
    # facebookresearch/swav 06b1b7cb main_swav.py, without a queue
    swav = method_with(units(9, count, shape[1]))
    z = [sine(number, *shape).requires_grad_() for number in range(views)]
    loss = swav.terms(named(z), batch())["assignment"]
    loss.backward()

    assert float(loss.detach()) == pytest.approx(value, rel=1e-10)
    assert figures(swav.prototypes.weight.grad) == exactly(*weight)
    assert figures(z[0].grad) == exactly(*first)


def test_with_a_queue_it_is_the_authors_code_over_four_batches() -> None:
    # facebookresearch/swav 06b1b7cb main_swav.py, a queue of 16 that is used once it is full
    swav = method_with(units(9, 10, 6), queue_size=16, queue_epoch=1)
    losses = []
    for number in range(4):
        z = named([sine(2 * number, 8, 6), sine(2 * number + 1, 8, 6)])
        here = batch(epoch=number // 2)
        losses.append(float(swav.terms(z, here)["assignment"].detach()))
        swav.after_batch(z, here)

    assert losses == pytest.approx([4.51501643666, 4.89288298578, 4.96423512988, 4.90326915483], rel=1e-10)
    assert torch.allclose(swav.queues[0].rows.norm(dim=1), torch.ones(16).double())


def test_where_all_scores_are_alike_the_loss_is_the_logarithm_of_the_prototypes() -> None:
    alike = F.normalize(torch.ones(1, 6), dim=1).expand(8, 6)
    swav = method(prototypes=32)
    swav.prototypes.weight.data[:] = F.normalize(torch.ones(1, 6), dim=1)

    loss = swav.terms(named([alike, alike]), batch())["assignment"]

    assert float(loss.detach()) == pytest.approx(math.log(32))


def test_codes_take_no_gradient_and_use_the_prototypes_evenly() -> None:
    swav = method_with(units(9, 5, 6), epsilon=0.5)
    scores = swav.prototypes(sine(0, 40, 6))
    codes = swav.codes(0, scores, Step())

    assert not codes.requires_grad
    assert torch.allclose(codes.sum(dim=1), torch.ones(40).double())
    assert torch.allclose(codes.sum(dim=0), torch.full((5,), 8.0).double(), rtol=0.1)


def test_prototypes_have_length_1_before_each_step_and_stand_still_at_first() -> None:
    swav = method()
    swav.prototypes.weight.data.mul_(3)
    swav.before_step(Step())
    (group,) = SwAV.recipe_for(SwAV.Config(freeze_epochs=2), DATA, 32).groups

    assert torch.allclose(swav.prototypes.weight.norm(dim=1), torch.ones(5))
    assert (group.match, group.freeze_epochs) == ("prototypes.*", 2)


def test_large_images_have_six_small_views_and_small_ones_what_is_asked_for() -> None:
    large, small, asked = (
        SwAV.views(SwAV.Config(local_views=count), DATA, size)
        for count, size in ((None, 224), (None, 32), (3, 32))
    )

    assert [view.size for view in large] == [None] * 2 + [96] * 6
    assert [view.size for view in small] == [None] * 2
    assert [view.size for view in asked] == [None] * 2 + [14] * 3
    assert large[0].crop_min == large[2].crop_max == 0.14
    assert SwAV.views(SwAV.Config(crop_split=0.4, local_views=1), DATA, 32)[2].crop_max == 0.4


def test_views_of_two_sizes_go_through_the_network() -> None:
    swav, generator = method(local_views=2), torch.Generator().manual_seed(0)
    sides = [view.size or 32 for view in SwAV.views(SwAV.Config(local_views=2), DATA, 32)]
    embeddings = swav.embed([torch.randn(4, 3, s, s, generator=generator) for s in sides], batch())

    assert [z.shape for z in embeddings.values()] == [(4, 6)] * 4


def test_swav_keeps_the_contract_with_views_of_two_sizes() -> None:
    config = SwAV.Config(
        hidden_dim=32, embedding_dim=16, prototypes=12, queue_size=10, queue_epoch=0, local_views=2
    )
    check_method(SwAV, "swav", config)


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(SwAV.Config()) == {
        "temperature": 0.1,
        "epsilon": 0.05,
        "prototypes": 3000,
        "freeze_epochs": 1,
        "queue_size": 3840,
        "queue_epoch": 15,
        "local_views": None,
        "crop_split": 0.14,
        "hidden_dim": 2048,
        "embedding_dim": 128,
    }


def test_every_number_of_the_recipe_is_pinned() -> None:
    recipe = SwAV.recipe

    assert (recipe.optimizer, recipe.lr, recipe.lr_scaling, recipe.min_lr) == ("lars", 0.6, "linear", 0.0006)
    assert (recipe.weight_decay, recipe.momentum, recipe.warmup_epochs) == (1e-6, 0.9, 0)


def test_more_prototypes_than_images_are_one_line_before_training() -> None:
    line = line_of(run("--method", "swav", "--set", "dataset.max_train=200"))

    assert line == (
        "Error: swav: 3000 prototypes are more than the 200 images. Set method.prototypes to at most 200; "
        "a tenth of that is a start."
    )
