"""NPID's loss is that of its authors, and so are the rows of its bank."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from kept_state import largest_difference, stopped, trained
from sines import exactly, figures, sine, units
from tiny_training import IMAGES, INFO, Exact, net
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Method
from bench.registry.registry import Registry
from bench.testing import check_method

NPID = Registry.load().load_class("methods", "npid")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)


def method(images: int, dim: int, **config: Any) -> Any:
    torch.manual_seed(0)
    data = replace(DATA, images=images)
    return NPID(nn.Flatten(), 12, NPID.Config(embedding_dim=dim, **config), data).double()


def small(seed: int, *first: nn.Module) -> Any:
    torch.manual_seed(seed)
    return NPID(net(*first), 6, NPID.Config(embedding_dim=4), replace(INFO, images=len(IMAGES)))


def exact(seed: int) -> Method:
    """Return it in float64."""
    return cast("Method", small(seed, Exact()).double())


def batch_of(index: list[int]) -> Batch:
    return Batch(torch.tensor(index), torch.zeros(len(index), dtype=torch.int64))


def plain(z: Tensor, bank: Tensor, index: list[int], temperature: float) -> tuple[float, list[list[float]]]:
    """Return the mean cross-entropy of each image with its row, and its gradient, number by number."""
    losses, gradients, rows = [], [], bank.tolist()
    for raw, own in zip(z.tolist(), index, strict=True):
        length = math.hypot(*raw)
        f = [x / length for x in raw]
        logits = [sum(a * b for a, b in zip(f, row, strict=True)) / temperature for row in rows]
        total = sum(math.exp(logit) for logit in logits)
        losses.append(math.log(total) - logits[own])
        of_f = [0.0] * len(f)
        for k, (row, logit) in enumerate(zip(rows, logits, strict=True)):
            pull = (math.exp(logit) / total - (k == own)) / temperature / len(index)
            of_f = [g + pull * x for g, x in zip(of_f, row, strict=True)]
        along = sum(g * x for g, x in zip(of_f, f, strict=True))
        gradients.append([(g - along * x) / length for g, x in zip(of_f, f, strict=True)])
    return sum(losses) / len(losses), gradients


@pytest.mark.parametrize(("n", "d", "images", "temperature"), [(2, 3, 4, 0.1), (7, 5, 20, 0.5)])
def test_loss_and_gradient_are_the_papers_in_plain_loops(
    n: int, d: int, images: int, temperature: float
) -> None:
    npid, index = method(images, d, temperature=temperature), list(range(images))[-n:]
    z = sine(0, n, d).requires_grad_()
    loss = npid.terms({"z": z}, batch_of(index))["instance"]
    loss.backward()
    wanted, gradients = plain(z, npid.bank.rows, index, temperature)

    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-9)
    assert z.grad is not None
    for found, gradient in zip(z.grad.tolist(), gradients, strict=True):
        assert found == pytest.approx(gradient, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "d", "images", "temperature", "loss", "gradient", "bank", "last"),
    [
        (
            8, 6, 20, 0.1, 12.5241154353,
            (-5.73852886883, 4.56953167599, 0.3380018535, 0.15011191587),
            (-5.99197591365, 20.0, 0.243518603025, 0.247989476433),
            (0.593715751279, 0.474821094568, 0.262522328087, -0.00698474488802, -0.285407737084,
             -0.521173866425),
        ),
        (
            33, 16, 50, 0.07, 14.92327157,
            (-1.36037829991, 0.579123453761, -0.0444659327744, 0.010158268257),
            (0.956859187439, 50.0, 0.134592770237, -0.482969057719),
            (-0.262511822342, -0.108878065388, 0.0592863958784, 0.213356668413, 0.327800583105,
             0.384700611589, 0.376748310302, 0.308175933709, 0.193510036511, 0.054465327076,
             -0.084346223182, -0.200007962967, -0.275289360091, -0.301296890227, -0.278356690435,
             -0.215083972887),
        ),
    ],
)  # fmt: skip
def test_loss_gradient_and_bank_are_those_of_the_authors_code(
    n: int, d: int, images: int, temperature: float, loss: float, gradient: Any, bank: Any, last: Any
) -> None:
    # zhirongw/lemniscate.pytorch f7cfe298 lib/LinearAverage.py, memory momentum 0.5
    npid, index = method(images, d, temperature=temperature), [(3 * i + 1) % images for i in range(n)]
    npid.bank.rows = units(9, images, d)
    z, batch = sine(0, n, d).requires_grad_(), batch_of(index)
    value = npid.terms({"z": z}, batch)["instance"]
    value.backward()
    npid.after_batch({"z": z.detach()}, batch)

    assert float(value.detach()) == pytest.approx(loss, rel=1e-10)
    assert figures(z.grad) == exactly(*gradient)
    assert figures(npid.bank.rows) == exactly(*bank)
    assert npid.bank.rows[index[-1]].tolist() == exactly(*last)


def test_the_loss_does_not_depend_on_the_length_of_a_row() -> None:
    npid, batch = method(20, 6), batch_of(list(range(8)))
    z = sine(0, 8, 6)
    longer = z * torch.linspace(0.1, 9, 8).unsqueeze(1)
    losses = [float(npid.terms({"z": some}, batch)["instance"]) for some in (z, longer)]

    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_what_has_collapsed_has_the_loss_of_chance_and_what_is_spread_less() -> None:
    npid, batch = method(6, 6, temperature=0.5), batch_of(list(range(6)))
    npid.bank.rows = F.normalize(torch.ones(6, 6).double(), dim=1)
    collapsed = npid.terms({"z": torch.ones(6, 6).double()}, batch)["instance"]
    watched = npid.monitors({"z": torch.ones(6, 6).double()}, batch)
    npid.bank.rows = torch.eye(6).double()
    spread = npid.terms({"z": torch.eye(6).double()}, batch)["instance"]

    assert float(collapsed) == pytest.approx(math.log(6))
    assert float(spread) < 1
    assert float(watched["bank_std"]) == pytest.approx(0, abs=1e-6)
    assert float(watched["nearest_other"]) == pytest.approx(1)
    assert float(npid.monitors({"z": torch.eye(6).double()}, batch)["nearest_other"]) == pytest.approx(0)


def test_rows_take_no_gradient_and_move_after_the_loss_has_seen_them() -> None:
    npid, batch, z = method(20, 6), batch_of([3, 5]), sine(0, 2, 6)
    before = npid.bank.rows.clone()
    npid.terms({"z": z}, batch)
    unmoved = npid.bank.rows.clone()
    npid.after_batch({"z": z}, batch)
    moved = (npid.bank.rows != before).any(dim=1).nonzero().flatten().tolist()

    assert torch.equal(unmoved, before)
    assert moved == [3, 5]
    assert not any("bank" in name for name, _ in npid.named_parameters())


def test_an_embedding_is_of_one_linear_layer() -> None:
    assert [type(layer) for layer in method(4, 6).projector] == [nn.Linear]


@pytest.mark.parametrize("changes", [{}, {"chunk_size": 7}, {"accumulate": 2, "batch_size": 10}])
def test_a_stopped_training_goes_on_with_its_bank_bit_for_bit(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    whole = trained(small, tmp_path / "whole", epochs=3, **changes)
    again = stopped(small, tmp_path / "parts", 3, epochs=3, **changes)

    assert largest_difference(whole.state_dict(), again.state_dict()) == 0
    assert not torch.equal(whole.bank.rows, small(0).bank.rows)


def test_in_chunks_the_bank_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    whole, chunked = (trained(exact, tmp_path / str(size), epochs=2, chunk_size=size) for size in (None, 7))

    assert largest_difference(whole.state_dict(), chunked.state_dict()) < 1e-6


def test_small_images_have_the_authors_recipe_for_cifar() -> None:
    large, small_images = (NPID.recipe_for(NPID.Config(), DATA, size) for size in (224, 32))
    views = [NPID.views(None, DATA, size) for size in (224, 32)]

    assert (large.lr, large.weight_decay) == (0.03, 1e-4)
    assert (small_images.lr, small_images.weight_decay) == (0.06, 5e-4)
    assert [view.flip for (view,) in views] == [0.5, 0.0]
    for (view,) in views:
        assert (view.crop_min, view.jitter, view.grey, view.blur) == (0.2, 1.0, 0.2, 0.0)
        assert (view.brightness, view.contrast, view.saturation, view.hue) == (0.4, 0.4, 0.4, 0.4)


@pytest.mark.long
def test_npid_keeps_the_contract() -> None:
    check_method(NPID, "npid", NPID.Config(embedding_dim=16))


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(NPID.Config()) == {"temperature": 0.1, "momentum": 0.5, "embedding_dim": 128}


def test_every_number_of_the_recipe_is_pinned() -> None:
    recipe = NPID.recipe

    assert (recipe.optimizer, recipe.lr, recipe.lr_scaling, recipe.nesterov) == ("sgd", 0.03, "linear", False)
    assert (recipe.weight_decay, recipe.momentum, recipe.warmup_epochs) == (1e-4, 0.9, 0)
