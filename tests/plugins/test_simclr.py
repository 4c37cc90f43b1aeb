"""SimCLR's loss is equation 1 of its paper, in plain loops."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.contracts.dataset import Images
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Embeddings
from bench.contracts.recipe import Training
from bench.nn.losses import nt_xent
from bench.pretraining.loop import pretrain
from bench.pretraining.training_run import TrainingRun
from bench.registry.registry import Registry

SimCLR = Registry.load().load_class("methods", "simclr")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))


class Small(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 6, 3, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return SimCLR(Small(), 6, SimCLR.Config(**{"hidden_dim": 16, "embedding_dim": 8, **config}), DATA)


def pair(n: int = 5, d: int = 4) -> dict[str, Tensor]:
    a, b = torch.randn(2, n, d, generator=torch.Generator().manual_seed(0)).unbind(0)
    return {"a": a, "b": a + 0.5 * b}


def papers_loss(embeddings: dict[str, Tensor], temperature: float) -> float:
    """Return L of algorithm 1, number by number; a pair is 2k and 2k + 1 as there."""
    pairs = zip(embeddings["a"].double().tolist(), embeddings["b"].double().tolist(), strict=True)
    z = [view for both in pairs for view in both]

    def s(i: int, j: int) -> float:
        dot = sum(x * y for x, y in zip(z[i], z[j], strict=True))
        return dot / (math.hypot(*z[i]) * math.hypot(*z[j]))

    def loss(i: int, j: int) -> float:
        others = sum(math.exp(s(i, k) / temperature) for k in range(len(z)) if k != i)
        return -math.log(math.exp(s(i, j) / temperature) / others)

    return sum(loss(k, k + 1) + loss(k + 1, k) for k in range(0, len(z), 2)) / len(z)


def loss_of(embeddings: Embeddings, **config: Any) -> float:
    terms = method(**config).terms(embeddings, NONE)

    assert list(terms) == ["contrastive"]
    return float(terms["contrastive"])


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("n", [2, 5, 9])
def test_the_loss_is_the_papers_in_plain_loops(n: int, temperature: float) -> None:
    found = loss_of(pair(n), temperature=temperature)

    assert found == pytest.approx(papers_loss(pair(n), temperature), rel=1e-5, abs=1e-7)
    assert found != pytest.approx(2 * papers_loss(pair(n), temperature), rel=0.1)  # google-research/simclr


@pytest.mark.parametrize("n", [2, 16])
def test_views_that_are_all_alike_lose_the_log_of_their_number_but_one(n: int) -> None:
    alike = torch.ones(n, 4)

    assert loss_of({"a": alike, "b": alike}) == pytest.approx(math.log(2 * n - 1), rel=1e-5)


def test_an_image_far_from_all_others_loses_nothing() -> None:
    axes = torch.eye(4)

    assert loss_of({"a": axes, "b": axes}, temperature=0.05) == pytest.approx(0, abs=1e-6)


def test_the_loss_does_not_see_the_length_of_an_embedding() -> None:
    z, lengths = pair(), torch.tensor([0.01, 1, 3, 50, 1000]).unsqueeze(1)

    assert loss_of({"a": z["a"] * lengths, "b": z["b"] / lengths}) == pytest.approx(loss_of(z), rel=1e-5)


def test_the_loss_does_not_see_the_order_of_views_or_images() -> None:
    z, order = pair(), torch.tensor([3, 1, 4, 0, 2])

    assert loss_of({"a": z["b"], "b": z["a"]}) == pytest.approx(loss_of(z), rel=1e-5)
    assert loss_of({"a": z["a"][order], "b": z["b"][order]}) == pytest.approx(loss_of(z), rel=1e-5)


def plain_loss(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Return L with all similarities at once, as torch's own cross-entropy and autograd have it."""
    z = F.normalize(torch.cat([a, b]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(a)))


def value_and_gradient(loss: Tensor, *z: Tensor) -> tuple[Tensor, ...]:
    return loss.detach(), *torch.autograd.grad(3 * loss, z)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("rows", [1, 7, 25, 49, 50, 512])
@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_blocks_of_similarities_have_the_value_and_gradient_of_all_at_once(
    dtype: torch.dtype, most: float, rows: int, temperature: float
) -> None:
    a, b = (value.to(dtype).requires_grad_() for value in pair(25, 8).values())
    found = value_and_gradient(nt_xent(a, b, temperature, rows), a, b)
    wanted = value_and_gradient(plain_loss(a, b, temperature), a, b)

    for one, other in zip(found, wanted, strict=True):
        assert float((one - other).norm() / other.norm()) < 2 * most


def test_the_gradient_is_that_of_finite_differences() -> None:
    a, b = (value.double().requires_grad_() for value in pair(4, 3).values())

    assert torch.autograd.gradcheck(lambda x, y: nt_xent(x, y, 0.5, 3), (a, b))


def test_the_loss_never_holds_all_similarities() -> None:
    class Largest(TorchDispatchMode):
        values = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                self.values = max(self.values, out.numel())
            return out

    n, d, rows = 300, 8, 16
    a, b = (value.requires_grad_() for value in pair(n, d).values())
    with Largest() as seen:
        nt_xent(a, b, 0.2, rows).backward()

    assert seen.values == rows * 2 * n


def test_a_loss_that_nobody_goes_back_from_has_the_same_value() -> None:
    a, b = (value.requires_grad_() for value in pair().values())
    with torch.no_grad():
        without = nt_xent(a, b, 0.2)

    assert torch.equal(without, nt_xent(a, b, 0.2))


