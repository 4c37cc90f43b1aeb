"""VICReg's terms are those of the authors' main_vicreg.py, in plain loops."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch
from bench.registry.registry import Registry

VICReg = Registry.load().load_class("methods", "vicreg")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))


class Small(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 6, 3, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return VICReg(Small(), 6, VICReg.Config(**{"embedding_dim": 8, **config}), DATA)


def pair(n: int = 6, d: int = 4, scale: float = 0.7) -> dict[str, Tensor]:
    a, b = torch.randn(2, n, d, generator=torch.Generator().manual_seed(0)).unbind(0)
    return {"a": scale * a, "b": scale * (a + 0.5 * b)}


def terms(embeddings: dict[str, Tensor], **config: Any) -> dict[str, float]:
    return {name: float(term) for name, term in method(**config).terms(embeddings, NONE).items()}


def covariance(z: list[list[float]]) -> list[list[float]]:
    """Return the covariance of the columns, over n - 1."""
    n, d = len(z), len(z[0])
    means = [sum(row[j] for row in z) / n for j in range(d)]
    centred = [[row[j] - means[j] for j in range(d)] for row in z]
    return [[sum(row[i] * row[j] for row in centred) / (n - 1) for j in range(d)] for i in range(d)]


def official(embeddings: dict[str, Tensor]) -> dict[str, float]:
    """Return the weighted terms of main_vicreg.py, lines 194-221, number by number."""
    x, y = (z.double().tolist() for z in (embeddings["a"], embeddings["b"]))
    n, d = len(x), len(x[0])
    squares = sum((x[i][j] - y[i][j]) ** 2 for i in range(n) for j in range(d))
    hinges, offs = [], []
    for c in (covariance(x), covariance(y)):
        hinges.append(sum(max(0.0, 1 - math.sqrt(c[j][j] + 0.0001)) for j in range(d)) / d)
        offs.append(sum(c[i][j] ** 2 for i in range(d) for j in range(d) if i != j) / d)
    return {
        "invariance": 25 * squares / (n * d),
        "variance": 25 * (hinges[0] / 2 + hinges[1] / 2),
        "covariance": 1 * (offs[0] + offs[1]),
    }


@pytest.mark.parametrize(("n", "d"), [(2, 3), (6, 4), (40, 9)])
@pytest.mark.parametrize("scale", [0.1, 0.7, 3.0])
def test_the_terms_are_the_authors_in_plain_loops(n: int, d: int, scale: float) -> None:
    z = pair(n, d, scale)

    assert terms(z) == pytest.approx(official(z), rel=1e-4, abs=1e-6)


def test_the_papers_variance_is_twice_the_codes_and_nothing_else_changes() -> None:
    z = pair()
    mean, total = terms(z, variance_reduction="mean"), terms(z, variance_reduction="sum")

    assert total["variance"] == 2 * mean["variance"] > 0
    assert total["invariance"] == mean["invariance"]
    assert total["covariance"] == mean["covariance"] > 0


def test_each_weight_is_of_its_own_term() -> None:
    z, plain = pair(), terms(pair(), invariance=1.0, variance=1.0, covariance=1.0)

    for name, value in plain.items():
        weighted = terms(z, **{"invariance": 1.0, "variance": 1.0, "covariance": 1.0, name: 3.0})

        assert weighted == pytest.approx({**plain, name: 3 * value}, rel=1e-6)


def test_the_toy_values_of_the_two_forms_differ_by_half_the_variance() -> None:
    a, b = (0.5 * torch.randn(2, 256, 128, generator=torch.Generator().manual_seed(0))).unbind(0)
    z = {"a": a, "b": b}

    assert sum(terms(z).values()) == pytest.approx(25.1, abs=0.5)  # authors', lightly
    assert sum(terms(z, variance_reduction="sum").values()) == pytest.approx(37.6, abs=0.5)  # solo-learn


def test_what_is_spread_alike_and_uncorrelated_loses_nothing() -> None:
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]) * 1.5

    assert terms({"a": signs, "b": signs}) == {"invariance": 0, "variance": 0, "covariance": 0}


def test_exact_collapse_has_a_finite_loss_and_gradient() -> None:
    z = {name: torch.full((6, 4), 0.3, requires_grad=True) for name in ("a", "b")}
    found = method().terms(z, NONE)
    sum(found.values()).backward()

    assert float(found["variance"].detach()) == pytest.approx(25 * (1 - 0.01), rel=1e-5)
    assert all(bool(value.grad is not None and value.grad.isfinite().all()) for value in z.values())


def test_terms_do_not_see_a_permutation_of_dimensions() -> None:
    z, order = pair(20, 5), torch.tensor([3, 1, 4, 0, 2])

    assert terms({name: value[:, order] for name, value in z.items()}) == pytest.approx(terms(z), rel=1e-5)


def test_terms_do_not_see_a_common_translation_and_variance_and_covariance_none() -> None:
    z = pair(20, 5)
    both, one = {name: value + 3 for name, value in z.items()}, {"a": z["a"] + 3, "b": z["b"]}

    assert terms(both) == pytest.approx(terms(z), rel=1e-4)
    assert terms(one)["variance"] == pytest.approx(terms(z)["variance"], rel=1e-4)
    assert terms(one)["covariance"] == pytest.approx(terms(z)["covariance"], rel=1e-4)
    assert terms(one)["invariance"] > terms(z)["invariance"] + 100


def test_invariance_and_covariance_see_a_scale_as_they_should() -> None:
    z, twice = pair(20, 5), {name: 2 * value for name, value in pair(20, 5).items()}

    assert terms(twice)["invariance"] == pytest.approx(4 * terms(z)["invariance"], rel=1e-5)
    assert terms(twice)["covariance"] == pytest.approx(16 * terms(z)["covariance"], rel=1e-5)


def test_each_view_has_a_pass_and_batch_statistics_of_its_own() -> None:
    vicreg = method()
    one, other = torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    z = vicreg.embed([one, other], NONE)

    torch.testing.assert_close(z["a"], vicreg.projector(vicreg.backbone(one)))
    torch.testing.assert_close(z["b"], vicreg.projector(vicreg.backbone(other)))


def test_the_gradient_reaches_the_backbone_and_the_projector() -> None:
    vicreg = method()
    views = torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sum(vicreg.terms(vicreg.embed(list(views), NONE), NONE).values()).backward()

    assert all(p.grad is not None and bool(p.grad.any()) for p in vicreg.backbone.parameters())
    assert all(p.grad is not None for p in vicreg.projector.parameters())


def test_the_projector_is_the_authors_three_layers() -> None:
    projector = VICReg(Small(), 512, VICReg.Config(), DATA).projector
    linear = [layer for layer in projector if isinstance(layer, nn.Linear)]
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU]

    assert [type(layer) for layer in projector] == [*hidden, *hidden, nn.Linear]
    assert [tuple(layer.weight.shape) for layer in linear] == [(2048, 512), (2048, 2048), (2048, 2048)]
    assert [layer.bias is not None for layer in linear] == [True, True, False]


@pytest.mark.parametrize(("size", "crop_min", "blur"), [(32, 0.2, 0.0), (64, 0.2, 0.0), (224, 0.08, 0.5)])
def test_views_are_alike_and_small_ones_are_not_blurred(size: int, crop_min: float, blur: float) -> None:
    first, second = VICReg.views(VICReg.Config(), DATA, size)

    assert first == second
    assert (first.crop_min, first.blur, first.solarise, first.grey) == (crop_min, blur, 0.1, 0.2)
    assert (first.brightness, first.contrast, first.saturation, first.hue) == (0.4, 0.4, 0.2, 0.1)


def test_the_weights_are_the_papers() -> None:
    recipe, config = VICReg.recipe, VICReg.Config()

    assert (config.invariance, config.variance, config.covariance) == (25, 25, 1)
    assert config.variance_reduction == "mean"
    assert (recipe.optimizer, recipe.weight_decay) == ("lars", 1e-6)


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(VICReg.Config()) == {
        "invariance": 25.0,
        "variance": 25.0,
        "covariance": 1.0,
        "variance_reduction": "mean",
        "embedding_dim": 2048,
    }


def test_every_number_of_the_recipe_is_pinned() -> None:
    recipe = VICReg.recipe

    assert (recipe.lr, recipe.lr_scaling, recipe.momentum, recipe.warmup_epochs) == (0.094, "sqrt", 0.9, 10)
