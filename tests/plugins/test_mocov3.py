"""MoCo v3's loss is that of its authors, and its key network follows along their schedule."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tiny_training
import torch
from kept_state import largest_difference, state_after, state_after_a_stop
from sines import exactly, figures, sine
from torch import Tensor, nn

from bench.contracts.backbone import BackboneInfo
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Step
from bench.errors import Unsupported
from bench.registry.registry import Registry
from bench.testing import check_method

MoCoV3 = Registry.load().load_class("methods", "mocov3")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))
NAMES = ("a", "b", "key_a", "key_b")
SMALL = {"hidden_dim": 16, "embedding_dim": 8}


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=8), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return MoCoV3(net(), 6, MoCoV3.Config(**{**SMALL, **config}), DATA)


def embeddings(n: int, d: int) -> dict[str, Tensor]:
    return {name: sine(stream, n, d) for stream, name in enumerate(NAMES)}


def unit(row: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def plain_loss(z: dict[str, Tensor], temperature: float) -> float:
    """Return 2 T times the cross-entropies of both directions, number by number."""
    total = 0.0
    for query, key in (("a", "key_b"), ("b", "key_a")):
        q, k = ([unit(row) for row in z[name].tolist()] for name in (query, key))
        for i, row in enumerate(q):
            similar = [
                math.exp(sum(x * y for x, y in zip(row, other, strict=True)) / temperature) for other in k
            ]
            total -= math.log(similar[i] / sum(similar)) / len(q)
    return 2 * temperature * total


@pytest.mark.parametrize(("n", "d"), [(2, 3), (7, 4), (40, 9)])
@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_the_loss_is_the_papers_in_plain_loops(n: int, d: int, temperature: float) -> None:
    z = embeddings(n, d)
    loss = method(temperature=temperature).terms(z, NONE)["contrastive"]

    assert float(loss) == pytest.approx(plain_loss(z, temperature), rel=1e-9)


@pytest.mark.parametrize(
    ("shape", "temperature", "value", "a", "b"),
    [
        (
            (8, 6), 1.0, 10.1108630511,
            (-0.130253120267, 0.00669714647474, -0.01204573032, 0.00273832108197),
            (-0.271845677043, 0.202110619052, -0.0551806182806, -0.037810055888),
        ),
        (
            (8, 6), 0.2, 4.89779586646,
            (-0.16283154439, 0.0201811514976, -0.0169503736773, 0.00691831265437),
            (-0.205830629242, 0.279806388429, -0.0858673818621, -0.0250774931384),
        ),
        (
            (33, 16), 0.2, 6.28672355003,
            (-0.0175182682557, 0.000918307074195, -0.000515902313042, -0.000388824135015),
            (-0.00609874217111, 0.0146959811975, -0.00316097138381, -0.00580186336234),
        ),
    ],
)  # fmt: skip
def test_value_and_gradient_are_those_of_the_authors_code(
    shape: tuple[int, int], temperature: float, value: float, a: Any, b: Any
) -> None:
    # facebookresearch/moco-v3 c349e6e2 moco/builder.py, both directions
    z = {name: x.requires_grad_(name in ("a", "b")) for name, x in embeddings(*shape).items()}
    loss = method(temperature=temperature).terms(z, NONE)["contrastive"]
    loss.backward()

    assert float(loss.detach()) == pytest.approx(value, rel=1e-10)
    assert figures(z["a"].grad) == exactly(*a)
    assert figures(z["b"].grad) == exactly(*b)


def test_collapsed_embeddings_have_a_higher_loss_than_spread_ones() -> None:
    spread, alike = torch.eye(16), torch.ones(16, 16)
    losses = [float(method().terms(dict.fromkeys(NAMES, z), NONE)["contrastive"]) for z in (spread, alike)]

    assert losses[0] < 0.1
    assert losses[1] == pytest.approx(2 * 2 * 0.2 * math.log(16))


def test_the_loss_does_not_depend_on_the_length_of_a_row() -> None:
    z, scale = embeddings(8, 6), torch.linspace(0.1, 9, 8).unsqueeze(1)
    longer = {name: value * scale for name, value in z.items()}
    losses = [float(method().terms(some, NONE)["contrastive"]) for some in (z, longer)]

    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_the_key_network_takes_no_gradient_and_is_a_copy_at_first() -> None:
    moco = method()
    views = list(torch.randn(2, 5, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    found = moco.embed(views, NONE)
    sum(moco.terms(found, NONE).values()).backward()
    online = [*moco.backbone.parameters(), *moco.projector.parameters()]

    assert not any(p.requires_grad or p.grad is not None for p in moco.target.parameters())
    assert not found["key_a"].requires_grad
    assert not found["key_b"].requires_grad
    assert all(p.grad is not None for p in (*online, *moco.predictor.parameters()))
    assert all(map(torch.equal, moco.target.parameters(), online))


@pytest.mark.parametrize(("number", "momentum"), [(0, 0.99), (250, 0.991464466094), (999, 0.999999975326)])
def test_the_key_network_moves_by_the_authors_momentum(number: int, momentum: float) -> None:
    # facebookresearch/moco-v3 c349e6e2 main_moco.py adjust_moco_momentum, 10 epochs of 100 steps
    moco = method().double()
    before = [p.clone() for p in moco.target.parameters()]
    online = [*moco.backbone.parameters(), *moco.projector.parameters()]
    with torch.no_grad():
        for p in online:
            p.add_(1)
    moco.after_step(Step(number=number, total=1000))

    for now, old, new in zip(moco.target.parameters(), before, online, strict=True):
        assert torch.allclose(now, momentum * old + (1 - momentum) * new, rtol=0, atol=1e-11)


def test_statistics_of_batch_norm_are_the_key_networks_own() -> None:
    moco = method()
    moco.backbone[1].running_mean += 1
    moco.after_step(Step())

    assert float(moco.target.network[0][1].running_mean.abs().max()) == 0


def shapes(head: nn.Sequential) -> list[str]:
    norms = {True: "BN", False: "BN0"}
    names = {nn.ReLU: "ReLU"}
    return [
        norms[part.affine] if isinstance(part, nn.BatchNorm1d) else names.get(type(part), "linear")
        for part in head
    ]


def test_heads_are_those_of_the_papers_resnet_and_of_its_transformers() -> None:
    layer = ["linear", "BN", "ReLU"]
    resnet, vit = method(), method(vit=True)

    assert shapes(resnet.projector) == [*layer, "linear", "BN0"]
    assert shapes(resnet.predictor) == [*layer, "linear"]
    assert shapes(vit.projector) == [*layer, *layer, "linear", "BN0"]
    assert shapes(vit.predictor) == [*layer, "linear", "BN0"]
    heads = (resnet.projector, resnet.predictor, vit.projector, vit.predictor)
    assert all(part.bias is None for head in heads for part in head if isinstance(part, nn.Linear))


def test_a_transformers_patch_projection_stays_as_it_is() -> None:
    vit, resnet = method(vit=True), method()

    assert not any(p.requires_grad for p in vit.backbone[0].parameters())
    assert all(p.requires_grad for p in (*vit.backbone[1].parameters(), *resnet.backbone.parameters()))


def test_the_recipe_for_transformers_is_refused_where_there_are_no_patches() -> None:
    vit, resnet = MoCoV3.Config(vit=True), MoCoV3.Config()
    MoCoV3.check(resnet, BackboneInfo(), DATA, 32)
    MoCoV3.check(vit, BackboneInfo(grid=(4, 4)), DATA, 32)

    with pytest.raises(Unsupported, match="no patches to project"):
        MoCoV3.check(vit, BackboneInfo(), DATA, 32)


@pytest.mark.parametrize("changes", [{}, {"chunk_size": 4}])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    def make() -> Any:
        return MoCoV3(tiny_training.net(), 6, MoCoV3.Config(**SMALL), DATA)

    torch.manual_seed(0)
    whole = state_after(make, tmp_path / "whole", **changes)
    torch.manual_seed(0)
    stopped = state_after_a_stop(make, tmp_path / "stopped", **changes)

    assert all(torch.equal(value, stopped[name]) for name, value in whole.items())


def test_in_chunks_it_keeps_what_it_keeps_of_the_whole_batch(tmp_path: Path) -> None:
    def make() -> Any:
        torch.manual_seed(0)
        made = MoCoV3(tiny_training.net(), 6, MoCoV3.Config(**SMALL), DATA)
        return tiny_training.frozen(made)  # batch norm sees the chunk

    whole = state_after(make, tmp_path / "whole")
    chunked = state_after(make, tmp_path / "chunked", chunk_size=4)

    assert largest_difference(whole, chunked) < 1e-4
    assert largest_difference(whole, make().state_dict()) > 1e-2


@pytest.mark.long
@pytest.mark.parametrize("vit", [False, True])
def test_mocov3_keeps_the_contract(*, vit: bool) -> None:
    check_method(MoCoV3, "mocov3", MoCoV3.Config(hidden_dim=32, embedding_dim=16, vit=vit))


def test_views_are_byols_and_a_resnets_crops_are_larger() -> None:
    resnet, vit, small = (
        MoCoV3.views(MoCoV3.Config(vit=vit), DATA, size)
        for vit, size in ((False, 224), (True, 224), (False, 32))
    )

    assert [(v.crop_min, v.blur, v.solarise) for v in resnet] == [(0.2, 1.0, 0.0), (0.2, 0.1, 0.2)]
    assert [(v.crop_min, v.blur, v.solarise) for v in vit] == [(0.08, 1.0, 0.0), (0.08, 0.1, 0.2)]
    assert [(v.crop_min, v.blur, v.solarise) for v in small] == [(0.08, 0.0, 0.0), (0.08, 0.0, 0.2)]
    for view in (*resnet, *vit, *small):
        assert (view.brightness, view.contrast, view.saturation, view.hue) == (0.4, 0.4, 0.2, 0.1)
        assert (view.jitter, view.grey, view.flip) == (0.8, 0.2, 0.5)


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(MoCoV3.Config()) == {
        "temperature": 0.2, "momentum": 0.99, "vit": False, "hidden_dim": 4096, "embedding_dim": 256
    }  # fmt: skip


def test_every_number_of_the_recipes_is_pinned() -> None:
    large, small = (MoCoV3.recipe_for(MoCoV3.Config(), DATA, size) for size in (224, 32))
    assert (small.trust, small.clip_trust, large.trust, large.clip_trust) == (0.02, True, 0.001, False)
    for recipe, lr in ((large, 0.6), (small, 0.3)):
        assert (recipe.optimizer, recipe.lr, recipe.lr_scaling) == ("lars", lr, "linear")
        assert (recipe.weight_decay, recipe.momentum, recipe.warmup_epochs) == (1e-6, 0.9, 10)


@pytest.mark.parametrize("size", [32, 224])
def test_every_number_of_the_recipe_for_transformers_is_pinned(size: int) -> None:
    recipe = MoCoV3.recipe_for(MoCoV3.Config(vit=True), DATA, size)

    assert (recipe.optimizer, recipe.lr, recipe.lr_scaling) == ("adamw", 1.5e-4, "linear")
    assert (recipe.weight_decay, recipe.betas, recipe.warmup_epochs) == (0.1, (0.9, 0.999), 40)
