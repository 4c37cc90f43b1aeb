"""DINO's loss, centre and schedules are those of its authors, and its last layer stands still at first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_state import largest_difference, state_after, state_after_a_stop
from sines import exactly, figures, sine
from slopes import slopes
from tiny_training import INFO, Exact
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Method, Step
from bench.contracts.recipe import ParamGroup
from bench.registry.registry import Registry
from bench.testing import check_method

DINO = Registry.load().load_class("methods", "dino")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
SMALL = {"hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 6}


def net(*first: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        *first, nn.Conv2d(3, 6, 3, stride=4, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def method(**config: Any) -> Any:
    torch.manual_seed(0)
    return DINO(net(), 6, DINO.Config(**{**SMALL, **config}), DATA)


def batch(epoch: int = 0) -> Batch:
    return Batch(torch.arange(0), torch.arange(0), step=Step(epoch=epoch, epochs=10))


def named(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> dict[str, Tensor]:
    students = {f"view_{number}": s for number, s in enumerate(student)}
    return students | {f"teacher_{number}": t for number, t in enumerate(teacher)}


def images(sides: Sequence[int], n: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 3, side, side, generator=generator) for side in sides]


def plain_softmax(values: list[float], temperature: float) -> list[float]:
    most = max(values)
    shares = [math.exp((value - most) / temperature) for value in values]
    return [share / sum(shares) for share in shares]


def plain_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], centre: Tensor, sharp: float) -> float:
    """Return the mean cross-entropy over pairs of a global and another view, number by number."""
    losses = []
    for v, t in enumerate(teacher):
        for w, s in enumerate(student):
            if v == w:
                continue
            for t_row, s_row in zip(t.tolist(), s.tolist(), strict=True):
                centred = [x - c for x, c in zip(t_row, centre.tolist(), strict=True)]
                target, predicted = plain_softmax(centred, sharp), plain_softmax(s_row, 0.1)
                losses.append(-sum(q * math.log(p) for q, p in zip(target, predicted, strict=True)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("views", [2, 4])
def test_loss_and_gradient_are_the_papers_in_plain_loops(views: int) -> None:
    drawn = torch.randn(views + 2, 3, 6, generator=torch.Generator().manual_seed(views)).double()
    student = [0.3 * s.clone() for s in drawn[:views]]
    teacher, centre = [0.2 * t for t in drawn[views:]], torch.linspace(-0.1, 0.1, 6).double()
    dino = method(teacher_temperature=0.05, temperature_epochs=0).double()
    dino.centre.value.copy_(centre)
    z = [s.clone().requires_grad_() for s in student]
    loss = dino.terms(named(z, teacher), batch())["distillation"]
    loss.backward()

    assert float(loss.detach()) == pytest.approx(plain_loss(student, teacher, centre, 0.05), rel=1e-9)
    for found, s in zip(z, student, strict=True):
        expected = slopes(lambda: plain_loss(student, teacher, centre, 0.05), s)
        torch.testing.assert_close(found.grad, expected, rtol=1e-6, atol=1e-8)


CASES: Any = {
    "two views, the temperature rises": (
        (4, 6, 2), 0.9, 0.07, 3,
        [
            (0, 8.33877518435, (0.0, 17.5716473035, -1.24962043632, 1.32456215166e-06),
             (-0.0197052432831, 0.00015208584593, 0.00324948276569, -0.00724881543129)),
            (1, 10.9300189961, (0.0, 18.2840144215, 0.911450063482, 1.03974282146),
             (-0.0559832802773, 0.000562367482054, -0.00486846311873, -0.00735969763398)),
            (5, 7.71844480168, (0.0, 17.1189661073, -0.422109472225, -1.24506230211),
             (-0.0298624019541, 0.000168083642298, -0.00286042367391, -0.00235310934955)),
        ],
    ),
    "three local views, a slow centre": (
        (8, 16, 5), 0.99, 0.04, 0,
        [
            (0, 12.0942642066, (0.0, 1.40036520393, -8.0574024406e-05, -0.112434135082),
             (-0.00107136372225, 3.09993442001e-06, 0.000685943473262, 0.000415777615038)),
            (0, 12.0334264022, (0.0, 1.35613314168, 5.16705675025e-10, -0.11697645966),
             (0.000152392542263, 1.01564306105e-05, -0.000206625175156, -7.31014799192e-05)),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_loss_gradient_and_centre_are_those_of_the_authors_code_over_several_batches(case: str) -> None:
    # facebookresearch/dino 7c446df5 main_dino.py DINOLoss, the temperature from 0.04
    (n, k, crops), momentum, temperature, epochs, calls = CASES[case]
    settings = {"teacher_temperature": temperature, "temperature_epochs": epochs}
    dino = method(prototypes=k, centre_momentum=momentum, **settings).double()
    streams = count(0 if crops == 2 else 4)
    for epoch, value, gradient, centre in calls:
        s = sine(next(streams), crops * n, k).requires_grad_()
        z, here = named(s.chunk(crops), sine(next(streams), 2 * n, k).chunk(2)), batch(epoch)
        loss = dino.terms(z, here)["distillation"]
        loss.backward()
        dino.after_batch({name: value.detach() for name, value in z.items()}, here)

        assert float(loss.detach()) == pytest.approx(value, rel=1e-10)
        assert figures(s.grad) == exactly(*gradient)
        assert figures(dino.centre.value) == exactly(*centre)


def test_the_papers_sum_over_pairs_is_as_many_times_the_loss_as_there_are_pairs() -> None:
    # facebookresearch/dino 7c446df5 main_dino.py: 8 pairs of two global and three local views, two batches
    dino = method(
        prototypes=16, centre_momentum=0.99, teacher_temperature=0.04, temperature_epochs=0
    ).double()
    z = named(sine(4, 40, 16).chunk(5), sine(5, 16, 16).chunk(2))
    equation = 0.0
    for v in range(2):
        for w in range(5):
            if v != w:
                pair = named([z[f"view_{w}"]] * 2, [z[f"teacher_{v}"]] * 2)
                equation += float(dino.terms(pair, batch())["distillation"])

    assert equation == pytest.approx(8 * 12.0942642066, rel=1e-10)


def test_where_all_logits_are_alike_the_loss_is_the_logarithm_of_the_prototypes() -> None:
    alike = torch.full((5, 6), 0.3)
    dino = method()
    monitors = dino.monitors(named([alike] * 2, [alike] * 2), batch())

    loss = dino.terms(named([alike] * 2, [alike] * 2), batch())["distillation"]

    assert float(loss) == pytest.approx(math.log(6))
    assert float(monitors["teacher_entropy"]) == pytest.approx(math.log(6))
    assert float(monitors["usage_entropy"]) == pytest.approx(math.log(6))


def test_where_one_prototype_takes_all_both_entropies_are_0_and_where_each_has_its_own_only_one_is() -> None:
    one, own = torch.zeros(6, 6), 9 * torch.eye(6)
    one[:, 2] = 9
    dino = method()
    collapsed, spread = (dino.monitors(named([t, t], [t, t]), batch()) for t in (one, own))

    assert float(collapsed["teacher_entropy"]) == pytest.approx(0, abs=1e-6)
    assert float(collapsed["usage_entropy"]) == pytest.approx(0, abs=1e-6)
    assert float(spread["teacher_entropy"]) == pytest.approx(0, abs=1e-6)
    assert float(spread["usage_entropy"]) == pytest.approx(math.log(6))


def test_the_teacher_takes_no_gradient_and_is_a_copy_at_first() -> None:
    dino = method()
    z = dino.embed(images((32, 32)), batch())
    dino.terms(z, batch())["distillation"].backward()
    student = [*dino.backbone.parameters(), *dino.head.parameters()]

    assert not any(p.requires_grad or p.grad is not None for p in dino.teacher.parameters())
    assert not z["teacher_0"].requires_grad
    assert all(p.grad is not None for p in student)
    assert all(map(torch.equal, dino.teacher.parameters(), student))


@pytest.mark.parametrize("number", [0, 250, 999])
def test_the_teacher_moves_by_the_authors_momentum(number: int) -> None:
    # facebookresearch/dino 7c446df5 utils.py cosine_scheduler(0.996, 1, 10 epochs, 100 iterations)
    momentum = {0: 0.996, 250: 0.996585786438, 999: 0.99999999013}[number]
    dino = method(momentum=0.996).double()
    before = [p.clone() for p in dino.teacher.parameters()]
    student = [*dino.backbone.parameters(), *dino.head.parameters()]
    with torch.no_grad():
        for p in student:
            p.add_(1)
    dino.after_step(Step(number=number, total=1000))

    for now, old, new in zip(dino.teacher.parameters(), before, student, strict=True):
        assert torch.allclose(now, momentum * old + (1 - momentum) * new, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (0, [0.07] * 4),
        (1, [0.04, 0.07, 0.07, 0.07]),
        (3, [0.04, 0.055, 0.07, 0.07]),
        (31, [0.04, 0.041, 0.042, 0.043]),
    ],
)
def test_the_teachers_temperature_rises_epoch_by_epoch(epochs: int, expected: list[float]) -> None:
    dino = method(temperature_epochs=epochs)

    assert [dino.temperature(epoch) for epoch in range(4)] == pytest.approx(expected)


def test_the_last_layers_rows_have_length_1_and_stand_still_at_first() -> None:
    dino = method()
    logits = dino.head(3 * torch.randn(50, 6, generator=torch.Generator().manual_seed(0)))
    names = [name for name, _ in dino.named_parameters() if name.startswith("head.last.")]

    assert float(logits.detach().abs().max()) <= 1 + 1e-6
    assert names == ["head.last.weight"]
    for size in (32, 224):
        first, *_ = DINO.recipe_for(DINO.Config(freeze_epochs=2), DATA, size).groups
        assert (first.match, first.freeze_epochs) == ("head.last.*", 2)
    assert "head.last.scale" in dict(method(norm_last_layer=False).named_parameters())


def test_batch_norm_is_in_the_head_only_if_it_is_asked_for() -> None:
    with_norm, without = (method(head_norm=norm).head for norm in (True, False))

    assert [any(isinstance(m, nn.BatchNorm1d) for m in head.modules()) for head in (with_norm, without)] == [
        True,
        False,
    ]


def test_small_views_go_through_the_student_only() -> None:
    config = DINO.Config(local_views=3, **SMALL)
    sides = [view.side(32) for view in DINO.views(config, DATA, 32)]
    embeddings = method(local_views=3).embed(images(sides), batch())

    assert sides == [32, 32, 16, 16, 16]
    assert list(embeddings) == [*(f"view_{number}" for number in range(5)), "teacher_0", "teacher_1"]
    assert all(z.shape == (4, 6) for z in embeddings.values())


def test_the_views_are_the_authors_without_blur_and_small_crops_on_small_images() -> None:
    large, small = (DINO.views(DINO.Config(), DATA, size) for size in (224, 64))
    asked = DINO.views(DINO.Config(local_views=2, crop_split=0.3), DATA, 64)

    assert [view.size for view in large] == [None] * 2 + [96] * 8
    assert [view.blur for view in large] == [1.0, 0.1] + [0.5] * 8
    assert [view.solarise for view in large] == [0.0, 0.2] + [0.0] * 8
    assert [(v.crop_min, v.crop_max) for v in large] == [(0.4, 1.0)] * 2 + [(0.05, 0.4)] * 8
    assert [(v.crop_min, v.blur, v.solarise) for v in small] == [(0.4, 0.0, 0.0), (0.4, 0.0, 0.2)]
    assert [(v.crop_min, v.size) for v in asked] == [(0.3, None)] * 2 + [(0.05, 24)] * 2
    assert {(v.brightness, v.contrast, v.saturation, v.hue) for v in (*large, *small)} == {
        (0.4, 0.4, 0.2, 0.1)
    }


def test_the_teachers_backbone_is_the_result() -> None:
    dino = method()

    assert dino.export() is dino.teacher.network[0]
    assert dino.export() is not dino.backbone


def make(seeds: Any) -> Method:
    """Return a method in float64, without batch norm; the next one starts from other weights."""
    torch.manual_seed(next(seeds))
    config = DINO.Config(**SMALL, freeze_epochs=1, temperature_epochs=3, head_norm=False)
    dino: Method = DINO(net(Exact()), 6, config, INFO)
    return dino.double()


@pytest.mark.parametrize("changes", [{}, {"chunk_size": 4}])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    seeds = iter([0, 0, 1])
    whole = state_after(lambda: make(seeds), tmp_path / "whole", **changes)
    stopped = state_after_a_stop(lambda: make(seeds), tmp_path / "parts", **changes)

    assert all(torch.equal(value, stopped[name]) for name, value in whole.items())


def test_in_chunks_centre_and_teacher_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    seeds = iter([0, 0])
    whole, chunked = (
        state_after(lambda: make(seeds), tmp_path / str(size), chunk_size=size) for size in (None, 4)
    )

    assert largest_difference(whole, chunked) < 1e-9
    assert float(whole["centre.value"].norm()) > 1e-3


def test_dino_keeps_the_contract_with_views_of_two_sizes() -> None:
    check_method(DINO, "dino", DINO.Config(**SMALL, local_views=2))


def test_every_number_of_the_papers_recipe_is_pinned() -> None:
    recipe = DINO.recipe_for(DINO.Config(), DATA, 224)

    assert (recipe.optimizer, recipe.lr, recipe.lr_scaling, recipe.min_lr) == ("adamw", 5e-4, "linear", 1e-6)
    assert (recipe.weight_decay, recipe.weight_decay_end, recipe.warmup_epochs) == (0.04, 0.4, 10)
    assert (recipe.clip_norm, recipe.clip_scope, recipe.betas) == (3.0, "parameter", (0.9, 0.999))


def test_every_number_of_the_recipe_of_small_images_is_pinned() -> None:
    recipe = DINO.recipe_for(DINO.Config(), DATA, 64)

    assert (recipe.optimizer, recipe.lr, recipe.lr_scaling, recipe.min_lr) == ("sgd", 0.12, "linear", 0.0)
    assert (recipe.weight_decay, recipe.weight_decay_end, recipe.warmup_epochs) == (5e-4, None, 0)
    assert (recipe.momentum, recipe.clip_norm) == (0.9, None)
    assert recipe.groups == (
        ParamGroup(match="head.last.*", freeze_epochs=1, decay=True),
        ParamGroup(match="*", decay=True),
    )


def test_the_defaults_are_those_of_their_sources() -> None:
    assert asdict(DINO.Config()) == {
        "student_temperature": 0.1,
        "teacher_temperature": 0.07,
        "first_temperature": 0.04,
        "temperature_epochs": 30,
        "momentum": 0.99,
        "centre_momentum": 0.9,
        "prototypes": 4096,
        "hidden_dim": 2048,
        "bottleneck_dim": 256,
        "head_norm": True,
        "norm_last_layer": True,
        "freeze_epochs": 1,
        "local_views": None,
        "crop_split": 0.4,
    }