@pytest.mark.parametrize("temperature", [0.05, 0.005])
def test_a_low_temperature_stays_finite(temperature: float) -> None:
    z = {name: value.requires_grad_() for name, value in pair(64).items()}
    term = method(temperature=temperature).terms(z, NONE)["contrastive"]
    term.backward()

    assert bool(term.isfinite())
    assert all(bool(v.grad is not None and v.grad.isfinite().all()) for v in z.values())


def test_opposite_twins_at_a_low_temperature_lose_what_the_logits_say() -> None:
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    found = loss_of({"a": z, "b": -z}, temperature=0.01)

    assert found == pytest.approx(200, rel=1e-5)  # e^200 is no float32


def test_contrastive_top1_is_how_often_the_twin_is_nearest() -> None:
    z = pair(40)
    views = F.normalize(torch.cat([z["a"], z["b"]]).double(), dim=1).tolist()
    right = 0
    for i, one in enumerate(views):
        others = [k for k in range(80) if k != i]
        nearest = max(others, key=lambda k: sum(x * y for x, y in zip(one, views[k], strict=True)))
        right += nearest == (i + 40) % 80
    found = method().monitors(z, NONE)

    assert 0 < right < 80
    assert float(found["contrastive_top1"]) == pytest.approx(100 * right / 80)


def test_the_gradient_reaches_the_backbone_and_the_projector() -> None:
    simclr = method()
    views = torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    simclr.terms(simclr.embed(list(views), NONE), NONE)["contrastive"].backward()

    assert all(p.grad is not None and bool(p.grad.any()) for p in simclr.backbone.parameters())
    assert all(p.grad is not None for p in simclr.projector.parameters())


def test_both_views_share_one_pass_and_so_their_batch_statistics() -> None:
    simclr = method()
    one, other = torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    z = simclr.embed([one, other], NONE)
    together = simclr.projector(simclr.backbone(torch.cat([one, other])))

    torch.testing.assert_close(torch.cat([z["a"], z["b"]]), together)
    assert int(simclr.projector[1].num_batches_tracked) == 2  # a pass each


def test_the_projector_is_the_papers_two_layers() -> None:
    projector = SimCLR(Small(), 512, SimCLR.Config(), DATA).projector
    shapes = [tuple(layer.weight.shape) for layer in projector if isinstance(layer, nn.Linear)]

    assert [type(layer) for layer in projector] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert shapes == [(2048, 512), (128, 2048)]


def test_small_images_have_the_views_of_appendix_b9() -> None:
    for size in (28, 32, 64):
        first, second = SimCLR.views(SimCLR.Config(), DATA, size)

        assert first == second
        assert (first.brightness, first.contrast, first.saturation, first.hue) == (0.4, 0.4, 0.4, 0.1)
        assert (first.jitter, first.grey, first.flip) == (0.8, 0.2, 0.5)
        assert (first.crop_min, first.crop_max, first.crop_ratio) == (0.08, 1.0, 4 / 3)
        assert (first.blur, first.solarise, first.affine) == (0, 0, 0)


def test_larger_images_have_the_views_of_appendix_a() -> None:
    first, second = SimCLR.views(SimCLR.Config(), DATA, 224)

    assert first == second
    assert (first.brightness, first.contrast, first.saturation, first.hue) == (0.8, 0.8, 0.8, 0.2)
    assert (first.blur, first.blur_min, first.blur_max) == (0.5, 0.1, 2.0)


def test_the_recipe_is_the_papers() -> None:
    recipe = SimCLR.recipe

    assert (recipe.optimizer, recipe.lr, recipe.lr_scaling) == ("lars", 0.075, "sqrt")
    assert (recipe.weight_decay, recipe.momentum, recipe.warmup_epochs) == (1e-6, 0.9, 10)


def test_the_terms_are_float32_when_the_embedding_is_not(tmp_path: Path) -> None:
    seen: dict[str, set[torch.dtype]] = {"embed": set(), "terms": set()}

    class Watched(SimCLR):  # type: ignore[misc, valid-type]
        def embed(self, views: Any, batch: Batch) -> Embeddings:
            z: Embeddings = super().embed(views, batch)
            seen["embed"] |= {value.dtype for value in z.values()}
            return z

        def terms(self, embeddings: Embeddings, batch: Batch) -> dict[str, Tensor]:
            terms: dict[str, Tensor] = super().terms(embeddings, batch)
            seen["terms"] |= {value.dtype for value in (*embeddings.values(), *terms.values())}
            return terms

    run = TrainingRun(
        what="simclr",
        key="key",
        training=Training(
            epochs=1, batch_size=4, image_size=16, precision="bfloat16", optimizer="sgd", lr=0.1,
            weight_decay=0.0, momentum=0.9, warmup_epochs=0.0,
        ),
        views=SimCLR.views(SimCLR.Config(), DATA, 16),
        mean=(0.5,) * 3, std=(0.5,) * 3, seed=0, device=torch.device("cpu"), folder=tmp_path,
    )  # fmt: skip
    pixels = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    watched = Watched(Small(), 6, SimCLR.Config(hidden_dim=16, embedding_dim=8), DATA)
    pretrain(watched, Images(pixels, torch.arange(8) % 2), run)

    assert seen == {"embed": {torch.bfloat16}, "terms": {torch.float32}}


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(SimCLR.Config()) == {"temperature": 0.2, "hidden_dim": 2048, "embedding_dim": 128}
