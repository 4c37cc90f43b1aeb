"""On maps of one pixel a convolution skips the padding, and gives what it gave."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

from bench.nn.tiny_maps import CentreConv2d, skip_padding


def pair(**options: object) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Return a convolution of 6 channels, and the same one that skips padding."""
    plain = nn.Conv2d(6, 6, **{"kernel_size": 3, "padding": 1, **options}).double()  # type: ignore[arg-type]
    holder = nn.Sequential(copy.deepcopy(plain))
    skip_padding(holder)
    (other,) = holder
    assert isinstance(other, nn.Conv2d)
    return plain, other


def outcome(conv: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the output, and the gradients of a loss of it by the images and all weights."""
    images = images.clone().requires_grad_()
    output = conv(images)
    (output**3).sum().backward()
    return [output, *(value.grad for value in (images, *conv.parameters()) if value.grad is not None)]


@pytest.mark.parametrize("side", [1, 2, 5])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 3}, {"groups": 6, "bias": False}])
def test_it_gives_output_and_gradients_of_the_whole_convolution(
    side: int, options: dict[str, object]
) -> None:
    plain, other = pair(**options)
    images = torch.randn(4, 6, side, side, dtype=torch.float64)

    assert isinstance(other, CentreConv2d)
    for expected, found in zip(outcome(plain, images), outcome(other, images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 5, "padding": 2},
        {"padding": 0},
        {"dilation": 2, "padding": 2},
        {"padding_mode": "circular"},
        {"padding": "same"},
    ],
)
def test_other_convolutions_are_left_alone(options: dict[str, object]) -> None:
    assert type(pair(**options)[1]) is nn.Conv2d


def test_a_network_has_the_same_weights_under_the_same_names() -> None:
    torch.manual_seed(0)
    plain = timm.create_model("test_resnet", num_classes=0)
    other = copy.deepcopy(plain)
    skip_padding(other)
    images = torch.randn(3, 3, 32, 32)

    assert list(other.state_dict()) == list(plain.state_dict())
    assert any(isinstance(module, CentreConv2d) for module in other.modules())
    torch.testing.assert_close(other(images), plain(images))
