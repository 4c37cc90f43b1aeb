"""A clean pass: every image, in order, as the backbone knows images, and nothing else changed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Lab
from torch import Tensor, nn

from bench import features
from bench.contract import Images
from bench.evaluation import Features
from bench.fresh import fresh_backbone
from bench.views import resize

CPU = torch.device("cpu")
RGB = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}


def images(n: int, channels: int, side: int = 8) -> Images:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, channels, side, side), dtype=torch.uint8, generator=draw)
    return Images(pixels, torch.arange(n) % 10)


def seen(found: Images, image_size: int, channels: int, **statistics: Any) -> Tensor:
    """Return what a backbone is shown, (n, channels, image_size, image_size)."""
    x = features.extract(
        nn.Flatten(), found, image_size=image_size, channels=channels, device=CPU, **statistics
    ).x
    return x.view(-1, channels, image_size, image_size)


def network() -> nn.Module:
    """Return a network that shows it if it is in training mode: by its norm and by its dropout."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 5)
    )


def extracted(net: nn.Module, found: Images) -> Features:
    return features.extract(net, found, image_size=8, channels=3, device=CPU, **RGB)


def test_images_are_normalised_with_the_statistics_that_were_given() -> None:
    given = images(4, 3)
    shown = seen(given, 8, 3, **RGB)
    wanted = (given.pixels.float() / 255 - torch.tensor(RGB["mean"]).view(1, 3, 1, 1)) / torch.tensor(
        RGB["std"]
    ).view(1, 3, 1, 1)

    assert torch.allclose(shown, wanted, atol=1e-6)


def test_images_are_resized_to_what_the_backbone_was_trained_at() -> None:
    given = images(4, 3, side=20)

    assert torch.allclose(seen(given, 8, 3, mean=(0.0,) * 3, std=(1.0,) * 3), resize(given.pixels, 8))


def test_grey_images_are_repeated_for_a_backbone_of_colours() -> None:
    given = images(4, 1)
    shown = seen(given, 8, 3, mean=(0.0,) * 3, std=(1.0,) * 3)

    assert torch.allclose(shown, given.pixels.expand(-1, 3, -1, -1) / 255)


def test_colours_are_turned_to_grey_for_a_backbone_of_grey_images() -> None:
    given = images(4, 3)
    red, green, blue = (given.pixels / 255).unbind(1)

    assert torch.allclose(
        seen(given, 8, 1, mean=(0.0,), std=(1.0,))[:, 0], 0.2989 * red + 0.587 * green + 0.114 * blue
    )


def test_chunks_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    net, given = network(), images(11, 3)
    whole = extracted(net, given)
    monkeypatch.setattr(features, "CHUNK_PIXELS", 3 * 8**2)
    parts = extracted(net, given)

    assert torch.allclose(whole.x, parts.x, atol=1e-6)
    assert torch.equal(parts.y, given.labels)


def test_an_image_that_is_larger_than_a_chunk_is_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "CHUNK_PIXELS", 1)

    assert len(extracted(network(), images(3, 3))) == 3


def test_the_order_is_that_of_the_images() -> None:
    net, given = network(), images(6, 3)
    turned = Images(given.pixels.flip(0), given.labels.flip(0))

    assert torch.allclose(extracted(net, turned).x, extracted(net, given).x.flip(0), atol=1e-6)
    assert torch.equal(extracted(net, turned).y, given.labels.flip(0))


@pytest.mark.parametrize("training", [True, False])
def test_the_backbone_is_frozen_and_left_as_it_was_found(training: bool) -> None:  # noqa: FBT001
    net = network().train(training)
    before = copy.deepcopy(net.state_dict())
    first, second = extracted(net, images(6, 3)), extracted(net, images(6, 3))

    assert torch.equal(first.x, second.x)
    assert net.training is training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_features_are_float32_on_the_cpu_and_need_no_gradient() -> None:
    found = extracted(network(), images(3, 3))

    assert (found.x.dtype, found.x.device, found.x.requires_grad) == (torch.float32, CPU, False)
    assert found.y.dtype == torch.int64


def test_features_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    found = Features(torch.randn(3, 4).T, torch.tensor([2, 0, 1, 2]))
    features.save(found, tmp_path)
    read = features.load(tmp_path)

    assert torch.equal(read.x, found.x)
    assert torch.equal(read.y, found.y)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_a_real_backbone_is_per_sample(lab: Lab, backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = lab.plan(backbone=backbone)
    net, given = fresh_backbone(cell, lab.registry, 1), images(5, 1)
    told = {"image_size": 16, "channels": 1, "mean": (0.5,), "std": (0.5,), "device": CPU}
    whole = features.extract(net, given, **told)
    monkeypatch.setattr(features, "CHUNK_PIXELS", 2 * 16**2)

    assert torch.allclose(features.extract(net, given, **told).x, whole.x, atol=1e-5)
