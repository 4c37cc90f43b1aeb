"""SupCon's loss is L_out of the paper, and the authors' but for their factor."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from typing import Any

import pytest
import torch
from conftest import Lab
from sines import exactly, figures, sine
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch
from bench.nn.losses import nt_xent
from bench.registry.registry import Registry
from bench.testing import check_method

SupCon = Registry.load().load_class("methods", "supcon")
supervised_contrast = sys.modules[SupCon.__module__].supervised_contrast
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return SupCon(net(), 6, SupCon.Config(**{"hidden_dim": 16, "embedding_dim": 8, **config}), DATA)


def batch(labels: list[int]) -> Batch:
    return Batch(torch.arange(len(labels)), torch.tensor(labels))


def loss(a: Tensor, b: Tensor, labels: list[int], temperature: float = 0.1) -> Tensor:
    found: Tensor = method(temperature=temperature).terms({"a": a, "b": b}, batch(labels))["contrastive"]
    return found


def unit(row: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def plain_loss(a: Tensor, b: Tensor, labels: list[int], temperature: float) -> float:
    """Return the mean of L_out over all views, number by number."""
    z, classes, total = [unit(row) for row in [*a.tolist(), *b.tolist()]], labels * 2, 0.0
    for i, row in enumerate(z):
        exps = [math.exp(sum(x * y for x, y in zip(row, other, strict=True)) / temperature) for other in z]
        among = sum(exps) - exps[i]
        positives = [p for p in range(len(z)) if p != i and classes[p] == classes[i]]
        total += sum(-math.log(exps[p] / among) for p in positives) / len(positives)
    return total / len(z)


@pytest.mark.parametrize("labels", [[0, 0], [0, 1, 2], [0, 1, 1, 0, 2, 0, 1], [3] * 5])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_is_the_papers_in_plain_loops(labels: list[int], temperature: float) -> None:
    a, b = sine(0, len(labels), 6), sine(1, len(labels), 6)
    assert float(loss(a, b, labels, temperature)) == pytest.approx(
        plain_loss(a, b, labels, temperature), rel=1e-9
    )


@pytest.mark.parametrize(
    ("shape", "classes", "temperature", "value", "first", "second"),
    [
        (
            (8, 6), 3, 0.07, 4.69552354884,
            (-0.121261800294, 5.02081976331, -0.258991081056, -0.000284814167715),
            (2.9528729033, 4.01690815762, 0.0638599903938, 0.264181083714),
        ),
        (
            (33, 16), 5, 0.1, 17.9074525409,
            (-0.0572684829921, 0.0194451576829, -0.00321794644626, 0.00228785720183),
            (-0.1087140024, 0.0229265130742, -0.0140932845604, 0.0144839292123),
        ),
    ],
)  # fmt: skip
def test_times_their_factor_value_and_gradient_are_those_of_the_authors_code(
    shape: tuple[int, int], classes: int, temperature: float, value: float, first: Any, second: Any
) -> None:
    # HobbitLong/SupContrast 66a8fe53 losses.py, base_temperature 0.07
    labels = [(7 * i if classes == 3 else 2 * i) % classes for i in range(shape[0])]
    a, b = sine(0, *shape).requires_grad_(), sine(1, *shape).requires_grad_()
    theirs = temperature / 0.07 * loss(a, b, labels, temperature)
    theirs.backward()

    assert float(theirs.detach()) == pytest.approx(value, rel=1e-10)
    assert figures(a.grad) == exactly(*first)
    assert figures(b.grad) == exactly(*second)


def test_the_sum_over_positives_is_outside_the_logarithm() -> None:
    # solo-learn 9187ea39 solo/losses/simclr.py has it inside: 1.98 on these
    labels = [2 * i % 5 for i in range(33)]

    assert float(loss(sine(0, 33, 16), sine(1, 33, 16), labels)) == pytest.approx(12.5352167786, rel=1e-10)


def test_where_every_image_is_its_own_class_it_is_simclrs_loss() -> None:
    a, b = sine(0, 33, 16), sine(1, 33, 16)

    assert float(loss(a, b, list(range(33)), 0.5)) == pytest.approx(float(nt_xent(a, b, 0.5)), rel=1e-9)
    assert float(nt_xent(a, b, 0.5)) == pytest.approx(3.88569901628, rel=1e-10)  # SupContrast, no labels


def test_a_view_without_positives_counts_as_nothing() -> None:
    z = torch.eye(4).double().requires_grad_()
    alone = supervised_contrast(z, torch.arange(4), 0.1)
    one_pair = supervised_contrast(z, torch.tensor([0, 0, 1, 2]), 0.1)
    (alone + one_pair).backward()

    assert float(alone.detach()) == 0
    assert float(one_pair.detach()) == pytest.approx(2 * math.log(3) / 4)
    assert z.grad.isfinite().all()


def test_embeddings_that_collapse_to_their_class_win_over_those_that_collapse_to_one() -> None:
    labels = [0, 1, 2, 3] * 4
    by_class, alike = torch.eye(4)[labels].double(), torch.ones(16, 4).double()
    losses = [float(loss(z, z, labels)) for z in (by_class, alike)]

    assert losses[0] == pytest.approx(math.log(7), abs=0.01)  # one of seven positives, nothing else near
    assert losses[1] == pytest.approx(math.log(31))


def test_labels_matter_and_the_length_of_a_row_does_not() -> None:
    a, b, scale = sine(0, 8, 6), sine(1, 8, 6), torch.linspace(0.1, 9, 8).unsqueeze(1)
    labels = [0, 0, 0, 0, 1, 1, 1, 1]

    assert SupCon.uses_labels
    assert float(loss(a * scale, b, labels)) == pytest.approx(float(loss(a, b, labels)), rel=1e-9)
    assert float(loss(a, b, [0, 1] * 4)) != pytest.approx(float(loss(a, b, labels)), rel=1e-3)


def test_two_views_of_each_labelled_image_are_trained_on_at_each_label_fraction(lab: Lab) -> None:
    small = {"method.hidden_dim": 16, "method.embedding_dim": 8, "train.epochs": 1}
    cells = lab.plan(small, method="supcon", label_frac=(0.5, 1.0))
    few, all_of_them = lab.run(cells)

    assert len(SupCon.views(SupCon.Config(), DATA, 16)) == 2
    assert (few["status"], all_of_them["status"]) == ("ok", "ok")
    assert cells[0].keys.backbone != cells[1].keys.backbone


def test_a_step_is_that_of_the_authors_loss_with_their_rate_and_decay() -> None:
    # momentum SGD: a loss c times as large, with a rate of 1 / c and a decay of c times, is the same training
    recipe, nets = SupCon.recipe, []
    views, labels = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0)), [0, 1, 2, 0, 1, 2, 0, 1]
    for factor, lr, decay in ((1, recipe.lr, recipe.weight_decay), (0.1 / 0.07, 0.125, 1e-4)):
        torch.manual_seed(0)
        layer = nn.Linear(6, 4)
        optimizer = torch.optim.SGD(layer.parameters(), lr=lr, momentum=0.9, weight_decay=decay)
        for _ in range(3):
            optimizer.zero_grad()
            (factor * loss(*layer(views), labels)).backward()
            optimizer.step()
        nets.append(layer)

    torch.testing.assert_close(nets[0].weight, nets[1].weight)


def test_the_monitor_is_the_share_of_views_with_their_class_nearest() -> None:
    a = torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0, 1, 0]])
    b = torch.tensor([[1.0, 0, 0], [0.8, 0.1, 0], [0, 0.1, 1]])  # the third image's views are not alike
    found = method().monitors({"a": a, "b": b}, batch([0, 0, 1]))["nearest_same_class"]

    assert float(found) == pytest.approx(100 * 5 / 6)


def test_the_head_is_two_layers_without_a_norm() -> None:
    assert [type(part) for part in method().projector] == [nn.Linear, nn.ReLU, nn.Linear]


def test_the_gradient_reaches_the_whole_network() -> None:
    supcon, views = method(), list(torch.randn(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    supcon.terms(supcon.embed(views, batch([0, 1, 0, 1])), batch([0, 1, 0, 1]))["contrastive"].backward()

    assert all(p.grad is not None and bool(p.grad.any()) for p in supcon.projector.parameters())
    assert all(p.grad is not None for p in supcon.backbone.parameters())


def test_supcon_keeps_the_contract() -> None:
    check_method(SupCon, "supcon", SupCon.Config(hidden_dim=32, embedding_dim=16))


def test_views_are_simclrs_or_those_of_the_authors_cifar_code() -> None:
    large, small = (SupCon.views(SupCon.Config(), DATA, size)[0] for size in (224, 32))

    assert (large.crop_min, large.blur, large.brightness, large.hue) == (0.08, 0.5, 0.8, 0.2)
    assert (small.crop_min, small.blur, small.solarise) == (0.2, 0.0, 0.0)
    assert (small.brightness, small.contrast, small.saturation, small.hue) == (0.4, 0.4, 0.4, 0.1)
    assert (small.jitter, small.grey, small.flip) == (0.8, 0.2, 0.5)


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(SupCon.Config()) == {"temperature": 0.1, "hidden_dim": 2048, "embedding_dim": 128}


def test_every_number_of_the_recipe_is_pinned() -> None:
    recipe = SupCon.recipe

    assert (recipe.optimizer, recipe.lr_scaling, recipe.momentum, recipe.warmup_epochs) == (
        "sgd", "linear", 0.9, 10
    )  # fmt: skip
    assert (recipe.lr, recipe.min_lr, recipe.weight_decay) == pytest.approx(
        (0.125 / 0.7, 0.125e-3 / 0.7, 7e-5)
    )
