"""Supervised: cross-entropy of a linear layer, the one method that looks at labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bench.augmentation.apply import augment
from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch
from bench.contracts.recipe import Recipe
from bench.registry.registry import Registry

Supervised = Registry.load().load_class("methods", "supervised")
DATA = DatasetInfo(classes=("cat", "dog", "owl"), channels=3, size=8)
LABELS = torch.tensor([0, 2, 1, 2])
BATCH = Batch(torch.arange(4), LABELS)
LOGITS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def method() -> nn.Module:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
    found: nn.Module = Supervised(backbone, 5, Supervised.Config(), DATA)
    return found


def test_the_term_is_cross_entropy_in_plain_loops() -> None:
    found = Supervised.terms(method(), {"logits": LOGITS}, BATCH)
    losses = []
    for row, label in zip(LOGITS.double().tolist(), LABELS.tolist(), strict=True):
        losses.append(-math.log(math.exp(row[label]) / sum(map(math.exp, row))))

    assert list(found) == ["cross_entropy"]
    assert float(found["cross_entropy"]) == pytest.approx(sum(losses) / 4, rel=1e-5)


def test_the_monitor_is_the_accuracy_in_percent() -> None:
    logits = torch.eye(3)[torch.tensor([0, 2, 0, 1])]  # two of four are right

    assert float(Supervised.monitors(method(), {"logits": logits}, BATCH)["train_top1"]) == 50


def test_logits_are_a_linear_layer_on_the_features() -> None:
    supervised, images = method(), torch.randn(4, 3, 8, 8)
    logits = Supervised.embed(supervised, [images], BATCH)["logits"]

    assert logits.shape == (4, 3)
    torch.testing.assert_close(logits, supervised.head(supervised.backbone(images)))


def test_the_gradient_reaches_the_backbone() -> None:
    supervised = method()
    embeddings = Supervised.embed(supervised, [torch.randn(4, 3, 8, 8)], BATCH)
    Supervised.terms(supervised, embeddings, BATCH)["cross_entropy"].backward()

    assert all(p.grad is not None and bool(p.grad.any()) for p in supervised.parameters())


def test_it_says_that_it_uses_labels() -> None:
    assert Supervised.uses_labels


@pytest.mark.parametrize("size", [16, 32, 64])
def test_small_images_are_shifted_by_an_eighth_of_their_side_and_mirrored(size: int) -> None:
    (view,) = Supervised.views(Supervised.Config(), DATA, size)

    assert (view.affine, view.translate, view.flip) == (1, 4 / 32, 0.5)
    assert (view.rotate, view.zoom, view.shear) == (0, 0, 0)
    assert (view.crop_min, view.crop_max, view.crop_ratio) == (1, 1, 1)
    assert (view.jitter, view.grey, view.blur, view.solarise) == (0, 0, 0, 0)


def test_a_shift_is_of_at_most_four_pixels_of_32_and_uncovers_black() -> None:
    (view,) = Supervised.views(Supervised.Config(), DATA, 32)
    pixels = torch.full((400, 3, 32, 32), 255, dtype=torch.uint8)
    bright = augment(pixels, view, 32, torch.Generator().manual_seed(0))[:, 0] > 0.5
    rows, columns = (bright.any(dim=dim).sum(dim=1) for dim in (2, 1))

    assert 28 <= int(rows.min()) <= 29
    assert 28 <= int(columns.min()) <= 29
    assert bright[:, 4:28, 4:28].all()


def test_large_images_are_cropped_and_mirrored() -> None:
    (view,) = Supervised.views(Supervised.Config(), DATA, 96)

    assert (view.crop_min, view.crop_max, view.crop_ratio, view.flip) == (0.08, 1, 4 / 3, 0.5)
    assert (view.jitter, view.grey, view.blur, view.solarise, view.affine) == (0, 0, 0, 0, 0)


def test_the_recipe_is_the_papers() -> None:
    assert Supervised.recipe == Recipe(
        optimizer="sgd",
        lr=0.1,
        lr_scaling="linear",
        weight_decay=5e-4,
        momentum=0.9,
        warmup_epochs=10,
        source=Supervised.recipe.source,
    )
