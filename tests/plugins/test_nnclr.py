"""NNCLR's loss is that of its pseudo-code, call by call, with the neighbours that a queue gives."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tiny_training
import torch
from kept_state import largest_difference, state_after, state_after_a_stop
from sines import exactly, figures, sine, units
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch
from bench.registry.registry import Registry
from bench.testing import check_method

NNCLR = Registry.load().load_class("methods", "nnclr")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))
NAMES = ("z_a", "z_b", "a", "b")  # in the order of the streams of the authors' numbers
SMALL = {"hidden_dim": 16, "embedding_dim": 6, "predictor_dim": 16, "queue_size": 16}


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return NNCLR(net(), 6, NNCLR.Config(**{**SMALL, **config}), DATA)


def method_with(queue: Tensor, **config: Any) -> Any:
    """Return a method in float64 with that queue."""
    nnclr = method(queue_size=len(queue), embedding_dim=queue.shape[1], **config).double()
    nnclr.queue.rows = queue.clone()
    return nnclr


def embeddings(first: int, n: int, d: int) -> dict[str, Tensor]:
    return {name: sine(first + stream, n, d) for stream, name in enumerate(NAMES)}


def unit(row: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def dot(one: list[float], other: list[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))


def plain_loss(z: dict[str, Tensor], queue: Tensor, temperature: float) -> float:
    """Return the mean of both directions' cross-entropies, number by number."""
    total, rows = 0.0, queue.tolist()
    for one, other in (("z_a", "b"), ("z_b", "a")):
        p = [unit(row) for row in z[other].tolist()]
        for i, row in enumerate(z[one].tolist()):
            similar = [dot(unit(row), candidate) for candidate in rows]
            near = rows[similar.index(max(similar))]
            similar = [math.exp(dot(near, candidate) / temperature) for candidate in p]
            total -= math.log(similar[i] / sum(similar)) / len(p) / 2
    return total


@pytest.mark.parametrize(("n", "d", "size"), [(2, 3, 5), (7, 4, 9), (20, 6, 33)])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_is_the_papers_in_plain_loops(n: int, d: int, size: int, temperature: float) -> None:
    z, queue = embeddings(0, n, d), units(8, size, d)
    loss = method_with(queue, temperature=temperature).terms(z, NONE)["contrastive"]

    assert float(loss) == pytest.approx(plain_loss(z, queue, temperature), rel=1e-9)


def test_three_calls_are_those_of_solo_learns_code() -> None:
    # vturrisi/solo-learn 9187ea39 solo/methods/nnclr.py, solo/losses/nnclr.py; its numbers skip stream 8
    nnclr, losses, gradients = method_with(units(8, 16, 6), temperature=0.2), [], []
    for first in (0, 4, 9):
        z = {name: x.requires_grad_() for name, x in embeddings(first, 8, 6).items()}
        loss = nnclr.terms(z, NONE)["contrastive"]
        loss.backward()
        nnclr.after_batch({name: x.detach() for name, x in z.items()}, NONE)
        losses.append(float(loss.detach()))
        gradients += [figures(z["a"].grad), figures(z["b"].grad)]
        assert z["z_a"].grad is None
        assert z["z_b"].grad is None

    assert losses == exactly(6.17475260977, 6.18419148158, 5.78490550265)
    assert gradients == [
        exactly(-0.295520246511, 0.347330431626, -0.0154401580677, 0.218012046011),
        exactly(0.180919077981, 0.0342962591642, 0.0381904251646, -0.0253927071358),
        exactly(-0.510723231256, 0.459649591663, 0.00648058609176, 0.0430639656993),
        exactly(-0.159706598022, 0.047977169042, -0.00353118487946, 0.0347165999943),
        exactly(0.115900405265, 0.115645557532, -0.000308658249845, -0.130549733458),
        exactly(-0.785739015279, 0.249453896186, -0.00185091623599, -0.00477395023574),
    ]
    assert figures(nnclr.queue.rows) == exactly(-2.47412523558, 16.0, 0.243518603025, 0.268477109237)


def test_neighbours_are_those_of_solo_learns_code() -> None:
    # vturrisi/solo-learn 9187ea39 solo/methods/nnclr.py
    queue = units(8, 16, 6)
    nnclr = method_with(queue)

    assert torch.equal(nnclr.neighbours(sine(0, 8, 6)), queue[2:10])
    assert torch.equal(nnclr.neighbours(sine(1, 8, 6)), queue[[11, 12, 13, 14, 15, 2, 0, 1]])


def test_it_is_not_lightlys_loss_whose_negatives_are_neighbours_too() -> None:
    # lightly 1.6.0: NTXentLoss of neighbours and predictions, 2n - 2 negatives
    loss = method_with(units(8, 20, 6), temperature=0.1).terms(embeddings(0, 8, 6), NONE)["contrastive"]

    assert float(loss) == pytest.approx(11.4780317267, rel=1e-10)
    assert float(loss) != pytest.approx(12.456712044, rel=1e-2)


def test_where_the_queue_holds_the_embeddings_themselves_it_contrasts_them() -> None:
    z = embeddings(0, 8, 6)
    own = torch.nn.functional.normalize(torch.cat([z["z_a"], z["z_b"]]), dim=1)
    nnclr = method_with(own)

    torch.testing.assert_close(nnclr.neighbours(7 * z["z_a"]), own[:8])


