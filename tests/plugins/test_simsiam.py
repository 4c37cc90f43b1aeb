"""SimSiam's loss is that of its authors, and nothing of it reaches the target."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from sines import exactly, figures, sine
from slopes import slopes
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Step
from bench.contracts.recipe import ParamGroup, TrainConfig, resolve
from bench.pretraining.optimizer_step import begin_step
from bench.pretraining.optimizers import build_optimizer
from bench.registry.registry import Registry
from bench.testing import check_method

SimSiam = Registry.load().load_class("methods", "simsiam")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))
NAMES = ("a", "b", "predicted_a", "predicted_b")


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=8), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    small = {"hidden_dim": 16, "embedding_dim": 8, "predictor_dim": 4}
    return SimSiam(net(), 6, SimSiam.Config(**{**small, **config}), DATA)


def views(n: int = 5) -> list[Tensor]:
    return list(torch.randn(2, n, 3, 32, 32, generator=torch.Generator().manual_seed(0)))


def plain_loss(z: dict[str, Tensor]) -> float:
    """Return minus half of the two mean cosines, number by number."""

    def cosine(x: list[float], y: list[float]) -> float:
        return sum(a * b for a, b in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))

    rows = {name: value.tolist() for name, value in z.items()}
    one, other = (
        [cosine(p, target) for p, target in zip(rows[f"predicted_{x}"], rows[y], strict=True)]
        for x, y in ("ab", "ba")
    )
    return -(sum(one) + sum(other)) / len(one) / 2


@pytest.mark.parametrize(("n", "d"), [(2, 3), (7, 4)])
def test_loss_and_gradient_are_the_papers_in_plain_loops(n: int, d: int) -> None:
    drawn = torch.randn(4, n, d, generator=torch.Generator().manual_seed(n)).double()
    z = {name: x.clone().requires_grad_() for name, x in zip(NAMES, drawn, strict=True)}
    plain = {name: x.detach() for name, x in z.items()}
    loss = method().terms(z, NONE)["prediction"]
    loss.backward()

    assert float(loss.detach()) == pytest.approx(plain_loss(plain), rel=1e-9)
    for name in ("predicted_a", "predicted_b"):
        expected = slopes(lambda: plain_loss(plain), plain[name])
        torch.testing.assert_close(z[name].grad, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("shape", "value", "a_grad", "b_grad"),
    [
        (
            (8, 6), 0.226644151463,
            (0.0281656262482, 0.000618837386897, -0.00190931003987, -0.00145050348706),
            (-0.0260877222034, 0.0117153686672, -0.0143400851591, -0.00935987656307),
        ),
        (
            (33, 16), 0.237130197199,
            (-0.00179550032848, 3.47646838722e-05, -0.000219275124503, -0.000133103069417),
            (9.02711522651e-05, 0.000945652547326, -0.000357273289659, -0.00199231561791),
        ),
    ],
)  # fmt: skip
def test_value_and_gradient_are_those_of_the_authors_code(
    shape: tuple[int, int], value: float, a_grad: Any, b_grad: Any
) -> None:
    # facebookresearch/simsiam a7bc1772 main_simsiam.py, the loss of train()
    order = ("predicted_a", "predicted_b", "a", "b")
    z = {name: sine(stream, *shape).requires_grad_() for stream, name in enumerate(order)}
    loss = method().terms(z, NONE)["prediction"]
    loss.backward()

    assert float(loss.detach()) == pytest.approx(value, rel=1e-10)
    assert figures(z["predicted_a"].grad) == exactly(*a_grad)
    assert figures(z["predicted_b"].grad) == exactly(*b_grad)


def test_the_target_takes_no_gradient_and_the_prediction_does() -> None:
    z = {name: sine(stream, 8, 6).requires_grad_() for stream, name in enumerate(NAMES)}
    method().terms(z, NONE)["prediction"].backward()

    assert z["a"].grad is None
    assert z["b"].grad is None
    assert all(
        bool(z[name].grad is not None and z[name].grad.any()) for name in ("predicted_a", "predicted_b")
    )


def test_each_view_is_predicted_from_the_other_and_all_parts_are_trained() -> None:
    simsiam = method()
    z = simsiam.embed(views(), NONE)
    simsiam.terms(z, NONE)["prediction"].backward()

    assert [z[name].shape for name in NAMES] == [(5, 8)] * 4
    torch.testing.assert_close(z["predicted_a"], simsiam.predictor(z["a"]))
    assert all(p.grad is not None for p in simsiam.parameters())


def test_collapse_is_the_least_there_is_and_nothing_sees_the_length_of_a_row() -> None:
    alike = {name: torch.ones(6, 4).double() for name in NAMES}
    z = {name: sine(stream, 6, 4) for stream, name in enumerate(NAMES)}
    longer = {name: x * torch.linspace(0.1, 9, 6).unsqueeze(1) for name, x in z.items()}
    collapsed, one, other = (float(method().terms(x, NONE)["prediction"]) for x in (alike, z, longer))

    assert collapsed == pytest.approx(-1)
    assert one == pytest.approx(other, rel=1e-9)


def test_the_projection_ends_in_a_plain_norm_and_the_prediction_in_none() -> None:
    simsiam = method()
    projected, predicted = list(simsiam.projector), list(simsiam.predictor)

    assert isinstance(projected[-1], nn.BatchNorm1d)
    assert not projected[-1].affine
    assert [layer.bias is None for layer in projected if isinstance(layer, nn.Linear)] == [True, True]
    assert isinstance(predicted[-1], nn.Linear)
    assert [layer.bias is None for layer in predicted if isinstance(layer, nn.Linear)] == [True, False]


@pytest.mark.parametrize("layers", [2, 3])
def test_the_projector_has_as_many_layers_as_are_asked_for(layers: int) -> None:
    parts = method(projector_layers=layers).projector

    assert sum(isinstance(part, nn.Linear) for part in parts) == layers


@pytest.mark.parametrize("number", [0, 50, 99])
def test_the_predictor_learns_at_one_rate_and_everything_is_decayed(number: int) -> None:
    simsiam = method()
    recipe = SimSiam.recipe_for(SimSiam.Config(), DATA, 32)
    training = resolve(recipe, TrainConfig(epochs=100), 32, "float32")
    optimizer = build_optimizer(simsiam, training)
    begin_step(optimizer, training, Step(number=number, total=100, epoch=number, epochs=100))
    names = {id(p): name for name, p in simsiam.named_parameters()}
    groups = {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}
    cosine = 0.03 * (1 + math.cos(math.pi * number / 100)) / 2  # main_simsiam.py adjust_learning_rate

    assert set(groups) == set(names.values())
    assert {group["weight_decay"] for group in groups.values()} == {5e-4}
    for name, group in groups.items():
        assert group["lr"] == pytest.approx(0.03 if name.startswith("predictor") else cosine, abs=1e-12)


def test_small_images_are_not_blurred() -> None:
    large, small = (SimSiam.views(SimSiam.Config(), DATA, size) for size in (224, 64))

    assert large[0] == large[1]
    assert small[0] == small[1]
    assert (large[0].blur, small[0].blur) == (0.5, 0.0)
    for view in (large[0], small[0]):
        assert (view.crop_min, view.brightness, view.contrast) == (0.2, 0.4, 0.4)
        assert (view.saturation, view.hue, view.grey, view.solarise) == (0.4, 0.1, 0.2, 0.0)


def test_every_number_of_both_recipes_is_the_papers() -> None:
    large, small = (SimSiam.recipe_for(SimSiam.Config(), DATA, size) for size in (224, 64))

    assert (large.optimizer, large.lr, large.lr_scaling, large.weight_decay) == ("sgd", 0.05, "linear", 1e-4)
    assert (small.optimizer, small.lr, small.lr_scaling, small.weight_decay) == ("sgd", 0.03, "linear", 5e-4)
    for recipe in (large, small):
        assert (recipe.momentum, recipe.warmup_epochs, recipe.min_lr, recipe.nesterov) == (0.9, 0, 0.0, False)
        assert recipe.groups == (
            ParamGroup(match="predictor.*", constant_lr=True, decay=True),
            ParamGroup(match="*", decay=True),
        )


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(SimSiam.Config()) == {
        "projector_layers": 2,
        "hidden_dim": 2048,
        "embedding_dim": 2048,
        "predictor_dim": 512,
    }


@pytest.mark.long
def test_simsiam_keeps_the_contract() -> None:
    check_method(SimSiam, "simsiam", SimSiam.Config(hidden_dim=32, embedding_dim=16, predictor_dim=8))
