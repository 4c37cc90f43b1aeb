"""RotNet's loss is the cross-entropy of all four turns of each image, made without resampling."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_state import largest_difference, stopped, trained
from tiny_training import INFO, Exact, frozen, net
from torch import Tensor, nn

from bench.contracts.dataset_info import DatasetInfo
from bench.contracts.method import Batch, Method
from bench.registry.registry import Registry
from bench.testing import check_method

RotNet = Registry.load().load_class("methods", "rotnet")
DATA = DatasetInfo(classes=("cat", "dog"), channels=3, size=32)
NONE = Batch(torch.arange(0), torch.arange(0))


class Corner(nn.Module):
    """Stands for a backbone: the sums of the four quarters of the first channel."""

    def forward(self, images: Tensor) -> Tensor:
        side = images.shape[2] // 2
        return images[:, :1].unfold(2, side, side).unfold(3, side, side).sum(dim=(4, 5)).flatten(1)


def small(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return RotNet(net(), 6, RotNet.Config(), INFO)


def exact(seed: int) -> Method:
    torch.manual_seed(seed)
    return frozen(RotNet(net(Exact()), 6, RotNet.Config(), INFO)).double()


def plain_loss(logits: list[list[list[float]]]) -> float:
    """Return the mean over images and turns of the cross-entropy with the turn, number by number."""
    losses = []
    for image in logits:
        for turn, row in enumerate(image):
            losses.append(math.log(sum(math.exp(x) for x in row)) - row[turn])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("n", [1, 7])
def test_loss_and_gradient_are_the_papers_in_plain_loops(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    logits = torch.randn(n, 4, 4, generator=generator).double().requires_grad_()
    loss = small().terms({"logits": logits}, NONE)["rotation"]
    loss.backward()

    assert float(loss.detach()) == pytest.approx(plain_loss(logits.tolist()), rel=1e-12)
    for image, gradients in zip(logits.tolist(), logits.grad.tolist(), strict=True):
        for turn, (row, gradient) in enumerate(zip(image, gradients, strict=True)):
            total = sum(math.exp(x) for x in row)
            wanted = [(math.exp(x) / total - (k == turn)) / (4 * n) for k, x in enumerate(row)]
            assert gradient == pytest.approx(wanted, rel=1e-9)


def test_the_four_turns_of_an_image_are_its_own_and_in_their_order() -> None:
    """The quarters of an image go round: the sum in the upper left is that of each in turn."""
    rotnet = RotNet(Corner(), 4, RotNet.Config(), DATA)
    rotnet.head = nn.Identity()
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = rotnet.embed([images], NONE)["logits"]
    upper_left, upper_right, lower_left, lower_right = Corner()(images).T

    assert logits.shape == (3, 4, 4)
    for turn, corner in enumerate((upper_left, upper_right, lower_right, lower_left)):
        assert torch.allclose(logits[:, turn, 0], corner)


def test_turning_resamples_nothing() -> None:
    seen: list[Tensor] = []
    rotnet = small()
    rotnet.backbone.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 3, 9, 9)
    rotnet.embed([images], NONE)
    (turned,) = seen

    assert len(turned) == 8
    for number in range(2):
        for turn in range(4):
            assert torch.equal(
                turned[2 * turn + number].flatten().sort()[0], images[number].flatten().sort()[0]
            )
    assert torch.equal(turned[4], images[0].flip(1, 2))


def test_a_perfect_answer_has_no_loss_and_none_has_that_of_chance() -> None:
    perfect, none = 50 * torch.eye(4).expand(5, 4, 4), torch.zeros(5, 4, 4)
    rotnet = small()

    assert float(rotnet.terms({"logits": perfect}, NONE)["rotation"]) < 1e-9
    assert float(rotnet.terms({"logits": none}, NONE)["rotation"]) == pytest.approx(math.log(4))
    assert float(rotnet.monitors({"logits": perfect}, NONE)["rotation_top1"]) == 100
    assert float(rotnet.monitors({"logits": none}, NONE)["rotation_top1"]) == 25


def test_what_is_watched_for_collapse_is_the_features_of_the_images_as_they_are() -> None:
    rotnet = small().eval()
    images = torch.rand(5, 3, 12, 12)
    name, upright = next(iter(rotnet.embed([images], NONE).items()))

    assert name == "upright"
    assert torch.allclose(upright, rotnet.backbone(images), atol=1e-6)


def test_a_stopped_training_goes_on_bit_for_bit_and_in_chunks_it_is_the_same(tmp_path: Path) -> None:
    whole = trained(small, tmp_path / "whole", epochs=3)
    again = stopped(small, tmp_path / "parts", 2, epochs=3)
    chunks = [trained(exact, tmp_path / str(size), chunk_size=size) for size in (None, 7)]

    assert largest_difference(whole.state_dict(), again.state_dict()) == 0
    assert largest_difference(*(method.state_dict() for method in chunks)) < 1e-9


def test_small_images_have_the_recipe_for_cifar() -> None:
    large, small_images = (RotNet.recipe_for(RotNet.Config(), DATA, size) for size in (224, 32))
    (crop,), (shift,) = (RotNet.views(None, DATA, size) for size in (224, 32))

    assert (large.lr, small_images.lr) == (pytest.approx(0.0133333333), 0.2)
    assert (crop.crop_min, crop.affine, crop.jitter, crop.grey, crop.flip) == (0.08, 0.0, 0.0, 0.0, 0.5)
    assert (shift.crop_min, shift.affine, shift.translate, shift.rotate) == (1.0, 1.0, 0.125, 0.0)
    assert (shift.zoom, shift.shear, shift.jitter, shift.grey, shift.flip) == (0.0, 0.0, 0.0, 0.0, 0.5)


@pytest.mark.long
def test_rotnet_keeps_the_contract() -> None:
    check_method(RotNet, "rotnet")


def test_every_number_of_the_recipe_is_pinned() -> None:
    recipe = RotNet.recipe

    assert (recipe.optimizer, recipe.lr_scaling, recipe.nesterov) == ("sgd", "linear", True)
    assert (recipe.weight_decay, recipe.momentum, recipe.warmup_epochs) == (5e-4, 0.9, 0)