def test_only_the_first_views_embeddings_are_kept_with_length_1() -> None:
    z = embeddings(0, 4, 6)
    nnclr = method_with(units(8, 16, 6))
    nnclr.after_batch(z, NONE)

    torch.testing.assert_close(nnclr.queue.rows[:4], torch.nn.functional.normalize(z["z_a"], dim=1))
    assert torch.equal(nnclr.queue.rows[4:], units(8, 16, 6)[4:])
    assert int(nnclr.queue.place) == 4


def test_collapsed_embeddings_have_a_higher_loss_than_spread_ones() -> None:
    spread, alike = torch.eye(16).double(), torch.ones(16, 16).double()
    nnclr = method_with(spread)
    losses = [float(nnclr.terms(dict.fromkeys(NAMES, z), NONE)["contrastive"]) for z in (spread, alike)]

    assert losses[0] < 0.2
    assert losses[1] == pytest.approx(math.log(16))


def test_the_loss_does_not_depend_on_the_length_of_a_row() -> None:
    z, scale = embeddings(0, 8, 6), torch.linspace(0.1, 9, 8).unsqueeze(1)
    nnclr = method_with(units(8, 16, 6))
    once, again = (
        float(nnclr.terms({name: s * x for name, x in z.items()}, NONE)["contrastive"]) for s in (1, scale)
    )

    assert once == pytest.approx(again, rel=1e-9)


def test_the_gradient_goes_through_the_predictions_to_the_whole_network() -> None:
    nnclr = method()
    views = list(torch.randn(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    found = nnclr.embed(views, NONE)
    nnclr.terms(found, NONE)["contrastive"].backward()

    assert not found["z_a"].requires_grad
    assert not found["z_b"].requires_grad
    assert all(p.grad is not None for p in nnclr.parameters())


@pytest.mark.parametrize("changes", [{}, {"chunk_size": 4}])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    def make() -> Any:
        return NNCLR(tiny_training.net(), 6, NNCLR.Config(**SMALL), DATA)

    torch.manual_seed(0)
    whole = state_after(make, tmp_path / "whole", **changes)
    torch.manual_seed(0)
    stopped = state_after_a_stop(make, tmp_path / "stopped", **changes)

    assert int(whole["queue.place"]) == 12 * 10 % 16
    assert all(torch.equal(value, stopped[name]) for name, value in whole.items())


def test_in_chunks_it_keeps_what_it_keeps_of_the_whole_batch(tmp_path: Path) -> None:
    def make() -> Any:
        torch.manual_seed(0)
        made = NNCLR(tiny_training.net(), 6, NNCLR.Config(**SMALL), DATA)
        return tiny_training.frozen(made)  # batch norm sees the chunk

    whole = state_after(make, tmp_path / "whole")
    chunked = state_after(make, tmp_path / "chunked", chunk_size=4)

    assert largest_difference(whole, chunked) < 1e-4
    assert largest_difference(whole, make().state_dict()) > 1e-2


@pytest.mark.long
def test_nnclr_keeps_the_contract() -> None:
    check_method(
        NNCLR, "nnclr", NNCLR.Config(hidden_dim=32, embedding_dim=16, predictor_dim=32, queue_size=20)
    )


def test_the_projector_has_three_layers_and_ends_in_a_norm_and_the_predictor_does_not() -> None:
    layer = [nn.Linear, nn.BatchNorm1d, nn.ReLU]

    assert [type(part) for part in method().projector] == [*layer, *layer, nn.Linear, nn.BatchNorm1d]
    assert [type(part) for part in method().predictor] == [*layer, nn.Linear]


def test_views_are_simclrs_or_solo_learns() -> None:
    large, small = (NNCLR.views(NNCLR.Config(), DATA, size) for size in (224, 32))

    assert [(v.brightness, v.contrast, v.saturation, v.hue) for v in large] == [(0.8, 0.8, 0.8, 0.2)] * 2
    assert [(v.brightness, v.contrast, v.saturation, v.hue) for v in small] == [(0.4, 0.4, 0.2, 0.1)] * 2
    assert [(v.crop_min, v.blur, v.solarise) for v in large] == [(0.08, 0.5, 0.0)] * 2
    assert [(v.crop_min, v.blur, v.solarise) for v in small] == [(0.08, 0.0, 0.0), (0.08, 0.0, 0.2)]


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(NNCLR.Config()) == {
        "temperature": 0.2,
        "queue_size": 65536,
        "hidden_dim": 2048,
        "embedding_dim": 256,
        "predictor_dim": 4096,
    }


def test_every_number_of_the_recipes_is_pinned() -> None:
    large, small = (NNCLR.recipe_for(NNCLR.Config(), DATA, size) for size in (224, 32))

    assert (large.lr, large.weight_decay, small.lr, small.weight_decay) == (0.3, 1e-6, 0.4, 1e-5)
    assert (small.trust, small.clip_trust, large.trust, large.clip_trust) == (0.02, True, 0.001, False)
    for recipe in (large, small):
        assert (recipe.optimizer, recipe.lr_scaling, recipe.momentum, recipe.warmup_epochs) == (
            "lars", "linear", 0.9, 10
        )  # fmt: skip
